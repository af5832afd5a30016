import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genir.config import SFTConfig, SpanConfig
from genir.records import Document
from genir.training.examples import (
    Collator,
    Example,
    ExampleStream,
    LabelledQuery,
    drop_words,
    labelled_queries,
    random_span,
)

DOCUMENTS = [Document(f"d{i}", f"title{i}", " ".join(f"w{i}_{j}" for j in range(30))) for i in range(5)]


def stream(mix, length=400, seed=3, **settings):
    queries = [LabelledQuery("which one", (0, 1), (3, 1)), LabelledQuery("another one", (2,), (1,))]
    pseudo = [Example("made up", 4)]
    return ExampleStream(length, seed, mix, DOCUMENTS, queries, pseudo, SFTConfig(**settings))


def test_example_i_depends_on_nothing_but_the_seed_and_i():
    mix = {"spans": 0.5, "queries": 0.3, "pseudo_queries": 0.2}
    one, two = stream(mix), stream(mix)
    backwards = [two[i] for i in reversed(range(400))][::-1]
    assert [one[i] for i in range(400)] == backwards
    assert [one[i] for i in range(400)] != [stream(mix, seed=4)[i] for i in range(400)]


def test_the_mix_and_the_gains_are_the_shares_drawn():
    mix = {"spans": 1, "queries": 2, "pseudo_queries": 1}
    examples = [stream(mix, query_word_dropout=0.0)[i] for i in range(4000)]
    kinds = Counter(e.text if e.text in ("made up", "which one", "another one") else "span" for e in examples)
    assert kinds["span"] / 4000 == pytest.approx(0.25, abs=0.03)
    assert kinds["made up"] / 4000 == pytest.approx(0.25, abs=0.03)
    rows = Counter(e.row for e in examples if e.text == "which one")
    assert rows[0] / (rows[0] + rows[1]) == pytest.approx(0.75, abs=0.05)
    assert {e.row for e in examples if e.text == "another one"} == {2}


@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 8), st.floats(0, 0.9), st.floats(0, 1))
def test_a_span_holds_words_of_its_document_in_order(seed, low, high, dropout, title):
    settings = SpanConfig(min_words=low, max_words=high, word_dropout=dropout, title_share=title)
    span = random_span(DOCUMENTS[1], settings, random.Random(seed)).split()
    if span[0] == "title1":
        span = span[1:]
    words = DOCUMENTS[1].text.split()
    places = [words.index(word) for word in span]
    assert places == sorted(places)
    assert 1 <= len(span) <= max(low, high)
    assert places[-1] - places[0] < max(low, high)


def test_documents_without_text_or_title_still_give_a_span():
    rng = random.Random(0)
    assert random_span(Document("d", "only a title", ""), SpanConfig(word_dropout=0), rng) == "only a title"
    assert random_span(Document("d", "", "word"), SpanConfig(title_share=0), rng) == "word"
    assert random_span(Document("d", "", ""), SpanConfig(), rng) == ""
    assert drop_words("a b", 0.999999, rng) == "a b"


def test_judgments_become_rows_and_gains_and_grade_0_is_no_answer():
    rows = {"d0": 0, "d1": 1}
    qrels = {"q1": {"d0": 2, "d1": 1}, "q2": {"d0": 0}}
    got = labelled_queries({"q1": "x", "q2": "y"}, qrels, rows)
    assert got == [LabelledQuery("x", (0, 1), (3, 1), "q1")]


def test_the_collator_pads_right_cuts_and_looks_up_codes(tokenizer):
    codes = np.array([[0, 1], [2, 3]], np.int32)
    batch = Collator(tokenizer, codes, 4)([Example("one two three four one two", 1), Example("", 0)])
    assert batch["codes"].tolist() == [[[2, 3]], [[0, 1]]]
    assert batch["input_ids"].shape == (2, 4)
    assert batch["input_ids"][0, -1] == tokenizer.eos_token_id
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 0, 0, 0]]
    assert batch["input_ids"][1].tolist() == [tokenizer.eos_token_id] + [tokenizer.pad_token_id] * 3
