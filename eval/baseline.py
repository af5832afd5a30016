"""baseline: BM25 runs to stand beside the retriever's, and the collection's fingerprint."""

from genir.bm25.bm25s_index import BM25
from genir.bm25.index import open_index
from genir.bm25.lucene_index import Lucene
from genir.collection.prepared import PreparedCollection
from genir.collection.published import find_published
from genir.config import Config
from genir.console import console
from genir.evaluation.measures import measure
from genir.evaluation.protocol_card import FINGERPRINT
from genir.evaluation.trec import Run, qrels, rank_scores, write_run
from genir.files import write_json
from genir.pipeline.command import run_stage
from genir.pipeline.stage import Stage

OFF = 0.02  # of R@1: what analysers and settings of BM25 explain


def main(config: Config) -> None:
    """Search the splits of search.splits with BM25 and write baseline/bm25.SPLIT.trec and fingerprint.json.

    baseline.backend: bm25s needs nothing; pyserini (extra: pyserini) is Lucene with Anserini's analysis on a JVM that
    pip brings. The fingerprint is BM25's R@1, R@10 and RR@10: builds that share a name are told apart by it.
    """
    data = PreparedCollection(config.run_folder / "collection")
    index = open_index(data.documents, config.baseline)
    measures = {}
    for split in config.search.splits:
        run = search(index, data, split, config.search.k)
        write_run(run, config.run_folder / "baseline" / f"bm25.{split}.trec", "bm25")
        values = measure(run, qrels(data.judgments(split)), FINGERPRINT)
        measures[split] = {name: sum(by_query.values()) / len(by_query) for name, by_query in values.items()}
        shown = ", ".join(f"{name} {value:.4f}" for name, value in measures[split].items())
        console.print(f"BM25, {split}: {shown}")
    settings = config.baseline.model_dump(mode="json") | {"k": config.search.k}
    write_json(config.run_folder / "baseline" / "fingerprint.json", {"settings": settings, "measures": measures})
    console.print(", ".join(f"{name} {value}" for name, value in settings.items()))
    say_published(config, measures)


def search(index: BM25 | Lucene, data: PreparedCollection, split: str, k: int) -> Run:
    """The k best documents of each query of a split."""
    queries = data.queries(split)
    found = index.search_many([query.text for query in queries], k)
    return {
        query.id: rank_scores([doc_id for doc_id, _ in hits], [score for _, score in hits])
        for query, hits in zip(queries, found, strict=True)
    }


def say_published(config: Config, measures: dict[str, dict[str, float]]) -> None:
    """Beside a build's published fingerprint: the same collection, or another one of that name?"""
    settings = config.collection
    published = find_published(settings.published).bm25_r1 if settings.published else None
    if published is None or "test" not in measures or not settings.expect_counts:
        return
    got = 100 * measures["test"]["R@1"]
    console.print(f"fingerprint of {settings.published}: BM25 R@1 {got:.2f}, published {published:.2f}")
    if abs(got - published) > 100 * OFF:
        console.print(
            f"[yellow]warning:[/] more than {100 * OFF:.0f} points apart: with the protocol's BM25 (see the baseline "
            "section of its config) this would be another build; do not compare with its published figures"
        )


STAGE = Stage(
    "baseline",
    settings=("baseline", "search.splits", "search.k", "collection.published", "collection.expect_counts"),
    reads=("collection",),
    writes=("baseline",),
)

if __name__ == "__main__":
    run_stage(STAGE, main)
