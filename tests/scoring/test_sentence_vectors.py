"""The vectors of sentences, compared with a loop over the sentences of each document."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genir.records import Document
from genir.scoring.sentence_vectors import SentenceVectors, list_sentences

COUNTS = st.lists(st.integers(0, 3), min_size=1, max_size=8)


def make(counts, seed=0):
    """Random vectors of so many sentences of each document, and the same as a list for each document."""
    parts = [np.random.default_rng([seed, i]).normal(size=(n, 5)).astype(np.float32) for i, n in enumerate(counts)]
    return SentenceVectors(np.concatenate(parts), np.cumsum([0, *counts])), parts


def check_equal(found, parts):
    assert found.starts.dtype == np.int64
    assert found.starts.tolist() == np.cumsum([0, *map(len, parts)]).tolist()
    assert (found.vectors == np.concatenate(parts)).all()


@given(COUNTS)
def test_the_best_cosine_is_that_of_a_documents_most_similar_sentence(counts):
    sentences, parts = make(counts)
    query, otherwise = np.arange(5, dtype=np.float32), np.linspace(7, 8, len(counts), dtype=np.float32)
    wanted = [max((part @ query).tolist(), default=other) for part, other in zip(parts, otherwise, strict=True)]
    np.testing.assert_allclose(sentences.best_cosines(query, otherwise), wanted, rtol=1e-5)


@given(COUNTS, st.data())
def test_some_documents_keep_their_sentences_in_any_order(counts, data):
    sentences, parts = make(counts)
    chosen = data.draw(st.permutations(range(len(counts))))[: data.draw(st.integers(1, len(counts)))]
    check_equal(sentences.subset(chosen), [parts[i] for i in chosen])


@given(COUNTS, COUNTS)
def test_documents_are_followed_by_others(counts, others):
    (first, parts), (second, more) = make(counts), make(others, 1)
    check_equal(first.followed_by(second), parts + more)


def test_a_sentence_is_listed_with_the_title_of_its_document():
    text = "One sentence of six words here. And another one of six words."
    documents = [Document("a", "Title", text), Document("b", "None", ""), Document("c", "", "Only three words.")]
    found, starts = list_sentences(documents)
    assert [sentence.body for sentence in found] == [
        "Title One sentence of six words here.",
        "Title And another one of six words.",
    ]
    assert starts.tolist() == [0, 2, 2, 2]
    assert list_sentences([])[1].tolist() == [0]


def test_a_saved_file_is_read_as_it_was_written(tmp_path):
    sentences, parts = make([2, 0, 3])
    sentences.save(tmp_path / "x.safetensors")
    check_equal(SentenceVectors.load(tmp_path / "x.safetensors", 3, 5), parts)
    for documents, dimension in ((2, 5), (4, 5), (3, 6)):
        with pytest.raises(ValueError, match="the sentences"):
            SentenceVectors.load(tmp_path / "x.safetensors", documents, dimension)
    sentences._replace(starts=np.array([0, 3, 2, 5])).save(tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="the starts are not those of the sentences of 3 documents"):
        SentenceVectors.load(tmp_path / "x.safetensors", 3, 5)
