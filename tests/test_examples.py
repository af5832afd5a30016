"""The scripts in examples/, and the Python and the commands of the README, run and print what they promise."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.hub import TOKEN, serve_hub
from tests.helpers.markdown import genir_commands, read_page, steps
from tests.helpers.processes import ROOT, run_genir, run_python
from tests.helpers.quickstart import copy_quickstart, find_quickstart_run

NEEDS_RETRIEVER = ["use_retriever", "add_and_remove_documents"]
README = read_page(ROOT / "README.md")
NOT_RUN = {"run", "serve"}
"""Commands of the README that the tests do not run: they train for minutes, or run until they are stopped."""
NEW_DOCUMENT = '{"_id": "owls-12", "title": "Barred owl", "text": "The barred owl hoots eight times."}\n'


def run_example(name, *arguments):
    done = run_python([str(ROOT / "examples" / f"{name}.py"), *map(str, arguments)], ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def retriever(tmp_path_factory):
    return find_quickstart_run(tmp_path_factory.getbasetemp()) / "retriever"


def test_every_example_is_short():
    scripts = sorted((ROOT / "examples").glob("*.py"))
    assert [path.stem for path in scripts] == sorted([*NEEDS_RETRIEVER, "own_loss"])
    assert all(len(path.read_text().splitlines()) < 60 for path in scripts)


@pytest.mark.slow
def test_ipo_stops_at_its_target_margin_and_ddro_does_not():
    ddro, ipo = run_example("own_loss").split("ipo")
    margins = [
        [float(line.split()[2]) for line in text.splitlines() if re.match(" +[0-9]", line)] for text in (ddro, ipo)
    ]
    assert margins[0] == sorted(margins[0])
    assert margins[0][-1] > 4
    assert margins[1][-1] == pytest.approx(1 / (2 * 0.5), abs=1e-3)


@pytest.mark.slow
def test_the_search_example_finds_the_document_and_proves_it(retriever):
    text = run_example("use_retriever", retriever)
    first, exact, restricted = text.split("\n\n")
    assert re.search(r"^ +1 +\S+ +weather-04 ", first, re.M)
    assert re.match(r"[1-5] of these 5 hits are among the model's true 5 best", exact)
    assert "weather-04" not in restricted
    assert "5 hits" in restricted


@pytest.mark.slow
def test_an_added_document_is_found_until_it_is_removed(retriever):
    before, after, saved, removed = run_example("add_and_remove_documents", retriever).split("\n\n")
    assert "owls-11" not in before
    assert re.search(r" owls-11 .*Eurasian eagle-owl$", after, re.M)
    assert saved == "saved and loaded: the hits are the same: True"
    assert removed.split(":", 1)[1].strip() == before.split(":", 1)[1].strip()


@pytest.mark.slow
@pytest.mark.parametrize("name", NEEDS_RETRIEVER)
def test_an_example_without_its_argument_says_how_to_call_it(name):
    done = run_python([str(ROOT / "examples" / f"{name}.py")], ROOT)
    assert done.returncode == 1
    assert f"python examples/{name}.py RETRIEVER" in done.stderr


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A folder with a finished quickstart, in which commands of the README can be run."""
    folder = copy_quickstart(tmp_path_factory.getbasetemp(), tmp_path_factory.mktemp("readme"))
    (folder / "new_documents.jsonl").write_text(NEW_DOCUMENT)
    (folder / "doc_ids.txt").write_text("weather-09\n")
    return folder


@pytest.mark.slow
def test_the_python_of_the_readme_runs(checkout):
    (checkout / "readme.py").write_text("\n".join(README.python))
    done = run_python(["readme.py"], checkout)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^weather-04 -\d", done.stdout, re.M)  # the first hit, by its doc_id and score
    assert re.search(r"^'ice in clouds': 10 hits with 20 beams, ", done.stdout, re.M)  # what the search did
    assert (checkout / "my-retriever" / "model.safetensors").exists()


@pytest.mark.slow
def test_the_commands_of_the_readme_run(checkout):
    commands = [words for words in genir_commands(README) if "runs/quickstart" in words and words[0] not in NOT_RUN]
    assert {words[0] for words in commands} == {"certify", "docids", "search", "status"}
    for words in commands:
        assert run_genir(*words, cwd=checkout, text="how do owls hunt\n\n").stdout.strip()


@pytest.mark.slow
def test_the_blocks_of_the_python_page_run(checkout, tmp_path):
    """With a stand-in for the hub. Those that need extras run in `tests/integrations`."""
    blocks = [block for block in read_page(ROOT / "docs" / "python.md").python if "integrations" not in block]
    (checkout / "page.py").write_text("\n".join(blocks))
    with serve_hub() as (address, repositories):
        hub = {"HF_ENDPOINT": address, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
        environment = os.environ | hub | {"HF_HUB_OFFLINE": "0", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "page.py"], cwd=checkout, env=environment, capture_output=True, text=True
        )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^1 weather-04 -", done.stdout, re.M)
    assert re.search(r"^owls-11$", done.stdout, re.M)
    assert re.search(r"^240 240$", done.stdout, re.M)  # the documents of both revisions: one more and one less
    assert repositories["alice/clouds"].private


@pytest.mark.slow
def test_the_steps_of_the_page_about_collections_run(checkout, monkeypatch):
    monkeypatch.chdir(checkout)
    (checkout / "theirs.trec").write_text("test-0 Q0 mon-1 1 2.0 x\ntest-1 Q0 mon-1 1 1.0 x\n")
    printed = {}
    for kind, text in steps(ROOT / "docs" / "own-collection.md"):
        if kind == "python":
            exec(compile(text, "own-collection.md", "exec"), printed.setdefault("names", {}))
        elif text.split()[1] != "run":
            printed[text] = run_genir(*shlex.split(text)[1:], cwd=checkout).stdout
    shop, hub, vectors, cold, foreign = (text for name, text in printed.items() if name != "names")
    assert "4 documents" in shop
    assert "4 documents" in hub
    assert "embed" in vectors
    assert "there is no split train" in cold
    assert "theirs" in foreign
