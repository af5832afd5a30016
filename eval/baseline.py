"""baseline: BM25 runs with which the retriever is compared, and the BM25 fingerprint of the collection."""

if __name__ == "__main__":  # before the imports below, which take seconds
    from genir.pipeline.interrupts import handle_signals

    handle_signals()

from collections.abc import Mapping

from genir.bm25 import BM25Index, open_index
from genir.collection.prepared import PreparedCollection
from genir.collection.published import find_published
from genir.config import Config
from genir.console import console, print_note, print_warning
from genir.evaluation.measures import measure
from genir.evaluation.protocol_card import FINGERPRINT
from genir.evaluation.trec import Run, break_score_ties, qrels, write_run
from genir.files import write_json
from genir.pipeline.command import run_stage
from genir.pipeline.stage import Stage

TOLERANCE = 2.0  # percentage points of R@1 by which BM25 can differ because of its text analysis and settings


def main(config: Config) -> None:
    """Search the splits of search.splits with BM25 and write baseline/bm25.SPLIT.trec and fingerprint.json.

    baseline.backend chooses the implementation: bm25s, which needs no extra, or pyserini (extra: pyserini), which is
    Lucene with Anserini's text analysis on a JVM that pip installs. The fingerprint is R@1, R@10 and RR@10 of BM25; it
    distinguishes collections that have the same name but different texts.
    """
    data = PreparedCollection(config.run_folder / "collection")
    index = open_index(data.documents, config.baseline)
    measures = {}
    warn_of_empty("documents", index.num_empty, len(data.documents))
    for split in config.search.splits:
        queries = [query.text for query in data.queries(split)]
        warn_of_empty(f"queries of {split}", index.count_empty(queries), len(queries))
        run = search(index, data, split, config.search.k)
        note_own_documents(data, split, run)
        write_run(run, config.run_folder / "baseline" / f"bm25.{split}.trec", "bm25")
        values = measure(run, qrels(data.judgments(split)), FINGERPRINT)
        measures[split] = {name: sum(by_query.values()) / len(by_query) for name, by_query in values.items()}
        shown = ", ".join(f"{name} {value:.4f}" for name, value in measures[split].items())
        console.print(f"BM25, {split}: {shown}")
    settings = config.baseline.model_dump(mode="json") | {"k": config.search.k}
    write_json(config.run_folder / "baseline" / "fingerprint.json", {"settings": settings, "measures": measures})
    console.print(", ".join(f"{name} {value}" for name, value in settings.items()))
    compare_with_published(config, measures)


def search(index: BM25Index, data: PreparedCollection, split: str, k: int) -> Run:
    """Search the queries of a split with BM25, and return a run with the k best documents of each query."""
    queries = data.queries(split)
    found = index.search_many([query.text for query in queries], k + data.ignores_identical_ids)
    run = {}
    for query, hits in zip(queries, found, strict=True):
        kept = [hit for hit in hits if not data.is_ignored(query.id, hit[0])][:k]
        run[query.id] = break_score_ties([doc_id for doc_id, _ in kept], [score for _, score in kept])
    return run


def warn_of_empty(kind: str, empty: int, total: int) -> None:
    """Print a warning if some texts have no term, because BM25 never finds or matches anything by them."""
    if empty:
        print_warning(
            f"{empty:,} of {total:,} {kind} ({empty / total:.1%}) have no term for BM25: they are "
            "empty, or contain only stop words and single letters"
        )


def note_own_documents(data: PreparedCollection, split: str, run: Run) -> None:
    """Print a note if documents that are not relevant are ranked first for queries with the same id.

    That is so where queries are documents themselves, as in ArguAna and Quora.
    """
    relevant = {(judgment.query_id, judgment.doc_id) for judgment in data.judgments(split) if judgment.grade > 0}
    first = [query_id for query_id, ranked in run.items() if next(iter(ranked), None) == query_id]
    if count := sum((query_id, query_id) not in relevant for query_id in first):
        print_note(
            f"for {count:,} of {len(run):,} queries of {split}, BM25 ranks the document with the id "
            "of the query first, though it is not relevant; collection.ignore_identical_ids=true leaves such documents "
            "out"
        )


def compare_with_published(config: Config, measures: Mapping[str, Mapping[str, float]]) -> None:
    """Print R@1 of BM25 on test and its published value, and warn if they differ by more than TOLERANCE.

    Nothing is printed for a collection without a published value, if search.splits does not contain test, or for a
    sample of a collection (collection.expect_counts=false).
    """
    settings = config.collection
    published = find_published(settings.published).bm25_r1 if settings.published else None
    if published is None or "test" not in measures or not settings.expect_counts:
        return
    measured = 100 * measures["test"]["R@1"]
    console.print(f"fingerprint of {settings.published}: BM25 R@1 {measured:.2f}, published {published:.2f}")
    if abs(measured - published) > TOLERANCE:
        print_warning(
            f"R@1 differs by more than {TOLERANCE:.0f} points. If the section baseline has the "
            "settings of the published BM25 (see the config of the collection), this is a different collection with "
            "the same name; do not compare results on it with the published ones"
        )


STAGE = Stage(
    "baseline",
    settings=("baseline", "search.splits", "search.k", "collection.published", "collection.expect_counts"),
    reads=("collection",),
    writes=("baseline",),
)

if __name__ == "__main__":
    run_stage(STAGE, main)
