"""What the documentation says is true: its code compiles; its links, commands, options, settings and names exist."""

import importlib
import re

import pytest

from genir.config import load_config
from genir.config.renamed import RENAMED
from tests.helpers.markdown import genir_commands, read_page, settings
from tests.helpers.processes import ROOT, read_help

PATHS = [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "configs/README.md", "data/README.md")
]
PATHS += sorted((ROOT / "docs").glob("*.md"))
PAGES = {path.relative_to(ROOT).as_posix(): read_page(path) for path in PATHS}
README, ARCHITECTURE = PAGES["README.md"], PAGES["docs/architecture.md"]
OPTIONS: dict[str, set[str]] = {}
"""Command -> its options that the pages name."""
for words in (words for page in PAGES.values() for words in genir_commands(page)):
    if options := {word for word in words if word.startswith("--")}:
        OPTIONS.setdefault(words[0], set()).update(options)
EVERY_PAGE = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
LONGEST_INTRODUCTION = 105
"""Lines of the README before its section "More": two screens."""


def test_the_module_table_lists_every_module_once():
    lines = ARCHITECTURE.path.read_text(encoding="utf-8").split("## Modules")[1].split("\n## ")[0].splitlines()
    listed = [match[1] for line in lines if (match := re.match(r"\| `([\w.]+)` \|", line))]
    files = [path.relative_to(ROOT / "genir") for path in (ROOT / "genir").rglob("*.py") if path.name != "__init__.py"]
    modules = {".".join(path.with_suffix("").parts) for path in files}
    assert (modules - {*listed}, {*listed} - modules, len(listed)) == (set(), set(), len(modules))


def test_the_layers_of_the_architecture_page_are_those_of_the_import_contract():
    contract = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("layers = [")[1].split("]")[0]
    layers = [sorted(re.findall(r"genir\.(\w+)", line)) for line in contract.splitlines() if "genir." in line]
    known = {name for layer in layers for name in layer}
    first = [re.split(r"\s{2,}", line)[0].split(", ") for line in ARCHITECTURE.shell]
    assert [sorted(names) for names in first if {*names} <= known] == layers


def test_the_changelog_lists_every_renamed_key():
    listed = set()
    for line in PAGES["CHANGELOG.md"].path.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 3 and cells[1].startswith("`"):
            sections = re.findall(r"`(\w+)`", cells[0]) or [""]
            listed |= {(section, cells[1].strip("`"), cells[2].strip("`")) for section in sections}
    assert listed == {(section, old, new) for section, keys in RENAMED.items() for old, new in keys.items()}


def test_the_introduction_of_the_readme_fits_on_two_screens():
    introduction = README.path.read_text(encoding="utf-8").split("\n## More")[0]
    assert len(introduction.splitlines()) <= LONGEST_INTRODUCTION


@EVERY_PAGE
def test_python_blocks_are_valid(page):
    for block in page.python:
        compile(block, str(page.path), "exec")


@EVERY_PAGE
def test_relative_links_lead_to_files(page):
    targets = [link.split("#")[0] for link in page.links if not re.match(r"https?:|#", link)]
    assert [target for target in targets if not (page.path.parent / target).exists()] == []


@EVERY_PAGE
def test_files_that_are_named_exist(page):
    words = [word for code in [*page.inline, *page.shell] for word in code.split()]
    named = [
        word
        for word in words
        if re.match(r"(genir|indexing|eval|tests|configs|docs|examples)/[a-z_/0-9.-]+\.\w+$", word)
    ]
    assert [name for name in named if not (ROOT / name).exists()] == []


@EVERY_PAGE
def test_dotted_names_of_genir_can_be_imported(page):
    for name in page.inline:
        if re.fullmatch(r"genir(\.\w+)+", name) and not name.endswith((".json", ".yaml")):
            found, *rest = name.split(".")
            value = importlib.import_module(found)
            for part in rest:
                found = f"{found}.{part}"
                value = getattr(value, part) if hasattr(value, part) else importlib.import_module(found)


@EVERY_PAGE
def test_make_targets_exist(page):
    wanted = {
        match[1] for line in [*page.shell, *page.inline] if (match := re.match(r"make (?:[A-Z]+=\S+ )?([a-z-]+)", line))
    }
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert wanted <= {*re.findall(r"^([a-z-]+):", makefile, re.M)}


@EVERY_PAGE
def test_settings_are_accepted(page):
    for overrides in settings(page):
        load_config(ROOT / "configs" / "quickstart.yaml", [word for word in overrides if "..." not in word])


def test_commands_exist():
    known = {*re.findall(r"^│ ([a-z][a-z-]+) ", read_help(), re.M)}
    assert {words[0] for page in PAGES.values() for words in genir_commands(page)} <= known


@pytest.mark.slow
@pytest.mark.parametrize("command", OPTIONS)
def test_options_exist(command):
    assert OPTIONS[command] <= {*re.findall(r"--[a-z-]+", read_help(command))}
