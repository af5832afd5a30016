"""A retriever in pipelines of the real PyTerrier, beside BM25 by bm25s, since Terrier's own downloads its jars."""

import ir_measures
import pytest

from genir.bm25 import BM25sIndex
from genir.collection.prepared import DocumentFile
from genir.config import BaselineConfig
from genir.errors import GenirError
from tests.helpers.beir import small_beir
from tests.helpers.retrievers import growing_retriever

pt = pytest.importorskip("pyterrier", reason="needs the extra pyterrier")
pd = pytest.importorskip("pandas")


class BM25(pt.Transformer):
    """BM25 by bm25s as a transformer that retrieves."""

    def __init__(self, documents):
        super().__init__()
        self.index = BM25sIndex(documents, BaselineConfig())

    def transform(self, topics):
        pt.validate.query_frame(topics, ["query"])
        rows = [
            {**topic, "docno": doc_id, "score": score}
            for topic in topics.to_dict("records")
            for doc_id, score in self.index.search_many([topic["query"]], 8)[0]
        ]
        return pt.model.add_ranks(pd.DataFrame(rows, columns=[*topics.columns, "docno", "score"]))


@pytest.fixture(scope="module")
def parts(tokenizer):
    from genir.integrations.pyterrier import GenirRetriever

    retriever, documents, _ = growing_retriever(tokenizer, weight=2.0)
    texts = ["owls hunt", "tea leaves wither", "bridges carry trains"]
    topics = pd.DataFrame({"qid": ["q1", "q2", "q3"], "query": texts})
    return retriever, GenirRetriever(retriever, k=30), BM25(documents[:30]), topics


def test_it_retrieves_what_the_retriever_finds(parts):
    retriever, genir, _, topics = parts
    found = genir(topics.set_axis([7, 7, 3], axis=0).iloc[:2])
    for qid, query in zip(topics["qid"][:2], topics["query"], strict=False):
        hits, rows = retriever.search(query, k=30), found[found["qid"] == qid]
        assert list(rows["docno"]) == [hit.doc_id for hit in hits]
        assert list(rows["score"]) == pytest.approx([hit.score for hit in hits], abs=1e-4)
        assert list(rows["rank"]) == list(range(30))
        assert set(rows["query"]) == {query}


def test_it_ranks_what_another_transformer_has_found(parts):
    retriever, genir, bm25, topics = parts
    before, found = bm25(topics).assign(kept="x"), (bm25 >> genir)(topics)
    for qid, query in zip(topics["qid"], topics["query"], strict=True):
        doc_ids = list(before[before["qid"] == qid]["docno"])
        hits, rows = retriever.rank(query, doc_ids), found[found["qid"] == qid]
        assert sorted(rows["docno"]) == sorted(doc_ids)
        assert list(rows["docno"]) == [hit.doc_id for hit in hits]
        assert list(rows["score"]) == pytest.approx([hit.score for hit in hits], abs=1e-4)
        assert list(rows["rank"]) == list(range(len(doc_ids)))
    assert set(genir(before)["kept"]) == {"x"}


def test_an_experiment_measures_pipelines_as_ir_measures_does(parts):
    _, genir, bm25, topics = parts
    qrels = pd.DataFrame({"qid": ["q1", "q2", "q3"], "docno": ["d3", "d5", "d7"], "label": [1, 1, 1]})
    systems, names = [bm25, bm25 >> genir, genir, genir % 3], ["bm25", "bm25 >> genir", "genir", "genir % 3"]
    table = pt.Experiment(systems, topics, qrels, ["recip_rank", "ndcg_cut_10"], names=names)
    judged = {row.qid: {row.docno: row.label} for row in qrels.itertuples()}
    for system, (_, row) in zip(systems, table.iterrows(), strict=True):
        found = system(topics)
        run = {qid: dict(zip(part["docno"], part["score"], strict=True)) for qid, part in found.groupby("qid")}
        expected = ir_measures.calc_aggregate([ir_measures.RR, ir_measures.nDCG @ 10], judged, run)
        assert row["recip_rank"] == pytest.approx(expected[ir_measures.RR])
        assert row["ndcg_cut_10"] == pytest.approx(expected[ir_measures.nDCG @ 10])


def test_pyterrier_can_inspect_it_and_frames_may_be_empty(parts):
    _, genir, bm25, topics = parts
    columns = ["qid", "query", "docno", "score", "rank"]
    assert {tuple(x) for x in pt.inspect.transformer_inputs(genir)} == {("qid", "query", "docno"), ("qid", "query")}
    for given in (topics.iloc[:0], bm25(topics).iloc[:0]):
        assert sorted(genir(given).columns) == sorted(columns)
    assert sorted(pt.inspect.transformer_outputs(bm25 >> genir, ["qid", "query"])) == sorted(columns)
    with pytest.raises(pt.validate.InputValidationError):
        genir(topics[["qid"]])


def test_a_document_that_the_retriever_does_not_have_is_an_error(parts, tmp_path):
    _, genir, _, topics = parts
    documents = DocumentFile(small_beir(tmp_path / "beir") / "corpus.jsonl")
    other = BM25([document._replace(id=f"x{document.id}") for document in documents])
    with pytest.raises(GenirError, match="'x"):
        (other >> genir)(topics)


def test_wrong_arguments_are_errors_at_once(parts):
    _, genir, *_ = parts
    with pytest.raises(GenirError, match=r"needs a genir.Retriever, not 'runs/quickstart'"):
        type(genir)("runs/quickstart")
    with pytest.raises(GenirError, match="k must be"):
        type(genir)(genir.retriever, k=0)
