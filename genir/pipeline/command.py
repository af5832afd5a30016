"""The command line that all programs share: CONFIG and KEY=VALUE arguments, help from docstrings, one-line errors."""

import errno
import functools
import inspect
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand

from genir.config import TRAINING_STAGES, SettingGroup, load_config, setting_groups
from genir.console import console, errors
from genir.errors import GenirError, make_printable
from genir.pipeline.interrupts import handle_signals, mark_reported
from genir.pipeline.process import set_process_defaults
from genir.pipeline.stage import Main, Stage, execute
from genir.processes import LostConnection, is_main_process, process_index

ConfigArgument = Annotated[
    str, typer.Argument(metavar="CONFIG", help="A config file, or the folder of a run.", show_default=False)
]
OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Settings that replace those of the config.", show_default=False),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Run even if nothing has changed.")]

HELP_WIDTH = 80
_SHOW_RARE = "genir.show_rare_settings"


def run_stage(stage: Stage, main: Main) -> None:
    """Run the command line of a stage program: `PROGRAM CONFIG [KEY=VALUE ...]`."""

    def command(config: ConfigArgument, overrides: OverridesArgument = None, force: ForceOption = False) -> None:
        execute(stage, main, load_config(config, overrides or []), force)

    command.__doc__ = inspect.getdoc(main)
    # A stage depends on a training section only to know which retrievers exist, so its help does not show the section.
    shown = tuple(name for name in stage.settings if name not in TRAINING_STAGES)
    run_command(command, stage.name, shown)


def run_command(command: Callable[..., None] | typer.Typer, name: str = "", settings: tuple[str, ...] = ()) -> None:
    """Run a typer command as `genir NAME`, whose help also shows the settings that the command uses.

    settings: dotted names of sections and of single settings. The message of a GenirError is printed on stderr, and the
    exit status is 1; a signal is reported as `genir.pipeline.interrupts` describes.
    """
    handle_signals()
    set_process_defaults()
    app = command
    if not isinstance(app, typer.Typer):
        app = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
        help_class = type("CommandWithSettings", (_CommandWithSettings,), {"setting_names": settings})
        target = _add_help_all(command) if settings else command
        app.command(cls=help_class, help=join_paragraphs(command.__doc__ or ""))(target)
    try:
        app(prog_name=f"genir {name}".strip())
    except LostConnection as error:
        if is_main_process():  # the others have lost it too
            _print_error(str(error))
        sys.exit(1)
    except GenirError as error:
        _print_error(str(error))
        sys.exit(1)
    except OSError as error:  # raised by a write to stdout, or for a path, such as that of another user's folder
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        full = "no space left on the device that the output goes to; redirect it elsewhere"
        problem = full if error.filename is None else f"{error.filename}: {error.strerror}"
        _print_error(problem)
        sys.exit(1)
    finally:
        handle_signals()  # again, since typer has replaced sys.excepthook


def _print_error(message: str) -> None:
    """Print an error; one of another process than the main one is printed too, since it may be the only one."""
    if is_main_process():
        errors.print(Text.assemble(("error:", "bold red"), " ", errors.render_str(message)))
    else:
        sys.stderr.write(f"error in process {process_index()}: {make_printable(message)}\n")
    mark_reported()  # a launcher sends a signal to the processes of a job of which one has ended


class _CommandWithSettings(TyperCommand):
    """A command whose help ends with tables of settings: the common ones (--help), or all of them (--help-all)."""

    setting_names: tuple[str, ...] = ()

    def format_help(self, ctx: Any, formatter: Any) -> None:
        super().format_help(ctx, formatter)
        show_rare = ctx.meta.get(_SHOW_RARE, False)
        for group in setting_groups(self.setting_names):
            _print_group(group, show_rare)
        if self.setting_names and not show_rare:
            console.print(" --help-all shows the rarely used settings too.", style="dim")


def _show_all_help(ctx: typer.Context, chosen: bool) -> None:
    """Print the help with the rarely used settings and exit, if --help-all is given."""
    if chosen:
        ctx.meta[_SHOW_RARE] = True
        typer.echo(ctx.get_help(), nl=False)
        raise typer.Exit()


def _add_help_all(command: Callable[..., None]) -> Callable[..., None]:
    """Return the same command with the additional option --help-all."""

    @functools.wraps(command)
    def with_help_all(help_all: bool = False, **arguments: Any) -> None:
        command(**arguments)

    option = typer.Option(
        "--help-all", is_eager=True, callback=_show_all_help, help="Show this message with all settings and exit."
    )
    signature = inspect.signature(command, eval_str=True)
    extra = inspect.Parameter(
        "help_all", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, option]
    )
    parameters = [*signature.parameters.values(), extra]
    with_help_all.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_help_all.__annotations__ = {x.name: x.annotation for x in parameters}
    return with_help_all


def _print_group(group: SettingGroup, show_rare: bool) -> None:
    """Print a group of settings as a table; rarely used settings are left out unless `show_rare` is set."""
    shown = [setting for setting in group.settings if show_rare or not setting.rare]
    if not shown:
        return
    width = min(console.width, HELP_WIDTH)
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False, width=width - 3)
    table.add_column("key", style="bold", overflow="fold", max_width=31)
    table.add_column("default", overflow="fold", max_width=12)
    table.add_column("description", overflow="fold", ratio=1)
    for setting in shown:
        table.add_row(setting.key, setting.default, Text(setting.description, "dim"))
    console.print(f" Settings: {group.title}", style="bold", width=width)
    if group.description:
        console.print(Padding(group.description, (0, 0, 0, 1)), width=width, soft_wrap=False)
    console.print(Padding(table, (0, 0, 1, 2)), soft_wrap=False, width=width)


def join_paragraphs(doc: str) -> str:
    """Join the lines of each paragraph of a docstring, so that they are wrapped to the width of the terminal."""
    return "\n\n".join(escape(" ".join(text.split())) for text in inspect.cleandoc(doc).split("\n\n"))
