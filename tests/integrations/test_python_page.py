"""The blocks of docs/python.md that need the extras pyterrier and langchain."""

import pytest

from tests.helpers.markdown import read_page
from tests.helpers.processes import ROOT, run_python
from tests.helpers.quickstart import copy_quickstart

SETUP = 'from genir import Retriever, open_collection\ncollection = open_collection("data/quickstart")\n'


@pytest.mark.slow
@pytest.mark.parametrize(("package", "words"), [("pyterrier", "genir, one hit"), ("langchain_core", "owl")])
def test_the_block_about_a_library_runs(tmp_path_factory, package, words):
    pytest.importorskip(package, reason=f"needs {package}")
    folder = copy_quickstart(tmp_path_factory.getbasetemp(), tmp_path_factory.mktemp("page"))
    blocks = [block for block in read_page(ROOT / "docs" / "python.md").python if package.split("_")[0] in block]
    (folder / "page.py").write_text(SETUP + "\n".join(blocks))
    done = run_python(["page.py"], folder)
    assert done.returncode == 0, done.stderr
    assert words in done.stdout.lower()
