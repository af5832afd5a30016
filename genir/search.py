"""search: write run files of the evaluation splits, or answer single queries."""

if __name__ == "__main__":  # before the imports below, which take seconds
    from genir.pipeline.interrupts import handle_signals

    handle_signals()

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from genir.checks import is_encodable
from genir.collection.prepared import PreparedCollection
from genir.config import TRAINING_STAGES, Config, load_config
from genir.console import console, print_note, track
from genir.errors import GenirError, error_at, make_printable
from genir.evaluation.trec import break_score_ties, read_hits, write_run
from genir.files import write_json
from genir.pipeline.command import ConfigArgument, ForceOption, OverridesArgument, run_command
from genir.pipeline.stage import Stage, execute
from genir.processes import is_main_process, require_single_process, run_on_main
from genir.retriever import Retriever
from genir.retriever.divided_search import search_over_processes
from genir.retriever.hub import is_hub_name
from genir.tokenizer import tokenize

BATCH_SIZE = 32
"""Queries of stdin that are searched at once."""


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
    query: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Print the hits of this query; - reads queries from stdin."),
    ] = None,
    interactive: Annotated[bool, typer.Option("--interactive", help="Prompt for queries until an empty line.")] = False,
    k: Annotated[int | None, typer.Option("-k", "--k", help="Number of hits to print, by default 10.", min=1)] = None,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact",
            help="Continue until the hits are proven to be the best. Where no hits are printed, this is the setting "
            "search.exact=true, which the run folder keeps until search.exact=false is given.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per query, in one line.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also print what the beams held and pruned; not with --exact.")
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
    --query, --interactive, -k, --json or --explain, CONFIG may also be a run folder, a retriever folder, or the name of
    a retriever on the Hugging Face hub, and hits are printed; without --query and --interactive, the queries come from
    stdin, one per line. With --rerank, the documents that another system found are ranked again.
    """
    prints_hits = query is not None or interactive or k is not None or as_json or explain
    refuse_clashes(interactive, query, as_json, exact, explain, rerank, prints_hits)
    if rerank is not None or prints_hits:
        require_single_process()
    if rerank is not None:
        rerank_run(load_config(config, overrides or []), rerank)
        return
    if not prints_hits:
        given = [*(overrides or []), *(["search.exact=true"] if exact else [])]
        execute(STAGE, main, load_config(config, given), force)
        return
    if query is None and not interactive and (sys.stdin is None or sys.stdin.isatty()):
        raise GenirError("no query: give --query TEXT, or --interactive, or queries on stdin, one per line")
    retriever = load_retriever(config, overrides or [])
    answer = partial(print_hits, retriever, k=k or 10, exact=exact, as_json=as_json, explain=explain)
    if interactive:
        prompt_for_queries(retriever, answer)
        return
    for queries in read_queries() if query in (None, "-") else [[query or ""]]:
        answer(queries)


def refuse_clashes(
    interactive: bool,
    query: str | None,
    as_json: bool,
    exact: bool,
    explain: bool,
    rerank: Path | None,
    prints_hits: bool,
) -> None:
    """Raise GenirError if options are given that cannot be followed together."""
    if exact and explain:
        raise GenirError("--explain shows a search with a fixed number of beams; leave out --exact")
    if interactive and (query is not None or as_json):
        raise GenirError("--interactive prompts for queries and prints tables; leave out --query and --json")
    if rerank is not None and prints_hits:
        raise GenirError("--rerank ranks the queries of a run file; leave out the options that print hits")


def load_retriever(place: str, overrides: Sequence[str]) -> Retriever:
    """Load the retriever of a folder, of the hub, or of the run that a config describes."""
    if not Path(place).is_dir() and not is_hub_name(place):
        return Retriever.from_pretrained(load_config(place, overrides).run_folder / "retriever")
    if overrides:
        raise GenirError(f"{overrides[0]}: settings do not apply to the retriever of a folder; use --k and --exact")
    return Retriever.from_pretrained(place)


def read_queries() -> Iterator[list[str]]:
    """Yield the queries of stdin in batches, without blank lines; raise GenirError for a line that is not UTF-8."""
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    batch = []
    for number, line in enumerate(sys.stdin, 1):
        if not is_encodable(line):
            raise error_at("stdin", number, "not UTF-8 text; convert the queries to UTF-8")
        if line.strip():
            batch.append(line.strip())
        if len(batch) == BATCH_SIZE:
            yield batch
            batch = []
    if batch:
        yield batch


def print_hits(retriever: Retriever, queries: Sequence[str], k: int, exact: bool, as_json: bool, explain: bool) -> None:
    """Search queries and print the hits of each, as a table or as a line of JSON."""
    for hits in retriever.search_many(queries, k, exact=exact):
        explanation = retriever.explain(hits.query, k=k) if explain else None
        if as_json:
            shown = {"query": hits.query, "exact": hits.exact, "num_proven": hits.num_proven}
            shown |= {"hits": [hit._asdict() for hit in hits]}
            shown |= {} if explanation is None else {"explanation": explanation.to_dict()}
            sys.stdout.write(f"{json.dumps(shown)}\n")  # ASCII, so that no terminal obeys a title
        else:
            console.print(hits)
            if explanation is not None:
                console.print(Text(make_printable(str(explanation), keep="\n")), soft_wrap=True)
    sys.stdout.flush()


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
    texts, run = {query.id: query.text for query in data.queries(split)}, read_hits(path)
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


def prompt_for_queries(retriever: Retriever, answer: Callable[[Sequence[str]], None]) -> None:
    """Read queries from the terminal and answer them, until an empty line or the end of the input."""
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
            answer([text])
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
