"""Tests on real collections, where they are available: their counts, the known measures of BM25 on them (k1 0.9, b 0.4,
no stemming), and reading them back from files in MS MARCO's official formats.
"""

import pytest

from genir.bm25 import BM25
from genir.collection import open_collection
from genir.collection.msmarco import PASSAGE_SPLITS, MsMarcoPassages
from genir.collection.subsets import JudgedSubset
from genir.config import BaselineConfig
from genir.evaluation.measures import measure
from genir.evaluation.trec import break_score_ties, qrels
from genir.records import Document
from tests.helpers.raw_files import write_raw

KNOWN = [
    ("squad-mini", 382, "test", 380, "RR@10", 0.863),
    ("squad-dev", 2067, "test", 2038, "RR@10", 0.848),
    ("nfcorpus", 3633, "test", 323, "nDCG@10", 0.308),
    ("msmarco-doc-sample", 1000, "test", 100, "RR@10", 0.908),
]


@pytest.fixture
def shared_data(root):
    """Return the folder of a real collection by name, or skip the test."""

    def find(name):
        folder = root.parent / "shared" / "data" / name
        if not folder.exists():
            pytest.skip(f"{name} is not in ../shared/data")
        return folder

    return find


@pytest.mark.slow
@pytest.mark.parametrize(("name", "documents", "split", "queries", "label", "known"), KNOWN)
def test_a_real_collection_has_its_known_counts_and_bm25_its_known_effectiveness(
    shared_data, name, documents, split, queries, label, known
):
    collection = open_collection(shared_data(name))
    index = BM25(collection.documents(), BaselineConfig(stemmer=None))
    assert len(index.doc_ids) == documents
    judged = qrels(judgment for _, judgment in collection.judgments(split))
    assert len(judged) == queries
    texts = {query.id: query.text for query in collection.queries() if query.id in judged}
    hits = index.search_many(list(texts.values()), 100)
    run = {q: break_score_ties([d for d, _ in row], [s for _, s in row]) for q, row in zip(texts, hits, strict=True)}
    values = measure(run, judged, [label])[label]
    # The known values come from another BM25; its tokeniser and stop words make a difference of up to three points.
    assert sum(values.values()) / len(values) == pytest.approx(known, abs=0.04)


@pytest.mark.slow
def test_a_real_sample_of_documents_is_read_back_from_the_official_format(shared_data, prepare, tmp_path):
    sample = open_collection(shared_data("msmarco-doc-sample"))
    documents = [Document(d.id, *(" ".join(x.split()) for x in d[1:])) for d in sample.documents()]
    judged = [judgment for _, judgment in sample.judgments("test")]
    clicked = [(f"{judgment.query_id} 0 {judgment.doc_id} 1",) for judgment in judged]
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
    named = {judgment.doc_id for judgment in judged}
    assert sorted(data.documents) == sorted(d for d in documents if d.id in named)
    assert data.judgments("test") == [judgment._replace(grade=1) for judgment in judged]


@pytest.mark.slow
@pytest.mark.parametrize(("split", "queries"), [("dl19", 43), ("dl20", 54)])
def test_real_passages_and_trec_judgments_are_read_back_from_the_official_format(shared_data, tmp_path, split, queries):
    sample = open_collection(shared_data("msmarco-passage-dl1920"))
    files = PASSAGE_SPLITS[split]
    judged = [judgment for _, judgment in sample.judgments(split)]
    write_raw(
        tmp_path / "raw",
        {
            "collection.tsv": [(d.id, " ".join(d.text.split())) for d in sample.documents()],
            files.queries: [(query.id, query.text) for query in sample.queries()],
            files.qrels: [(f"{row.query_id} Q0 {row.doc_id} {row.grade}",) for row in judged],
        },
    )
    collection = JudgedSubset(MsMarcoPassages(tmp_path / "raw", {split: files}))
    assert [d.id for d in collection.documents()] == [d.id for d in sample.documents()]
    assert [judgment for _, judgment in collection.judgments(split)] == judged
    assert len(list(collection.queries())) == queries
