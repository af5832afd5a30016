"""The experts of a run: what the config asks for, and the parameters that are fitted on train queries."""

import json

import numpy as np
import pytest

from genir.collection.prepared import PreparedCollection
from genir.config import BaselineConfig, load_config
from genir.docids import DocidTable
from genir.docids.trie import Trie
from genir.scoring.fit import BM25Parameters, GivenParameters, fit_parameters
from genir.scoring.lexical import LexicalIndex
from genir.training import experts
from genir.training.experts import choose_fitted_queries, make_experts
from tests.helpers.training import make_run


@pytest.fixture
def build(beir, tmp_path):
    """A function that builds the experts of a run folder under a config with some settings changed.

    The docids are in the reverse of the collection's order.
    """
    run = make_run(beir, tmp_path, "").run_folder
    table = DocidTable.load(run / "docids")
    trie = Trie.from_codes(np.arange(12)[::-1, None])

    def build(*overrides):
        config, data = load_config(tmp_path / "c.yaml", overrides), PreparedCollection(run / "collection")
        return make_experts(config, data, trie, choose_fitted_queries(data, table, config.seed))

    return build


@pytest.mark.parametrize("setting", ["experts=null", "experts.lexical=null"])
def test_a_config_without_experts_has_none(build, setting):
    assert build(setting) is None


def test_given_parameters_are_taken_and_printed(build, capsys):
    given = "{k1: 1.7, b: 0.25, weight: 2.5}"
    experts = build(f"experts.lexical={{text: {given}, title: null, characters: null}}")
    assert experts.weights == {"text": 2.5}
    assert (experts.indexes["text"].settings.k1, experts.indexes["text"].settings.b) == (1.7, 0.25)
    assert len(experts) == 12
    assert "experts: BM25 of text: k1 1.70, b 0.25, weight 2.500" in capsys.readouterr().out


def test_the_text_analysis_is_that_of_the_baseline(build, beir):
    experts = build("baseline.stemmer=null")
    assert len(experts.indexes["text"].score("owl").scores) == 0
    assert len(experts.indexes["text"].score("owls").scores) == 3


def test_the_indexes_have_the_documents_in_the_order_of_their_docids(build, tmp_path):
    documents = list(PreparedCollection(tmp_path / "runs" / "c" / "collection").documents)
    text = {"weight": 1, "k1": 0.9, "b": 0.4}
    found = build(f"experts.lexical.text={text}").indexes["text"]
    expected = LexicalIndex.build([document.body for document in documents[::-1]], BaselineConfig())
    for document in documents:
        ours, theirs = found.score(document.body), expected.score(document.body)
        assert [x.tolist() for x in ours] == [x.tolist() for x in theirs]


def test_the_parameters_are_fitted_on_train_queries_and_their_relevant_documents(build, tmp_path):
    """All twelve train queries fit into the sample."""
    data = PreparedCollection(tmp_path / "runs" / "c" / "collection")
    relevant = {query.id: [] for query in data.queries("train")}
    for judgment in data.judgments("train"):
        relevant[judgment.query_id].append(int(judgment.doc_id[1:]))
    texts = [query.text for query in data.queries("train")]
    index = LexicalIndex.build([document.body for document in data.documents], BaselineConfig())
    (expected,) = fit_parameters(
        [index], texts, list(relevant.values()), [BM25Parameters(0.9, 0.4, 1.0)], [GivenParameters()]
    )
    experts = build("experts.lexical.title=null", "experts.lexical.characters=null")
    settings = experts.indexes["text"].settings
    assert (settings.k1, settings.b, experts.weights["text"]) == pytest.approx(expected, abs=1e-3)
    assert expected != pytest.approx((0.9, 0.4, 1.0), abs=0.01)


def test_a_collection_without_train_queries_gets_the_plain_baseline(build, tmp_path):
    collection = tmp_path / "runs" / "c" / "collection"
    (collection / "qrels" / "train.tsv").unlink()
    experts = build("baseline.k1=1.3", "baseline.b=0.6")
    assert experts.weights == {"text": 1.0}
    settings = experts.indexes["text"].settings
    assert (settings.k1, settings.b) == (pytest.approx(1.3), 0.6)


@pytest.mark.parametrize(
    ("overrides", "built"),
    [
        ([], ["text"]),
        (["experts.lexical.title.weight=0.5"], ["text", "title"]),
        (["experts.lexical.characters.weight=0.5"], ["text", "characters"]),
    ],
)
def test_without_train_queries_only_the_indexes_that_have_a_weight_are_built(
    build, tmp_path, monkeypatch, overrides, built
):
    (tmp_path / "runs" / "c" / "collection" / "qrels" / "train.tsv").unlink()
    original, ngrams = LexicalIndex.build, []

    def count(texts, settings, ngram=None):
        ngrams.append(ngram)
        return original(texts, settings, ngram)

    monkeypatch.setattr(LexicalIndex, "build", count)
    assert list(build(*overrides).weights) == built
    assert ngrams == [experts.FIELDS[name].ngram for name in built]


def test_a_collection_without_titles_has_no_expert_for_them(build, tmp_path):
    corpus = tmp_path / "runs" / "c" / "collection" / "corpus.jsonl"
    lines = [json.loads(line) | {"title": ""} for line in corpus.read_text().splitlines()]
    corpus.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "title" not in build("experts.lexical.title.weight=1").weights


def test_a_collection_of_too_many_characters_has_no_expert_for_them_and_a_note_says_so(build, monkeypatch, capsys):
    assert "characters" in build("experts.lexical.characters.weight=1").weights
    monkeypatch.setattr(experts, "MAX_CHARACTERS", 500)
    assert "characters" not in build("experts.lexical.characters.weight=1").weights
    assert "so experts.lexical.characters is left out" in " ".join(capsys.readouterr().out.split())
