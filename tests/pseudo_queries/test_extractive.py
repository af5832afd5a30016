"""Pseudo queries without a model."""

import math
import re

from hypothesis import given
from hypothesis import strategies as st

from genir.pseudo_queries.extractive import (
    extract_queries,
    headings,
    keyphrases,
    ranked,
    sentences,
    shortened,
    text_queries,
    titled,
)
from genir.records import Document

TEXT = """Clouds are named after Latin words. Luke Howard, a chemist from London, proposed the names in 1802.
Early life
He was born in Tottenham and went to a school in Burford.
== Later years ==
short line. He kept a record of the weather for thirty years without a day left out!"""


def test_every_query_is_made_of_the_document_s_own_words():
    documents = [Document("a", "Luke Howard", TEXT), Document("b", "", "One sentence about the tides of the sea.")]
    made = {doc_id: list(texts) for doc_id, texts in text_queries(documents, 8)}
    assert list(made) == ["a", "b"]
    for document in documents:
        own = set(re.findall(r"\w+", document.body))
        for query in made[document.id]:
            assert set(re.findall(r"\w+", query)) <= own
    assert made["a"][0] == "Luke Howard"
    assert "Luke Howard Early life" in made["a"]
    assert "Luke Howard Later years" in made["a"]
    assert "Luke Howard chemist" in made["a"]
    assert "Luke Howard Latin words" in made["a"]


def test_words_that_other_documents_have_too_count_least():
    common = [
        Document(str(i), "", f"the river flows through valley number{i} and nothing else is here") for i in range(9)
    ]
    (_, *_), last = [
        list(texts)
        for _, texts in text_queries(
            [
                *common,
                common[0]._replace(
                    id="x", text=("The river flows through a valley. The obsidian lighthouse flows through a valley.")
                ),
            ],
            12,
        )
    ][-2:]
    assert last[1] == "The obsidian lighthouse flows through a valley"


def test_parts_of_a_text():
    assert sentences(TEXT)[0] == "Clouds are named after Latin words."
    assert sentences(TEXT)[-1] == "He kept a record of the weather for thirty years without a day left out!"
    assert headings(TEXT) == ["Early life", "Later years"]
    assert headings("A single line") == []
    weights = dict.fromkeys(
        ["luke", "howard", "chemist", "london", "latin", "words", "a1", "a2", "a3", "a4", "a5"], 1.0
    )
    assert keyphrases("Luke Howard, the chemist of London. Latin words", weights) == [
        "Luke Howard", "chemist", "London", "Latin words"
    ]  # fmt: skip
    assert keyphrases("a1 a2 a3 a4 a5 and LUKE. luke", weights) == ["a1 a2 a3 a4", "a5", "LUKE"]
    assert ranked(["luke luke", "luke howard", "of it"], {"luke": 1, "howard": 2}) == [
        "luke howard",
        "luke luke",
        "of it",
    ]
    assert titled("Luke Howard", "Howard's names") == "Luke Howard Howard's names"
    assert titled("Luke Howard", "luke howard") == "Luke Howard"
    assert titled("", "names") == "names"


@given(st.lists(st.sampled_from(["alpha", "beta", "gamma", "delta", "the", "of", "a"]), max_size=20), st.integers(1, 8))
def test_a_shortened_sentence_keeps_the_most_telling_words_in_their_order(words, most):
    weights = {"alpha": 4.0, "beta": 3.0, "gamma": 2.0, "delta": 1.0}
    got = shortened(" ".join(words), weights, most).split()
    if len(words) <= most:
        assert got == words
        return
    distinct = list(dict.fromkeys(words))
    assert len(got) == min(most, len(distinct))
    kept, lost = [weights.get(w, 0) for w in got], [weights.get(w, 0) for w in distinct if w not in got]
    assert min(kept) >= max(lost, default=-math.inf)
    assert got == [word for word in distinct if word in got]


@given(st.text(max_size=300), st.text(max_size=40))
def test_any_text_is_taken(text, title):
    for query in extract_queries(Document("x", title, text), {}, 5):
        assert isinstance(query, str)
