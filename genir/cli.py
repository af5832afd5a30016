"""The `genir` command: `genir run CONFIG` runs all stages, `genir STAGE CONFIG` runs the program of one stage."""

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.table import Table
from rich.text import Text

import genir
from genir.config import Config, load_config
from genir.console import console
from genir.errors import GenirError
from genir.files import read_json, resource_path
from genir.pipeline.command import ConfigArgument, ForceOption, OverridesArgument, join_paragraphs, run_command
from genir.pipeline.process import require_even_batches, set_process_defaults
from genir.pipeline.status import stage_states


class Program(NamedTuple):
    """The file of a program, and its one-line description."""

    path: str
    help: str


STAGES = {
    "prepare": Program(
        "indexing/prepare_collection.py", "Read and check a collection, and copy it into the run folder."
    ),
    "embed": Program("indexing/embed_documents.py", "Compute one vector for each document."),
    "docids": Program("indexing/build_docids.py", "Assign a docid to every document."),
    "queries": Program("indexing/generate_queries.py", "Generate pseudo queries, if training needs them."),
    "baseline": Program("eval/baseline.py", "Search with BM25, the baseline of the evaluation."),
    "negatives": Program("indexing/mine_negatives.py", "Mine hard negatives for refinement."),
    "train": Program("genir/train.py", "Train the model to generate docids, then refine it."),
    "search": Program("genir/search.py", "Search the evaluation splits, or your own queries."),
    "evaluate": Program("eval/evaluate.py", "Compute the measures of every run, with confidence intervals."),
    "compare": Program("eval/compare.py", "Test the differences between runs for significance."),
    "plot": Program("eval/plot.py", "Draw training curves, measures and gains per query."),
    "report": Program("eval/report.py", "Write a report of the run in Markdown, HTML and LaTeX."),
}
OTHER_PROGRAMS = {
    "certify": Program("eval/certify.py", "Measure how often a beam size is proven to be sufficient."),
    "serve": Program("genir/serve.py", "Answer searches over HTTP."),
    "import-ddro": Program("indexing/import_ddro.py", "Convert DDRO's published model and docids into a retriever."),
}
PROGRAMS = STAGES | OTHER_PROGRAMS
_PASS_ARGUMENTS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def main() -> None:
    """Run the command line of `genir` with the arguments of the process."""
    set_process_defaults()
    if len(sys.argv) > 1 and sys.argv[1] in PROGRAMS:
        run_program(sys.argv[1], sys.argv[2:])
    else:
        run_command(make_app())


def make_app() -> typer.Typer:
    """Build the typer application, which `genir --help` describes."""
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        help="Generative retrieval: a model reads a query and generates the docid of the document that answers it.",
        epilog="Start with: genir run configs/quickstart.yaml",
    )
    app.callback(invoke_without_command=True)(print_version)
    for name, function in (("run", run), ("status", print_status)):
        app.command(name, help=join_paragraphs(function.__doc__ or ""), rich_help_panel="The whole pipeline")(function)
    for programs, panel in ((STAGES, "One stage, in pipeline order"), (OTHER_PROGRAMS, "Other programs")):
        for name, program in programs.items():
            app.command(name, help=program.help, rich_help_panel=panel, context_settings=_PASS_ARGUMENTS_ON)(
                _placeholder
            )
    return app


def _placeholder() -> None:
    """Represent a program in `genir --help`. It is never called, because `main` runs programs itself."""


