"""Training examples: draws from the mix, and their conversion to tensors."""

import json
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genir.bm25.bm25s_index import BM25sIndex
from genir.collection.prepared import PreparedCollection
from genir.config import BaselineConfig, SFTConfig, SpanConfig
from genir.docids import DocidTable
from genir.errors import GenirError
from genir.records import Document
from genir.training.examples import (
    Collator,
    Example,
    ExampleSources,
    ExampleStream,
    LabelledQuery,
    drop_words,
    gather_codes,
    label_queries,
    random_span,
    read_sources,
)
from tests.helpers.retrievers import make_documents, with_bm25
from tests.helpers.training import CODES, make_run

DOCUMENTS = [Document(f"d{i}", f"title{i}", " ".join(f"w{i}_{j}" for j in range(30))) for i in range(5)]


def stream(mix, length=400, seed=3, experts_for=(), **settings):
    queries = [LabelledQuery("which one", (0, 1), (3, 1)), LabelledQuery("another one", (2,), (1,))]
    pseudo = [Example("made up", 4)]
    sources = ExampleSources(DOCUMENTS, queries, pseudo)
    return ExampleStream(length, seed, mix, sources, SFTConfig(**settings), experts_for)


def test_an_example_depends_only_on_the_seed_and_its_index():
    mix = {"spans": 0.5, "queries": 0.3, "pseudo_queries": 0.2}
    one, two = stream(mix), stream(mix)
    backwards = [two[i] for i in reversed(range(400))][::-1]
    assert [one[i] for i in range(400)] == backwards
    assert [one[i] for i in range(400)] != [stream(mix, seed=4)[i] for i in range(400)]


def test_kinds_are_drawn_in_proportion_to_the_mix_and_documents_to_their_gains():
    mix = {"spans": 1, "queries": 2, "pseudo_queries": 1}
    examples = [stream(mix, query_word_dropout=0.0)[i] for i in range(4000)]
    kinds = Counter(e.text if e.text in ("made up", "which one", "another one") else "span" for e in examples)
    assert kinds["span"] / 4000 == pytest.approx(0.25, abs=0.03)
    assert kinds["made up"] / 4000 == pytest.approx(0.25, abs=0.03)
    drawn = Counter(e.doc_index for e in examples if e.text == "which one")
    assert drawn[0] / (drawn[0] + drawn[1]) == pytest.approx(0.75, abs=0.05)
    assert {e.doc_index for e in examples if e.text == "another one"} == {2}


@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 8), st.floats(0, 0.9), st.floats(0, 1))
def test_a_span_consists_of_nearby_words_of_its_document_in_their_order(seed, low, high, dropout, title):
    settings = SpanConfig(min_words=low, max_words=high, word_dropout=dropout, title_share=title)
    span = random_span(DOCUMENTS[1], settings, random.Random(seed)).split()
    if span[0] == "title1":
        span = span[1:]
    words = DOCUMENTS[1].text.split()
    places = [words.index(word) for word in span]
    assert places == sorted(places)
    assert 1 <= len(span) <= max(low, high)
    assert places[-1] - places[0] < max(low, high)


def test_documents_without_text_or_title_have_spans_too():
    rng = random.Random(0)
    assert random_span(Document("d", "only a title", ""), SpanConfig(word_dropout=0), rng) == "only a title"
    assert random_span(Document("d", "", "word"), SpanConfig(title_share=0), rng) == "word"
    assert random_span(Document("d", "", ""), SpanConfig(), rng) == ""
    assert drop_words("a b", 0.999999, rng) == "a b"


def test_labelled_queries_have_only_the_gains_of_their_relevant_documents():
    doc_indices = {"d0": 0, "d1": 1}
    qrels = {"q1": {"d0": 2, "d1": 1}, "q2": {"d0": 0}}
    got = label_queries({"q1": "x", "q2": "y"}, qrels, doc_indices)
    assert got == [LabelledQuery("x", (0, 1), (3, 1), "q1")]


@pytest.mark.parametrize("experts_for", [(), ("queries",), ("spans", "queries")])
def test_only_the_kinds_that_are_asked_for_have_experts_and_their_texts_do_not_change(experts_for):
    without, chosen = (stream({"spans": 1, "queries": 1}, experts_for=kinds) for kinds in ((), experts_for))
    for i in range(400):
        assert chosen[i][:2] == without[i][:2]
        kind = "spans" if "_" in chosen[i].text else "queries"  # each word of a document has a _
        assert chosen[i].with_experts == (kind in experts_for)
        assert chosen[i].seen_only == (kind == "queries" and kind in experts_for)


def test_the_collator_truncates_and_pads_texts_and_looks_up_documents(make_retriever):
    retriever = make_retriever(np.array([[2, 3], [0, 1]]), (3, 4))  # the first document is the second leaf
    tokenizer = retriever.tokenizer
    batch = Collator(retriever, 4)([Example("one two three four one two", 1), Example("", 0)])
    assert batch["leaves"].tolist() == [[0], [1]]
    assert len(batch["expert_keys"]) == len(batch["expert_scores"]) == 0
    assert batch["input_ids"].shape == (2, 4)
    assert batch["input_ids"][0, -1] == tokenizer.eos_token_id
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 0, 0, 0]]
    assert batch["input_ids"][1].tolist() == [tokenizer.eos_token_id] + [tokenizer.pad_token_id] * 3


