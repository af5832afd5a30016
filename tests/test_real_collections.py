"""Real collections, where they are at hand: counts and BM25's known figures (k1 0.9, b 0.4, no stemming)."""

import pytest

from genir.bm25 import BM25
from genir.collection import open_collection
from genir.runs import measure, qrels, rank_scores
from genir.sections import BaselineConfig

KNOWN = [
    ("squad-mini", 382, "test", 380, "RR@10", 0.863),
    ("squad-dev", 2067, "test", 2038, "RR@10", 0.848),
    ("nfcorpus", 3633, "test", 323, "nDCG@10", 0.308),
    ("msmarco-doc-sample", 1000, "test", 100, "RR@10", 0.908),
]


@pytest.mark.parametrize(("name", "documents", "split", "queries", "label", "known"), KNOWN)
def test_a_real_collection_reads_and_bm25_finds_what_it_is_known_to_find(
    root, name, documents, split, queries, label, known
):
    folder = root.parent / "shared" / "data" / name
    if not folder.exists():
        pytest.skip(f"{name} is not in ../shared/data")
    collection = open_collection(folder)
    index = BM25(collection.documents(), BaselineConfig(stemmer=None))
    assert len(index.doc_ids) == documents
    judged = qrels(judgment for _, judgment in collection.judgments(split))
    assert len(judged) == queries
    texts = {query.id: query.text for query in collection.queries() if query.id in judged}
    hits = index.search_many(list(texts.values()), 100)
    run = {q: rank_scores([d for d, _ in row], [s for _, s in row]) for q, row in zip(texts, hits, strict=True)}
    values = measure(run, judged, [label])[label]
    # The known figures come from another BM25: tokenisers and stop lists move them by up to three points here.
    assert sum(values.values()) / len(values) == pytest.approx(known, abs=0.04)
