import pytest

from genir.collection.overlap import describe_overlap, relevant_pairs, require_other_documents
from genir.errors import GenirError
from genir.records import Judgment

TEXTS = {"a": "Where do owls hunt?", "b": "where  do OWLS hunt?", "c": "tea", "d": "ice"}


def test_queries_and_relevant_documents_that_are_also_in_train_are_counted_by_their_texts():
    splits = {
        "test": [("b", "d1", 1), ("b", "d2", 1), ("c", "d3", 1), ("d", "d1", 0)],
        "dev": [("c", "d1", 1)],
        "train": [("a", "d1", 2), ("a", "d3", 1), ("d", "d4", 1)],
    }
    pairs = {name: relevant_pairs([Judgment(*row) for row in rows], TEXTS) for name, rows in splits.items()}
    assert list(describe_overlap(pairs)) == [
        "1 of the 2 different queries of test are also in train, and so are 1 of its 3 judgments of relevant documents"
    ]
    assert list(describe_overlap({"test": pairs["test"]})) == []


def test_a_relevant_document_with_the_id_of_its_query_cannot_be_left_out():
    require_other_documents("x", "test", [Judgment("a", "b", 1), Judgment("a", "a", 0)])
    with pytest.raises(GenirError, match=r"^x: the split 'test' has 1 relevant documents with the id .* such as 'a'"):
        require_other_documents("x", "test", [Judgment("a", "b", 1), Judgment("a", "a", 1)])