def test_the_collator_scores_the_whole_text_of_examples_with_experts_only(make_retriever):
    documents = make_documents(12)
    retriever = with_bm25(make_retriever(CODES, (3, 4)), documents, 1.5)
    text = "owls and nothing known about them and mice"
    batch = Collator(retriever, 4)([Example(text, 3, with_experts=False), Example(text, 3)])
    index = BM25sIndex(documents, BaselineConfig())
    expected = {int(name[1:]): 1.5 * score for name, score in index.search_many([text], 12)[0]}
    queries, leaves = batch["expert_keys"] // 12, batch["expert_keys"] % 12
    assert queries.tolist() == [1] * len(expected)
    found = dict(zip(retriever.trie.doc_indices[leaves].tolist(), batch["expert_scores"].tolist(), strict=True))
    assert found == pytest.approx(expected, abs=1e-4)


def test_docids_are_padded_to_the_longest_one_that_is_gathered():
    codes = np.array([[5, -1, -1], [6, 7, -1], [1, 2, 3]], np.int32)
    assert gather_codes(codes, [0, 1]).tolist() == [[5, -1], [6, 7]]
    assert gather_codes(codes, [0]).tolist() == [[5]]


@pytest.fixture
def sources(beir, tmp_path):
    """The file with the pseudo queries of a run folder, and a function that reads the sources of a mix from it."""
    run = make_run(beir, tmp_path, "").run_folder
    (run / "pseudo_queries").mkdir()
    (run / "pseudo_queries" / "queries.jsonl").write_text(json.dumps({"doc_id": "d3", "text": "made up"}) + "\n")
    table = DocidTable.load(run / "docids")
    return run / "pseudo_queries" / "queries.jsonl", lambda *mix: read_sources(
        run, PreparedCollection(run / "collection"), table, dict.fromkeys(mix, 1.0)
    )


def test_sources_hold_the_train_queries_and_the_pseudo_queries_that_the_mix_names(sources):
    _, read = sources
    found = read("queries", "pseudo_queries")
    assert found.pseudo_queries == [Example("made up", 3)]
    assert len(found.queries) == len(found.documents) == 12
    assert found.queries[0] == LabelledQuery("where do owls hunt mice with keyword0 train", (0, 4), (3, 1), "q0-train")
    assert read("spans").pseudo_queries == []


def test_pseudo_queries_take_the_place_of_missing_train_queries(sources):
    path, read = sources
    (path.parents[1] / "collection" / "qrels" / "train.tsv").unlink()
    assert read("queries").queries == [LabelledQuery("made up", (3,), (1,))]
    assert read("spans").queries == []
    path.unlink()
    with pytest.raises(GenirError, match=r"queries\.jsonl: missing, .* run genir queries CONFIG first"):
        read("queries")


def test_missing_pseudo_queries_are_an_error_only_if_the_mix_names_them(sources):
    path, read = sources
    path.unlink()
    assert read("queries").pseudo_queries == []
    with pytest.raises(GenirError, match=r"queries\.jsonl: missing, .* run genir queries CONFIG first"):
        read("pseudo_queries")


@pytest.mark.parametrize("line", ['{"doc_id": "nowhere", "text": "x"}', '{"doc_id": "d0"}', "[]", "7"])
def test_pseudo_queries_that_are_damaged_or_of_unknown_documents_are_an_error_with_the_line(sources, line):
    path, read = sources
    with open(path, "a") as handle:
        handle.write(f"{line}\n")
    with pytest.raises(GenirError, match=r"queries\.jsonl:2: not the query of a document with a docid"):
        read("pseudo_queries")


@given(st.integers(0, 10**6))
def test_spans_of_latin_texts_are_drawn_as_from_their_words(seed):
    """Formulated with str.split; the random numbers are used in the same order, so earlier results can be repeated."""
    text = " one  two\nthree\tfour été 12,5 (six) seven "
    settings = SpanConfig(min_words=2, max_words=5, word_dropout=0.4, title_share=0.5)
    rng, words = random.Random(seed), text.split()
    length = rng.randint(2, 5)
    start = rng.randrange(max(1, len(words) - length + 1))
    chosen = words[start : start + length]
    kept = [word for word in chosen if rng.random() >= 0.4] or chosen
    wanted = " ".join(["title", *kept] if rng.random() < 0.5 else kept)
    assert random_span(Document("d", "title", text), settings, random.Random(seed)) == wanted


@given(st.integers(0, 10**6))
def test_spans_of_unspaced_texts_are_short_parts_of_them(seed):
    text = "東京大学は日本の国立大学である iPhone手机 水"
    span = random_span(
        Document("d", "", text), SpanConfig(max_words=6, word_dropout=0, title_share=0), random.Random(seed)
    )
    assert span in text
    assert 3 <= len(span.replace("iPhone", "i").replace(" ", "")) <= 6
    dropped = drop_words(text, 0.5, random.Random(seed))
    assert "iPhone手机".startswith(dropped) or not {"はiPhone", "机水"} & {dropped[i : i + 7] for i in range(40)}


def test_a_huge_word_is_drawn_in_parts():
    settings = SpanConfig(max_words=4, title_share=0)
    assert all(len(random_span(Document("d", "", "x" * 10**5), settings, random.Random(i))) <= 1024 for i in range(9))
