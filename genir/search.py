"""search: write run files of the evaluation splits, or answer single queries."""

if __name__ == "__main__":  # before the imports below, which take seconds
    from genir.pipeline.interrupts import handle_signals

    handle_signals()

import sys
import time
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from genir.collection.prepared import PreparedCollection
from genir.config import TRAINING_STAGES, Config, load_config
from genir.console import console, print_note, track
from genir.errors import GenirError
from genir.evaluation.trec import break_score_ties, read_run, write_run
from genir.files import write_json
from genir.pipeline.command import ConfigArgument, ForceOption, OverridesArgument, run_command
from genir.pipeline.stage import Stage, execute
from genir.processes import is_main_process, require_single_process, run_on_main
from genir.retriever import Retriever
from genir.retriever.divided_search import search_over_processes
from genir.tokenizer import tokenize


def main(config: Config) -> None:
    """Search the splits of search.splits with the retriever of every training stage.

    Writes RUN/runs/STAGE.SPLIT.trec and, beside it, STAGE.SPLIT.certified.json: for each query, how many of the first
    hits are proven to be the model's best documents. The run experts.SPLIT.trec is the ranking by the experts alone,
    without the model. Raises GenirError if a training stage has not run yet.
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
            if name == "sft" and retriever.experts is not None:
                run_on_main(partial(rank_by_experts, config, retriever, data, split))
            search_split(config, retriever, data, name, split)


def rank_by_experts(config: Config, retriever: Retriever, data: PreparedCollection, split: str) -> None:
    """Rank the documents of one split's queries by the experts alone, and write the run file experts.SPLIT.trec."""
    index, run, queries = retriever.index, {}, data.queries(split)
    assert index.experts is not None
    ranked = index.experts.rank_many([query.text for query in queries], config.search.k + data.ignores_identical_ids)
    for query, found in zip(track(queries, f"experts on {split}"), ranked, strict=True):
        hits = index.list_hits(*zip(*found, strict=True)) if found else []
        kept = [hit for hit in hits if not data.is_ignored(query.id, hit.doc_id)][: config.search.k]
        run[query.id] = break_score_ties([hit.doc_id for hit in kept], [hit.score for hit in kept])
    write_run(run, config.run_folder / "runs" / f"experts.{split}.trec", "experts")


def search_split(config: Config, retriever: Retriever, data: PreparedCollection, name: str, split: str) -> None:
    """Search the queries of one split, and write the run file and the file of certificates.

    name: the training stage that the retriever comes from, which is also the name of the run.
    """
    settings, folder, queries = config.search, config.run_folder / "runs", data.queries(split)
    k = settings.k + data.ignores_identical_ids
    started = time.perf_counter()
    results = search_over_processes(
        retriever,
        [query.text for query in queries],
        k,
        max(k, settings.beams),
        settings.batch_size,
        exact=settings.exact,
        description="searching",
    )
    milliseconds = (time.perf_counter() - started) / len(queries) * 1000
    run, num_proven, certified = {}, {}, 0
    for query, hits in zip(queries, results, strict=True):
        kept = [hit for hit in hits if not data.is_ignored(query.id, hit.doc_id)][: settings.k]
        run[query.id] = break_score_ties([hit.doc_id for hit in kept], [hit.score for hit in kept])
        num_proven[query.id] = sum(hit.rank <= hits.num_proven for hit in kept)
        certified += num_proven[query.id] >= min(config.evaluate.cutoff, len(kept))
    if not is_main_process():
        return
    write_run(run, folder / f"{name}.{split}.trec", name)
    write_json(folder / f"{name}.{split}.certified.json", num_proven)
    console.print(
        f"{name}, {split}: {len(queries):,} queries, {milliseconds:.1f} ms each; the top {config.evaluate.cutoff} of "
        f"{certified / len(queries):.1%} are certified"
    )
    longest = retriever.max_tokens
    lengths = tokenize(retriever.tokenizer, [query.text for query in queries], longest + 1)["attention_mask"].sum(1)
    if cut := int((lengths > longest).sum()):
        print_note(f"{cut:,} queries of {split} are longer than {longest} tokens and were cut")


