"""The experts of a run: what the config asks for, and the weight that is fitted on train queries."""

import numpy as np
import pytest

from genir.collection.prepared import PreparedCollection
from genir.config import BaselineConfig, load_config
from genir.docids import DocidTable
from genir.docids.trie import Trie
from genir.scoring.lexical import LexicalIndex
from genir.scoring.weights import fit_weight
from genir.training.experts import DEFAULT_WEIGHT, make_experts
from tests.helpers.training import make_run


@pytest.fixture
def build(beir, tmp_path):
    """A function that builds the experts of a run folder under a config with some settings changed.

    The docids are in the reverse of the collection's order.
    """
    run = make_run(beir, tmp_path, "").run_folder
    data, table = PreparedCollection(run / "collection"), DocidTable.load(run / "docids")
    trie = Trie.from_codes(np.arange(12)[::-1, None])
    return lambda *overrides: make_experts(load_config(tmp_path / "c.yaml", overrides), data, table, trie)


@pytest.mark.parametrize("setting", ["experts=null", "experts.lexical=null"])
def test_a_config_without_experts_has_none(build, setting):
    assert build(setting) is None


def test_a_given_weight_is_taken_and_printed(build, capsys):
    experts = build("experts.lexical.weight=2.5")
    assert experts.weight == 2.5
    assert len(experts.lexical) == 12
    assert "experts: BM25 with weight 2.500" in capsys.readouterr().out


def test_the_text_analysis_and_parameters_are_those_of_the_baseline(build, beir):
    experts = build("experts.lexical.weight=1", "baseline.k1=1.7", "baseline.b=0.2", "baseline.stemmer=null")
    assert (experts.lexical.settings.k1, experts.lexical.settings.b) == (1.7, 0.2)
    assert len(experts.lexical.score("owl").scores) == 0
    assert len(experts.lexical.score("owls").scores) == 3


def test_the_index_has_the_documents_in_the_order_of_their_docids(build, tmp_path):
    documents = list(PreparedCollection(tmp_path / "runs" / "c" / "collection").documents)
    found, expected = build("experts.lexical.weight=1").lexical, LexicalIndex.build(documents[::-1], BaselineConfig())
    for document in documents:
        ours, theirs = found.score(document.body), expected.score(document.body)
        assert [x.tolist() for x in ours] == [x.tolist() for x in theirs]


def test_the_weight_is_fitted_on_train_queries_and_their_relevant_documents(build, tmp_path):
    """All twelve train queries fit into the sample."""
    data = PreparedCollection(tmp_path / "runs" / "c" / "collection")
    relevant = {query.id: [] for query in data.queries("train")}
    for judgment in data.judgments("train"):
        relevant[judgment.query_id].append(int(judgment.doc_id[1:]))
    index = LexicalIndex.build(data.documents, BaselineConfig())
    texts = [query.text for query in data.queries("train")]
    expected = fit_weight(index, texts, list(relevant.values()))
    assert build().weight == pytest.approx(expected, abs=1e-3)
    assert 0 < expected < 10


def test_a_collection_without_train_queries_gets_the_default_weight(build, tmp_path):
    collection = tmp_path / "runs" / "c" / "collection"
    for path in collection.glob("qrels/train.*"):
        path.write_text("query-id\tcorpus-id\tscore\n")
    assert build().weight == DEFAULT_WEIGHT
