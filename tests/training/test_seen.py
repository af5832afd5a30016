"""Finding the documents with train queries."""

import numpy as np

from genir.training.examples import ExampleSources, LabelledQuery
from genir.training.seen import find_seen_documents
from tests.helpers.retrievers import make_documents, with_bm25

CODES = np.array([[0, 2], [1, 1], [0, 1], [2, 0]])


def make_sources(*relevant, query_id="q"):
    return ExampleSources(
        [], [LabelledQuery("text", doc_indices, (1,) * len(doc_indices), query_id) for doc_indices in relevant], []
    )


def test_the_documents_with_train_queries_are_found_by_index_and_by_leaf(make_retriever):
    retriever = with_bm25(make_retriever(CODES, (3, 3)), make_documents(4))
    seen = find_seen_documents(retriever, make_sources((3, 0), (0,)))
    assert seen.doc_indices == [0, 3]
    assert seen.leaves.leaves.tolist() == [1, 3]  # in the order of the docids 01, 02, 11, 20


def test_nothing_is_restricted_without_experts_or_train_queries_or_if_all_documents_have_some(make_retriever):
    retriever = make_retriever(CODES, (3, 3))
    assert find_seen_documents(retriever, make_sources((3, 0))) is None
    retriever = with_bm25(retriever, make_documents(4))
    assert find_seen_documents(retriever, make_sources((3, 0), (1,), (2,))) is None
    assert find_seen_documents(retriever, make_sources()) is None
    assert find_seen_documents(retriever, make_sources((3, 0), query_id="")) is None  # pseudo queries
