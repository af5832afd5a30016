"""The layout of the repository: places of tests, imports, lengths of files and functions, what genir exports."""

import ast
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import genir

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(path for path in (ROOT / "genir").rglob("*.py") if path.name not in ("__init__.py", "__main__.py"))
PROGRAMS = sorted(path for folder in ("indexing", "eval") for path in (ROOT / folder).glob("*.py"))
SOURCES = sorted((ROOT / "genir").rglob("*.py")) + PROGRAMS
EXPORTS = {
    "Document",
    "GenirError",
    "Hit",
    "Hits",
    "Query",
    "Retriever",
    "SearchTimeout",
    "load_config",
    "open_collection",
}
MAX_ENTRIES = 33
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60


def relative(path):
    return path.relative_to(ROOT).as_posix()


def test_every_module_has_its_test_file():
    tested = [path for path in MODULES if "benchmarks" not in path.parts]
    expected = [ROOT / "tests" / path.relative_to(ROOT / "genir").with_name(f"test_{path.name}") for path in tested]
    missing = [relative(path) for path in expected if not path.exists()]
    assert not missing, "\n".join(missing)


def test_every_program_has_its_test_file():
    tested = [path for path in PROGRAMS if not path.name.startswith("benchmark_")]
    expected = [ROOT / "tests" / path.parent.name / f"test_{path.name}" for path in tested]
    missing = [relative(path) for path in expected if not path.exists()]
    assert not missing, "\n".join(missing)


def test_the_top_level_of_genir_stays_small():
    entries = sorted(path.name for path in (ROOT / "genir").iterdir() if path.name != "__pycache__")
    assert len(entries) <= MAX_ENTRIES, entries


def test_the_wheel_lists_every_package():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {path.parent for path in (ROOT / "genir").rglob("__init__.py")}
    packages = {".".join(path.relative_to(ROOT).parts) for path in folders}
    assert set(settings["packages"]) == packages | set(settings["package-dir"])


def imported_names(path):
    """The first components of all modules that a file imports; a relative import counts as one of a program."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0] if node.level == 0 else "."


@pytest.mark.parametrize("path", PROGRAMS, ids=relative)
def test_a_program_imports_no_other_program(path):
    programs = {program.stem for program in PROGRAMS} | {"indexing", "eval", "."}
    assert programs & {*imported_names(path)} == set()


def test_no_file_is_too_long():
    lengths = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    too_long = [f"{name}: {length} lines" for name, length in lengths.items() if length > MAX_FILE_LINES]
    assert not too_long, "\n".join(too_long)


def test_no_function_is_too_long():
    too_long = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    too_long.append(f"{relative(path)}:{node.lineno} {node.name}: {length} lines")
    assert not too_long, "\n".join(too_long)


def test_genir_exports_its_public_names():
    assert set(dir(genir)) >= EXPORTS
    assert set(genir.__all__) == EXPORTS | {"__version__"}
    assert [name for name in EXPORTS if getattr(genir, name).__name__ != name] == []


def test_importing_genir_changes_no_environment_variable_and_loads_no_large_library():
    code = (
        "import json, os, sys\n"
        "before = dict(os.environ)\n"
        "import genir\n"
        "dir(genir)\n"
        "print(json.dumps([dict(os.environ) == before, sorted({'torch', 'transformers', 'numpy'} & {*sys.modules})]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [True, []]
