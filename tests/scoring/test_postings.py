"""Postings against dicts of counts."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from genir.scoring.postings import append_documents, count_terms, reorder_documents, select_documents

TERMS = ["a", "owl", "owls", "जल", "é", "z"]
TEXTS = st.lists(st.lists(st.sampled_from(TERMS), max_size=6), min_size=1, max_size=12)


def count(texts):
    """The postings of documents that are given as lists of terms."""
    known = sorted({term for text in texts for term in text}, reverse=True)
    numbers = np.array([known.index(term) for text in texts for term in text], np.int32)
    return count_terms(numbers, np.array([len(text) for text in texts]), known)


def as_dicts(postings):
    """The terms in their order, and for each document its counts and its length."""
    terms = [term.decode() for term in postings.list_terms()]
    documents = [{} for _ in postings.lengths]
    for number, term in enumerate(terms):
        part = slice(*postings.starts[number : number + 2])
        assert (np.diff(postings.documents[part]) > 0).all()
        for document, frequency in zip(postings.documents[part], postings.frequencies[part], strict=True):
            documents[document][term] = int(frequency)
    assert (postings.posting_lengths == postings.lengths[postings.documents]).all()
    return terms, documents, postings.lengths.tolist()


def expected(texts):
    terms = sorted({term for text in texts for term in text}, key=str.encode)
    return terms, [dict(Counter(text)) for text in texts], [len(text) for text in texts]


@settings(deadline=None)
@given(TEXTS)
def test_every_document_has_its_counts_and_terms_are_found_by_bisection(texts):
    postings = count(texts)
    assert as_dicts(postings) == expected(texts)
    terms = expected(texts)[0]
    for term in [*TERMS, "", "zz"]:
        place, is_known = postings.find_term(term.encode())
        assert is_known == (term in terms)
        assert place == sum(other.encode() < term.encode() for other in terms)


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_appended_documents_are_counted_as_if_all_were_counted_together(old, new):
    assert as_dicts(append_documents(count(old), count(new))) == expected(old + new)


@settings(deadline=None)
@given(TEXTS, st.data())
def test_selected_and_reordered_documents_are_those_that_are_counted_in_this_order(texts, data):
    order = data.draw(st.permutations(range(len(texts))))
    assert as_dicts(reorder_documents(count(texts), np.array(order))) == expected([texts[i] for i in order])
    if any(texts):
        chosen = sorted(data.draw(st.sets(st.sampled_from(order), min_size=1)))
        assert as_dicts(select_documents(count(texts), np.array(chosen))) == expected([texts[i] for i in chosen])


def test_frequencies_take_two_bytes_only_if_one_is_too_small():
    assert count([["a"] * 255]).frequencies.dtype == np.uint8
    assert count([["a"] * 256]).frequencies.dtype == np.uint16
    assert count([["a"] * 70_000]).frequencies.tolist() == [65_535]
