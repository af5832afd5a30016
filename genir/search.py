"""search: run files for the splits to be evaluated, or one's own questions."""

import sys
import time
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from genir.collection.prepared import PreparedCollection
from genir.config import TRAINING_STAGES, Config, load_config
from genir.console import console
from genir.errors import GenirError
from genir.evaluation.trec import rank_scores, write_run
from genir.files import write_json
from genir.pipeline.command import ConfigArgument, ForceOption, OverridesArgument, run_command
from genir.pipeline.stage import Stage, execute
from genir.retriever import Retriever


def main(config: Config) -> None:
    """Search the splits of search.splits with the retriever of every training stage.

    Beside each run file stands which queries' hits are provably the model's best (STAGE.SPLIT.exact.json).
    """
    data = PreparedCollection(config.run_folder / "collection")
    for name in config.training_stages:
        if not (config.run_folder / name).exists():
            raise GenirError(
                f"{config.run_folder / name}: {name} has not been trained yet; run: genir train {config.run_folder}"
            )
    for name in config.training_stages:
        retriever = Retriever.from_pretrained(config.run_folder / name)
        for split in config.search.splits:
            queries = data.queries(split)
            started = time.perf_counter()
            found = retriever.search_many(
                [query.text for query in queries],
                config.search.k,
                config.search.beams,
                batch_size=config.search.batch_size,
                show_progress=True,
                exact=config.search.exact,
            )
            each = (time.perf_counter() - started) / len(queries) * 1000
            run = {
                query.id: rank_scores([hit.doc_id for hit in hits], [hit.score for hit in hits])
                for query, hits in zip(queries, found, strict=True)
            }
            proven = {query.id: hits.exact for query, hits in zip(queries, found, strict=True)}
            write_run(run, config.run_folder / "runs" / f"{name}.{split}.trec", name)
            write_json(config.run_folder / "runs" / f"{name}.{split}.exact.json", proven)
            share = sum(proven.values()) / len(queries)
            console.print(f"{name}, {split}: {len(queries):,} queries, {each:.1f} ms each, {share:.1%} certified exact")


def command(
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    query: Annotated[str | None, typer.Option(metavar="TEXT", help="Search for this and print the hits.")] = None,
    interactive: Annotated[bool, typer.Option("--interactive", help="Ask for queries until an empty line.")] = False,
    k: Annotated[int, typer.Option(help="Hits to print.", min=1)] = 10,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact",
            help="Go on until the hits are proven to be the model's best. Without --query and --interactive this is "
            "search.exact=true, which the run keeps, like any setting, until search.exact=false is given.",
        ),
    ] = False,
    force: ForceOption = False,
) -> None:
    """Search with a trained retriever.

    Without options: search the splits of search.splits and write RUN/runs/STAGE.SPLIT.trec (TREC run files). With
    --query or --interactive, CONFIG may also be a run folder or a retriever folder, and the hits are printed.
    """
    if query is None and not interactive:
        given = [*(overrides or []), *(["search.exact=true"] if exact else [])]
        execute(STAGE, main, load_config(config, given), force)
        return
    folder = Path(config)
    if folder.is_dir() and overrides:
        raise GenirError(f"{overrides[0]}: a folder's retriever is searched as it is; see --k and --exact")
    if not folder.is_dir():
        folder = load_config(config, overrides or []).run_folder / "retriever"
    retriever = Retriever.from_pretrained(folder)
    if query is not None:
        console.print(retriever.search(query, k, exact=exact), markup=False)
    if interactive:
        ask(retriever, k, exact)


def ask(retriever: Retriever, k: int, exact: bool) -> None:
    """Read queries from the terminal and print the hits, until an empty line or the end of input."""
    if sys.stdin is None:  # closed by who started this
        return
    if isinstance(sys.stdin, TextIOWrapper):  # a line that is no UTF-8 is refused by the search, not by the reading
        sys.stdin.reconfigure(errors="surrogateescape")
    console.print(f"{len(retriever.table):,} documents; an empty line ends")
    while True:
        try:
            text = console.input("[bold]query>[/] ").strip()
        except EOFError:
            return
        if not text:
            return
        try:
            started = time.perf_counter()
            hits = retriever.search(text, k, exact=exact)
            console.print(hits, markup=False)
            console.print(f"[dim]{(time.perf_counter() - started) * 1000:.0f} ms[/]")
        except GenirError as error:
            console.print(str(error), markup=False)


STAGE = Stage(
    "search",
    settings=("search", "ddro", "irpo"),  # whose retrievers are searched
    reads=("collection", *(f"{name}?" for name in TRAINING_STAGES)),
    writes=("runs",),
)

if __name__ == "__main__":
    run_command(command, STAGE.name, ("search",))
