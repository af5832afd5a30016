"""baseline: BM25 runs to stand beside the retriever's."""

from genir.command import run_stage
from genir.config import Config
from genir.console import console
from genir.prepared import PreparedCollection
from genir.runs import rank_scores, write_run
from genir.stage import Stage
from genir.text_index import open_index


def main(config: Config) -> None:
    """Search the splits of search.splits with BM25 and write baseline/bm25.SPLIT.trec.

    baseline.backend: bm25s needs nothing; pyserini (extra: pyserini) is Lucene with Anserini's analysis on a JVM that
    pip brings.
    """
    data = PreparedCollection(config.run / "collection")
    index = open_index(data.documents, config.baseline)
    for split in config.search.splits:
        queries = data.queries(split)
        found = index.search_many([query.text for query in queries], config.search.k)
        run = {
            query.id: rank_scores([doc_id for doc_id, _ in hits], [score for _, score in hits])
            for query, hits in zip(queries, found, strict=True)
        }
        write_run(run, config.run / "baseline" / f"bm25.{split}.trec", "bm25")
    settings = config.baseline
    console.print(f"BM25 ({settings.backend}): k1 {settings.k1}, b {settings.b}, stemmer {settings.stemmer}")


STAGE = Stage(
    "baseline", settings=("baseline", "search.splits", "search.k"), reads=("collection",), writes=("baseline",)
)

if __name__ == "__main__":
    run_stage(STAGE, main)
