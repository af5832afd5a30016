"""What a user gets from `pip install`: the wheel works in an empty folder, beside folders of the user's own."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, root],
        check=True,
    )
    return next(folder.glob("genir-*.whl"))


@pytest.mark.slow
def test_the_wheel_puts_only_genir_into_site_packages(wheel, root):
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"genir/serving/page/{path.name}" for path in (root / "genir" / "serving" / "page").iterdir()} <= set(names)
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"genir"}
    assert {"genir/stages/indexing/build_docids.py", "genir/stages/eval/evaluate.py", "genir/py.typed"} <= set(names)
    assert "genir/serving/docs.html.j2" in names
    carried = "configs/quickstart.yaml", "data/sources.yaml", "eval/templates/report.md.j2"
    assert {f"genir/stages/{name}" for name in carried} <= set(names)


@pytest.mark.slow
def test_the_console_script_runs_stages_in_a_folder_with_an_eval_of_its_own(wheel, tmp_path, beir):
    """A fresh environment that sees this one's libraries but not this checkout."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    python = tmp_path / "env" / "bin" / "python"
    target = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel],
        check=True,
    )
    ours = subprocess.run(
        [sys.executable, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    # A plain path line adds this environment's libraries; the editable genir's own hook file is not run from there.
    with open(Path(target) / "libraries.pth", "w") as handle:
        handle.write(ours + "\n")
    work = tmp_path / "work"
    for name in ("eval", "indexing"):
        (work / name).mkdir(parents=True)
        (work / name / "__init__.py").write_text("raise RuntimeError('the user's folder was imported')")
        (work / name / "evaluate.py").write_text("raise RuntimeError('the user's file was run')")
    (work / "c.yaml").write_text(f"collection: {{path: {beir}}}\ndocids: {{builder: atomic}}\n")
    script = tmp_path / "env" / "bin" / "genir"
    where = subprocess.run(
        [python, "-c", "import genir; print(genir.__file__)"], cwd=work, capture_output=True, text=True
    )
    assert str(tmp_path) in where.stdout, where.stderr
    done = subprocess.run([script, "run", "c.yaml", "--until", "baseline"], cwd=work, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (work / "runs" / "c" / "baseline" / "bm25.test.trec").exists()
    assert (
        "genir evaluate"
        in subprocess.run([script, "evaluate", "--help"], cwd=work, capture_output=True, text=True).stdout
    )
