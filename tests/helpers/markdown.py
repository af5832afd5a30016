"""What the tests of the documentation read from Markdown files: code blocks, inline code, links, shell commands."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Page(NamedTuple):
    """A Markdown file: its Python blocks, the lines of its indented (shell) blocks, its inline code and its links."""

    path: Path
    python: list[str]
    shell: list[str]
    inline: list[str]
    links: list[str]


def read_page(path: Path) -> Page:
    """Read a Markdown file. Python blocks are fenced, shell commands are indented by four spaces."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")  # a command may be continued on the next line
    python = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    shell = re.findall(r"^    (\S.*)$", prose, re.M)
    prose = re.sub(r"^    .*$", "", prose, flags=re.M)
    inline = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose)]
    return Page(path, python, shell, inline, re.findall(r"\]\(([^)\s]+)\)", prose))


def genir_commands(page: Page) -> Iterator[list[str]]:
    """The words of every `genir ...` command of a page, in shell blocks and inline code, without comments."""
    for line in [*page.shell, *page.inline]:
        if re.match(r"(\.venv/bin/)?genir\s+[a-z-]", line):
            yield shlex.split(line, comments=True)[1:]


def settings(page: Page) -> Iterator[list[str]]:
    """The KEY=VALUE arguments that belong together: those of one command, or one in inline code."""
    for words in genir_commands(page):
        yield [word for word in words if re.match(r"[a-z_]+(\.\w+)*=", word)]
    for code in page.inline:
        if re.fullmatch(r"'?([a-z_]+(\.\w+)+|docids|ddro|irpo)=\S.*", code):
            yield shlex.split(code)


def steps(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the Python blocks and `genir ...` commands of a page in order: ("python", code) or ("shell", command)."""
    text = path.read_text(encoding="utf-8")
    for found in re.finditer(r"^```python\n(.*?)^```|^    (genir [^\n]*)$", text, re.M | re.S):
        yield ("python", found[1]) if found[1] else ("shell", found[2])
