"""A retriever as a transformer of PyTerrier, which retrieves documents or ranks those that another one has found."""

from collections.abc import Sequence
from typing import Any

from genir.checks import require_positive_int
from genir.errors import GenirError
from genir.evaluation.trec import break_score_ties
from genir.records import Hit
from genir.retriever import Retriever

try:
    import pandas as pd
    import pyterrier as pt
except ImportError:
    raise GenirError("genir.integrations.pyterrier needs PyTerrier; install the extra pyterrier of genir") from None


class GenirRetriever(pt.Transformer):
    """Retrieves the k best documents of each query, or ranks the documents that come with the queries.

        genir = GenirRetriever(Retriever.from_pretrained("runs/quickstart"), k=100)
        pt.Experiment([bm25, bm25 >> genir, genir], topics, qrels, ["RR@10", "nDCG@10"])

    At the start of a pipeline its input has the columns qid and query, and it retrieves. After another transformer its
    input also has docno, and it gives these documents new scores and ranks: all that it gets, whatever k is; cut them
    before with `bm25 % 100 >> genir`. A score is log p(d | q); ties are broken as in genir's run files.

    k, beams, batch_size: see `genir.Retriever.search_many`. Raises GenirError for anything but a Retriever, for
    a k below 1, for an empty query, and for a document that the retriever does not have.
    """

    def __init__(self, retriever: Retriever, k: int = 100, beams: int | None = None, batch_size: int = 32) -> None:
        super().__init__()
        if not isinstance(retriever, Retriever):
            raise GenirError(f"GenirRetriever needs a genir.Retriever, not {retriever!r}; load one first")
        self.retriever, self.k, self.beams = retriever, require_positive_int("k", k), beams
        self.batch_size = batch_size

    def transform(self, inp: Any) -> Any:
        """Return the ranked documents of the queries in a frame with the columns qid, query and perhaps docno."""
        with pt.validate.any(inp, context=self) as mode:
            mode.columns(includes=["qid", "query", "docno"], mode="rank")
            mode.columns(includes=["qid", "query"], excludes=["docno"], mode="retrieve")
        return self._rank(inp) if mode.mode == "rank" else self._retrieve(inp)

    def _retrieve(self, topics: Any) -> Any:
        found = self.retriever.search_many(list(topics["query"]), self.k, self.beams, batch_size=self.batch_size)
        ranked = pd.concat([_frame([]), *(_frame(hits, row) for row, hits in enumerate(found))])
        return topics.reset_index(drop=True).join(ranked, how="inner").reset_index(drop=True)

    def _rank(self, results: Any) -> Any:
        results = results.drop(columns=["score", "rank"], errors="ignore")
        parts = [results.iloc[:0].assign(score=pd.Series(dtype=float), rank=pd.Series(dtype=int))]
        for _, part in results.groupby("qid", sort=False):
            hits = self.retriever.rank(part["query"].iloc[0], list(part["docno"]))
            parts.append(part.merge(_frame(hits), on="docno").sort_values("rank"))
        return pd.concat(parts[1:] or parts, ignore_index=True)

    def __repr__(self) -> str:
        return f"genir({self.k})"


def _frame(hits: Sequence[Hit], row: int = 0) -> Any:
    """The hits of one query as a frame whose rows all have the index `row`; ranks start at 0, as in PyTerrier."""
    scores = break_score_ties([hit.doc_id for hit in hits], [hit.score for hit in hits])
    columns = {"docno": list(scores), "score": [*scores.values()], "rank": range(len(hits))}
    return pd.DataFrame(columns, index=[row] * len(hits)).astype({"score": float, "rank": int})
