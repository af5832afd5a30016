"""Extractive pseudo queries: the parts of a document that become queries, and their order."""

import math
import re

from hypothesis import given
from hypothesis import strategies as st

from genir.pseudo_queries.extractive import (
    extract_all_queries,
    extract_queries,
    find_headings,
    find_keyphrases,
    prepend_title,
    rank_by_weight,
    shorten,
)
from genir.records import Document

TEXT = """Clouds are named after Latin words. Luke Howard, a chemist from London, proposed the names in 1802.
Early life
He was born in Tottenham and went to a school in Burford.
== Later years ==
short line. He kept a record of the weather for thirty years without a day left out!"""


def test_a_query_contains_only_words_of_its_document():
    documents = [Document("a", "Luke Howard", TEXT), Document("b", "", "One sentence about the tides of the sea.")]
    made = {doc_id: list(texts) for doc_id, texts in extract_all_queries(documents, 8)}
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


def test_words_that_are_rare_in_other_documents_come_first():
    common = [
        Document(str(i), "", f"the river flows through valley number{i} and nothing else is here") for i in range(9)
    ]
    (_, *_), last = [
        list(texts)
        for _, texts in extract_all_queries(
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


def test_headings_are_short_lines_of_a_text_with_several_lines():
    assert find_headings(TEXT) == ["Early life", "Later years"]
    assert find_headings("A single line") == []


def test_keyphrases_are_sequences_of_up_to_four_content_words():
    words = ["luke", "howard", "chemist", "london", "latin", "words", "a1", "a2", "a3", "a4", "a5"]
    weights = dict.fromkeys(words, 1.0)
    wanted = ["Luke Howard", "chemist", "London", "Latin words"]
    assert find_keyphrases("Luke Howard, the chemist of London. Latin words", weights) == wanted
    assert find_keyphrases("a1 a2 a3 a4 a5 and LUKE. luke", weights) == ["a1 a2 a3 a4", "a5", "LUKE"]


def test_parts_are_ranked_by_the_weights_of_their_distinct_words():
    ranked = rank_by_weight(["luke luke", "luke howard", "of it"], {"luke": 1, "howard": 2})
    assert ranked == ["luke howard", "luke luke", "of it"]


def test_a_title_is_not_repeated_in_what_follows_it():
    assert prepend_title("Luke Howard", "Howard's names") == "Luke Howard Howard's names"
    assert prepend_title("Luke Howard", "luke howard") == "Luke Howard"
    assert prepend_title("", "names") == "names"


@given(st.lists(st.sampled_from(["alpha", "beta", "gamma", "delta", "the", "of", "a"]), max_size=20), st.integers(1, 8))
def test_a_shortened_sentence_keeps_the_words_with_the_highest_weights_in_their_order(words, limit):
    weights = {"alpha": 4.0, "beta": 3.0, "gamma": 2.0, "delta": 1.0}
    got = shorten(" ".join(words), weights, limit).split()
    if len(words) <= limit:
        assert got == words
        return
    distinct = list(dict.fromkeys(words))
    assert len(got) == min(limit, len(distinct))
    kept, lost = [weights.get(w, 0) for w in got], [weights.get(w, 0) for w in distinct if w not in got]
    assert min(kept) >= max(lost, default=-math.inf)
    assert got == [word for word in distinct if word in got]


@given(st.text(max_size=300), st.text(max_size=40))
def test_any_text_can_be_processed(text, title):
    for query in extract_queries(Document("x", title, text), {}, 5):
        assert isinstance(query, str)


def test_queries_of_unspaced_texts_are_parts_of_them_without_spaces():
    text = "東京大学は日本の国立大学である。本部は東京都文京区にある。水"
    others = [Document(str(i), "", "日本の国立大学である。本部は東京都にある。") for i in range(3)]
    made = dict(extract_all_queries([Document("x", "東京大学", text), *others], 6))
    title, *queries = made["x"]
    assert title == "東京大学"
    parts = [part for query in queries for part in query.split()]
    assert parts
    assert all(part in text for part in parts)
    assert shorten("本部は東京都", {}, 5) == "本部は東京都"
    assert shorten("本部は東京都文京区", {"東京": 2.0, "京都": 2.0, "京区": 1.0}, 3) == "東京都 京区"


def test_queries_keep_the_marks_of_words_and_know_the_full_stops_of_other_scripts():
    text = "हिन्दी भारत की एक भाषा है। यह देवनागरी लिपि में लिखी जाती है।"
    [(_, queries)] = extract_all_queries([Document("x", "", text)], 12)
    assert "यह देवनागरी लिपि में लिखी जाती है" in list(queries)
    assert find_headings("हिन्दी\n" + text) == ["हिन्दी"]


def test_documents_without_words_have_only_their_title_as_query():
    for text in ("", "the of a"):
        assert [[*queries] for _, queries in extract_all_queries([Document("x", "", text)], 12)] == [[""]]


def test_superscripts_belong_to_words_of_keyphrases():
    assert find_keyphrases("10 km² of B₁₂, l'été", {"km²": 1.0, "b₁₂": 1.0, "été": 1.0}) == ["km²", "B₁₂", "été"]