def print_version(
    requested: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    """Print the version and exit, if that is requested."""
    if requested:
        console.print(f"genir {genir.__version__}")
        raise typer.Exit()


def run(
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    until: Annotated[str, typer.Option(metavar="STAGE", help="Stop after this stage.")] = "report",
    force: ForceOption = False,
) -> None:
    """Run all stages, except those whose inputs and settings have not changed.

    Everything is written to the run folder, runs/NAME/. A run can be stopped at any moment, and the same command
    continues it. A stage that runs again prints the reason; `genir status CONFIG` lists the reasons beforehand.
    `genir STAGE --help` describes the settings of a stage.
    """
    from genir.evaluation.measures import parse_measures  # not needed for --help

    if until not in STAGES:
        raise GenirError(f"--until: unknown stage {until!r}; the stages are {', '.join(STAGES)}")
    settings = load_config(config, overrides or [])
    parse_measures(settings.evaluate.measures)  # report a misspelt measure now, not after the training
    stages = [*STAGES][: [*STAGES].index(until) + 1]
    require_input_files(settings, stages)
    require_even_batches(settings)
    for name in stages:
        run_program(name, [config, *(overrides or []), *(["--force"] if force else [])])
    if "evaluate" in stages:
        show_results(settings, with_tests="compare" in stages)
    if "search" in stages:
        show_examples(settings)
    show_next_steps(settings, stages)


def print_status(config: ConfigArgument, overrides: OverridesArgument = None) -> None:
    """List the stages of a run: whether each is up to date, and if not, why it would run again.

    CONFIG is a run folder, or a config file, whose run folder is looked up. KEY=VALUE arguments show what other
    settings would change.
    """
    settings = load_config(config, overrides or [])
    if not settings.run_folder.is_dir():
        raise GenirError(f"{settings.run_folder}: no such run folder; genir run creates it")
    table = Table(title=str(settings.run_folder), title_justify="left")
    table.add_column("stage", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("reason", overflow="fold")
    styles = {"up to date": "green", "stale": "yellow", "not run": "dim", "not needed": "dim", "edited": "green"}
    for name, state, reason in stage_states(settings):
        table.add_row(name, Text(state, styles[state]), reason)
    console.print(table)


def require_input_files(config: Config, stages: Sequence[str]) -> None:
    """Raise GenirError if a file that the settings name, and that one of the stages will read, does not exist."""
    from genir.docids import BUILDERS

    sources = {f"{name}.teacher": ("train", getattr(config, name).teacher) for name in config.training_stages[1:]}
    if config.trains_on("pseudo_queries"):
        sources["queries.method"] = "queries", config.queries.method
    if BUILDERS[config.docids.builder].needs == "vectors":
        sources["embed.method"] = "embed", config.embed.method
    for key, (stage, name) in sources.items():
        if stage in stages and name and name.endswith((".jsonl", ".jsonl.gz", ".npy")) and not Path(name).exists():
            raise GenirError(f"{key} {name}: no such file (working directory {Path.cwd()})")


def run_program(name: str, arguments: list[str]) -> None:
    """Run a program as `python PROGRAM ARGUMENTS` would, in this process."""
    caller_arguments = sys.argv
    sys.argv = ["genir", *arguments]
    try:
        runpy.run_path(str(program_path(name)), run_name="__main__")
    except SystemExit as stop:
        if stop.code:
            raise
    finally:
        sys.argv = caller_arguments


def program_path(name: str) -> Path:
    """The path of a program, in a checkout of the repository or in the installed package."""
    path = PROGRAMS[name].path
    if path.startswith("genir/"):
        return Path(genir.__file__).parent / path.removeprefix("genir/")
    return resource_path(path)


def show_results(config: Config, with_tests: bool) -> None:
    """Print the measures of each split, and the main result in a sentence.

    with_tests: whether the run has been compared, so that the significance of the result is known.
    """
    from genir.evaluation.headline import compose_headline
    from genir.evaluation.summary import make_measures_table

    run = config.run_folder
    measures, certificates = (read_json(run / "evaluation" / f"{name}.json") for name in ("measures", "certificates"))
    tests = read_json(run / "comparison" / "comparison.json") if with_tests else []
    for split in config.search.splits:
        runs = measures[split]
        last = next((stage for stage in reversed(config.training_stages) if stage in runs), next(iter(runs)))
        console.print()
        console.print(make_measures_table(runs, split, config.evaluate.measures, certificates.get(split, {})))
        console.print(compose_headline(split, config.sft.metric, runs, last, next(iter(runs)), tests), style="bold")


def show_examples(config: Config) -> None:
    """Print the hits of three dev queries."""
    from genir.collection.prepared import PreparedCollection
    from genir.retriever import Retriever

    retriever = Retriever.from_pretrained(config.run_folder)
    queries = PreparedCollection(config.run_folder / "collection").queries("dev")
    step = max(1, len(queries) // 3)
    for query in queries[step // 2 :: step][:3]:
        console.print()
        console.print(retriever.search(query.text, k=3))


def show_next_steps(config: Config, stages: Sequence[str]) -> None:
    """Print what can be done with the run."""
    run = config.run_folder
    steps = []
    if "train" in stages:
        steps += [("Search your own queries:", f"genir search {run} --interactive"), ("Serve:", f"genir serve {run}")]
    if "report" in stages:
        steps.append(("Read the report:", str(run / "report" / "report.html")))
    if steps:
        console.print()
    for name, value in steps:
        console.print(Text.assemble((f"{name} ", "bold"), console.render_str(value)))