def command(
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    query: Annotated[str | None, typer.Option(metavar="TEXT", help="Search this query and print the hits.")] = None,
    interactive: Annotated[bool, typer.Option("--interactive", help="Prompt for queries until an empty line.")] = False,
    k: Annotated[int, typer.Option("-k", "--k", help="Number of hits to print.", min=1)] = 10,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact",
            help="Continue until the hits are proven to be the best. Without --query or --interactive, this is the "
            "setting search.exact=true, which the run folder keeps until search.exact=false is given.",
        ),
    ] = False,
    rerank: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN.trec",
            help="Rank the documents of this run file, NAME.SPLIT.trec, with the trained retriever, and write "
            "RUN/runs/NAME-reranked.SPLIT.trec.",
        ),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Search with a trained retriever.

    Without options, search the splits of search.splits and write TREC run files, RUN/runs/STAGE.SPLIT.trec. With
    --query or --interactive, CONFIG may also be a run folder or a retriever folder, and the hits are printed. With
    --rerank, the documents that another system found are ranked again.
    """
    if rerank is not None or query is not None or interactive:
        require_single_process()
    if rerank is not None:
        if query is not None or interactive:
            raise GenirError("--rerank ranks the queries of a run file; leave out --query and --interactive")
        rerank_run(load_config(config, overrides or []), rerank)
        return
    if query is None and not interactive:
        given = [*(overrides or []), *(["search.exact=true"] if exact else [])]
        execute(STAGE, main, load_config(config, given), force)
        return
    folder = Path(config)
    if folder.is_dir() and overrides:
        raise GenirError(f"{overrides[0]}: settings do not apply to the retriever of a folder; use --k and --exact")
    if not folder.is_dir():
        folder = load_config(config, overrides or []).run_folder / "retriever"
    retriever = Retriever.from_pretrained(folder)
    if query is not None:
        console.print(retriever.search(query, k, exact=exact))
    if interactive:
        prompt_for_queries(retriever, k, exact)


def rerank_run(config: Config, path: Path) -> None:
    """Rank the documents of each query of a run file by the trained retriever, and write the new run beside the others.

    Raises GenirError if the file's name does not end with .SPLIT.trec, or if a query is not of that split.
    """
    data = PreparedCollection(config.run_folder / "collection")
    found = [split for split in data.splits if path.name.endswith(f".{split}.trec")]
    if not found:
        names = ", ".join(f"NAME.{split}.trec" for split in data.splits)
        raise GenirError(f"{path}: cannot tell which split it ranks; rename it to one of {names}")
    split = max(found, key=len)
    texts, run = {query.id: query.text for query in data.queries(split)}, read_run(path)
    if unknown := next((query_id for query_id in run if query_id not in texts), None):
        raise GenirError(f"{path}: query {unknown!r} is not among the queries of the split {split}")
    retriever = Retriever.from_pretrained(config.run_folder)
    reranked = {}
    for query_id in track(list(run), "ranking"):
        hits = retriever.rank(texts[query_id], list(run[query_id]))
        reranked[query_id] = break_score_ties([hit.doc_id for hit in hits], [hit.score for hit in hits])
    name = f"{path.name.removesuffix(f'.{split}.trec')}-reranked"
    target = config.run_folder / "runs" / f"{name}.{split}.trec"
    write_run(reranked, target, name)
    console.print(f"{len(reranked):,} queries of {path} are ranked again in {target}")


def prompt_for_queries(retriever: Retriever, k: int, exact: bool) -> None:
    """Read queries from the terminal and print their hits, until an empty line or the end of the input."""
    if sys.stdin is None:  # closed by the parent process
        return
    if isinstance(sys.stdin, TextIOWrapper):  # a line that is not UTF-8 must not end the session: search reports it
        sys.stdin.reconfigure(errors="surrogateescape")
    console.print(f"{len(retriever.table):,} documents; an empty line ends the session")
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
            console.print(hits)
            console.print(f"{(time.perf_counter() - started) * 1000:.0f} ms", style="dim")
        except GenirError as error:
            console.print(str(error))


STAGE = Stage(
    "search",
    settings=("search", "ddro", "irpo"),  # ddro and irpo determine which retrievers are searched
    reads=("collection", *(f"{name}?" for name in TRAINING_STAGES)),
    writes=("runs",),
    divided=True,
)

if __name__ == "__main__":
    run_command(command, STAGE.name, ("search",))
