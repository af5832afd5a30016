"""The command line that all programs share: CONFIG, KEY=VALUE overrides, help from docstrings, errors in one line."""

import errno
import inspect
import sys
from collections.abc import Callable
from typing import Annotated

import typer
from rich.markup import escape

from genir.config import describe, load_config
from genir.console import errors
from genir.errors import GenirError
from genir.pipeline.stage import Main, Stage, execute

ConfigArgument = Annotated[str, typer.Argument(metavar="CONFIG", help="A config file, or the folder of a run.")]
OverridesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings that replace the config's.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Run it even if nothing has changed.")]


def run_stage(stage: Stage, main: Main) -> None:
    """The command line of a stage program: `PROGRAM CONFIG [KEY=VALUE ...]`."""

    def command(config: ConfigArgument, overrides: OverridesArgument = None, force: ForceOption = False) -> None:
        execute(stage, main, load_config(config, overrides or []), force)

    command.__doc__ = inspect.getdoc(main)
    run_command(command, stage.name, stage.settings)


def run_command(command: Callable[..., None] | typer.Typer, name: str = "", settings: tuple[str, ...] = ()) -> None:
    """Run a typer command, `genir NAME`, whose help lists the settings of the config that it uses.

    A GenirError is one line on stderr and exit status 1.
    """
    app = command
    if not isinstance(app, typer.Typer):
        app = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
        app.command(help=help_text(command.__doc__ or "", settings))(command)
    try:
        app(prog_name=f"genir {name}".strip())
    except GenirError as error:
        errors.print(f"[bold red]error:[/] {escape(str(error))}")
        sys.exit(1)
    except OSError as error:  # of the output itself; files of a stage have their own message
        if error.errno != errno.ENOSPC:
            raise
        errors.print("[bold red]error:[/] no space left where the output goes; send it elsewhere")
        sys.exit(1)


def help_text(doc: str, settings: tuple[str, ...]) -> str:
    """A docstring with its paragraphs joined into lines, and the config's settings under it."""
    paragraphs = [" ".join(paragraph.split()) for paragraph in inspect.cleandoc(doc).split("\n\n")]
    lines = [
        f"[bold]{name}[/] = {escape(str(default))}{f'  [dim]{escape(description)}[/]' if description else ''}"
        for section in settings
        for name, default, description in describe(section)
    ]
    return "\n\n".join([*map(escape, paragraphs), *(["Settings:\n" + "\n".join(lines)] if lines else [])])
