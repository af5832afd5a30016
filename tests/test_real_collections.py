"""Real collections, where they are at hand: counts and BM25's known figures (k1 0.9, b 0.4, no stemming); and the
same out of files in MS MARCO's own formats.
"""

import pytest

from genir.bm25.bm25s_index import BM25
from genir.collection import open_collection
from genir.collection.msmarco import PASSAGE, MsMarcoPassages
from genir.collection.subsets import JudgedSubset
from genir.config import BaselineConfig
from genir.evaluation.measures import measure
from genir.evaluation.trec import qrels, rank_scores
from genir.records import Document
from tests.helpers.raw_files import write_raw

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


def test_a_real_sample_written_in_the_official_format_comes_back_the_same(root, prepare, tmp_path):
    folder = root.parent / "shared" / "data" / "msmarco-doc-sample"
    if not folder.exists():
        pytest.skip("msmarco-doc-sample is not in ../shared/data")
    sample = open_collection(folder)
    documents = [Document(d.id, *(" ".join(x.split()) for x in d[1:])) for d in sample.documents()]
    judged = [judgment for _, judgment in sample.judgments("test")]
    clicked = [(f"{row.query_id} 0 {row.doc_id} 1",) for row in judged]
    queries = [(query.id, query.text) for query in sample.queries()]
    write_raw(
        tmp_path / "raw",
        {
            "msmarco-docs.tsv.gz": [(d.id, d.url, d.title, d.text) for d in documents],
            "msmarco-doctrain-queries.tsv.gz": queries,
            "msmarco-doctrain-qrels.tsv.gz": clicked,
            "msmarco-docdev-queries.tsv.gz": queries,
            "msmarco-docdev-qrels.tsv.gz": clicked,
        },
    )
    data = prepare("msmarco-doc-top300k")
    named = {row.doc_id for row in judged}
    assert sorted(data.documents) == sorted(d for d in documents if d.id in named)
    assert data.judgments("test") == [row._replace(grade=1) for row in judged]


@pytest.mark.parametrize(("split", "queries"), [("dl19", 43), ("dl20", 54)])
def test_real_passages_and_trec_judgments_in_the_official_format_come_back_the_same(root, tmp_path, split, queries):
    folder = root.parent / "shared" / "data" / "msmarco-passage-dl1920"
    if not folder.exists():
        pytest.skip("msmarco-passage-dl1920 is not in ../shared/data")
    sample = open_collection(folder)
    part = PASSAGE[split]
    judged = [judgment for _, judgment in sample.judgments(split)]
    write_raw(
        tmp_path / "raw",
        {
            "collection.tsv": [(d.id, " ".join(d.text.split())) for d in sample.documents()],
            part.queries: [(query.id, query.text) for query in sample.queries()],
            part.qrels: [(f"{row.query_id} Q0 {row.doc_id} {row.grade}",) for row in judged],
        },
    )
    made = JudgedSubset(MsMarcoPassages(tmp_path / "raw", {split: part}))
    assert [d.id for d in made.documents()] == [d.id for d in sample.documents()]
    assert [row for _, row in made.judgments(split)] == judged
    assert len(list(made.queries())) == queries
