"""The `genir` command: `genir run CONFIG` walks all stages, `genir STAGE CONFIG` runs one program."""

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

import genir
from genir.config import Config, load_config
from genir.console import console
from genir.errors import GenirError
from genir.files import resource_path
from genir.pipeline.command import ConfigArgument, ForceOption, OverridesArgument, run_command


class Program(NamedTuple):
    """A stage's program file and what it does."""

    path: str
    help: str


STAGES = {
    "prepare": Program("indexing/prepare_collection.py", "Read and check a collection, write it into the run folder."),
    "embed": Program("indexing/embed_documents.py", "One vector for each document."),
    "docids": Program("indexing/build_docids.py", "Give every document a docid."),
    "queries": Program("indexing/generate_queries.py", "Pseudo queries, where a training mix names them."),
    "baseline": Program("eval/baseline.py", "BM25 runs to compare with."),
    "negatives": Program("indexing/mine_negatives.py", "Hard negatives for the refinement stages."),
    "train": Program("genir/train.py", "Teach the model to write docids."),
    "search": Program("genir/search.py", "Search the evaluation splits, or for your own questions."),
    "evaluate": Program("eval/evaluate.py", "Measures of every run, with intervals."),
    "compare": Program("eval/compare.py", "Significance of the differences between runs."),
    "plot": Program("eval/plot.py", "Training curves, measures, gains by query."),
    "report": Program("eval/report.py", "A report of the run: Markdown, HTML and a LaTeX table."),
}
EXTRAS = {
    "import-ddro": Program("indexing/import_ddro.py", "A retriever of DDRO's published model and docids."),
    "serve": Program("genir/serve.py", "Answer searches over HTTP."),
    "certify": Program("eval/certify.py", "What a beam width loses: the share of searches proven exact."),
}
TABLE = STAGES | EXTRAS
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def main() -> None:
    """Entry point of the console script."""
    try:
        if len(sys.argv) > 1 and sys.argv[1] in TABLE:
            run_program(sys.argv[1], sys.argv[2:])
        else:
            run_command(app())
    except KeyboardInterrupt:  # while a program is imported; once it runs, it answers itself
        sys.exit(130)


def app() -> typer.Typer:
    """The command line that `genir --help` shows."""
    commands = typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        help="Generative retrieval: a model reads a query and writes the identifier of the document that answers it.",
        epilog="Start with: genir run configs/quickstart.yaml",
    )
    commands.callback(invoke_without_command=True)(version)
    commands.command("run", rich_help_panel="Everything")(run)
    for table, panel in ((STAGES, "One stage, in pipeline order"), (EXTRAS, "Use it")):
        for name, program in table.items():
            commands.command(name, help=program.help, rich_help_panel=panel, context_settings=PASS_ON)(_listed)
    return commands


def _listed() -> None:
    """Stages are run by `main` before this table is built; here they are only listed."""


def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and stop.", is_eager=True)] = False,
) -> None:
    """Print the version."""
    if show:
        console.print(f"genir {genir.__version__}")
        raise typer.Exit()


def run(
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    until: Annotated[str, typer.Option(metavar="STAGE", help="Stop after this stage.")] = "report",
    force: ForceOption = False,
) -> None:
    """Walk all stages, and skip those whose inputs and settings have not changed.

    It can be stopped at any moment; the same command goes on where it was. Everything goes into runs/NAME/.
    """
    from genir.evaluation.measures import parse_measures

    if until not in STAGES:
        raise GenirError(f"--until: no stage {until!r}; there are: {', '.join(STAGES)}")
    settings = load_config(config, overrides or [])
    parse_measures(settings.evaluate.measures)  # a misspelt one is told now, not after the training
    require_files(settings, [*STAGES][: [*STAGES].index(until) + 1])
    for name in STAGES:
        run_program(name, [config, *(overrides or []), *(["--force"] if force else [])])
        if name == until:
            break
    if until in ("search", "evaluate", "compare", "plot", "report"):
        show_examples(settings)


def require_files(config: Config, stages: Sequence[str]) -> None:
    """Raise where a file that one of the stages reads is missing; it is found from here, as the stage will find it."""
    from genir.docids import BUILDERS

    named = {f"{name}.teacher": ("train", getattr(config, name).teacher) for name in config.training_stages[1:]}
    if config.uses_pseudo_queries:
        named["queries.method"] = "queries", config.queries.method
    if BUILDERS[config.docids.builder].needs == "vectors":
        named["embed.method"] = "embed", config.embed.method
    for key, (stage, name) in named.items():
        if stage in stages and name and name.endswith((".jsonl", ".jsonl.gz", ".npy")) and not Path(name).exists():
            raise GenirError(f"{key} {name}: no such file from {Path.cwd()}")


def run_program(name: str, arguments: list[str]) -> None:
    """Run a stage's program as `python PROGRAM ARGUMENTS` would, in this process."""
    before = sys.argv
    sys.argv = ["genir", *arguments]
    try:
        runpy.run_path(str(program_path(name)), run_name="__main__")
    except SystemExit as stop:
        if stop.code:
            raise
    finally:
        sys.argv = before


def program_path(name: str) -> Path:
    """The program in the repository (a checkout), else in the installed package."""
    path = TABLE[name].path
    return (
        Path(genir.__file__).parent / path.removeprefix("genir/") if path.startswith("genir/") else resource_path(path)
    )


def show_examples(config: Config) -> None:
    """Three searches with dev queries, and how to go on."""
    from genir.collection.prepared import PreparedCollection
    from genir.retriever import Retriever

    retriever = Retriever.from_pretrained(config.run_folder)
    queries = PreparedCollection(config.run_folder / "collection").queries("dev")
    step = max(1, len(queries) // 3)
    for query in queries[step // 2 :: step][:3]:
        console.print()
        console.print(retriever.search(query.text, k=3), markup=False)
    console.print(f"\nSearch for your own questions: [bold]genir search {config.run_folder} --interactive[/]")
