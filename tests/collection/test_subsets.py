import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genir.collection.base import Collection
from genir.collection.subsets import ClickedSubset, JudgedSubset
from genir.errors import GenirError
from genir.records import Document, Judgment, Query


class InMemoryCollection(Collection):
    """A collection of `count` documents, a query without judgments, and a train query for each index in `clicks`."""

    name, splits = "in memory", ("train",)

    def __init__(self, count, clicks, grade=1):
        self.count, self.clicks, self.grade = count, clicks, grade

    def documents(self):
        return (Document(f"d{i}", "t", "é\n") for i in range(self.count))

    def queries(self):
        return (Query(f"q{i}", "x") for i in range(len(self.clicks) + 1))

    def judgments(self, split):
        return (("", Judgment(f"q{i}", f"d{number}", self.grade)) for i, number in enumerate(self.clicks))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(0, n - 1), min_size=1))))
def test_clicked_documents_are_in_the_order_of_a_stable_sort_by_clicks(tmp_path_factory, drawn):
    count, clicks = drawn
    subset = ClickedSubset(InMemoryCollection(count, clicks), tmp_path_factory.getbasetemp())
    expected = sorted((i for i in range(count) if i in clicks), key=lambda i: -clicks.count(i))
    assert list(subset.documents()) == [Document(f"d{i}", "t", "é\n") for i in expected]


def test_judgments_of_documents_without_a_click_are_left_out_with_their_queries(tmp_path):
    class WithTest(InMemoryCollection):
        splits = ("train", "test")

        def judgments(self, split):
            rows = {"train": [("q0", "d1", 1), ("q1", "d2", 0)], "test": [("q1", "d2", 1), ("q2", "d1", 1)]}[split]
            return (("", Judgment(*row)) for row in rows)

    subset = ClickedSubset(WithTest(4, [0, 0, 0]), tmp_path)
    assert [document.id for document in subset.documents()] == ["d1"]
    assert [judgment.query_id for _, judgment in subset.judgments("test")] == ["q2"]
    assert [query.id for query in subset.queries()] == ["q0", "q2"]


def test_a_collection_without_a_click_is_an_error(tmp_path):
    subset = ClickedSubset(InMemoryCollection(2, [0], grade=0), tmp_path)
    with pytest.raises(GenirError, match="in memory: no train judgment has a grade above 0"):
        list(subset.documents())


def test_a_judged_subset_has_no_unjudged_query_and_no_exactly_repeated_judgment():
    class WithRepetition(InMemoryCollection):
        def judgments(self, split):
            return ((str(i), Judgment("q0", "d0", grade)) for i, grade in enumerate((1, 1, 2)))

    subset = JudgedSubset(WithRepetition(2, [0]))
    assert list(subset.judgments("train")) == [("0", Judgment("q0", "d0", 1)), ("2", Judgment("q0", "d0", 2))]
    assert [query.id for query in subset.queries()] == ["q0"]
    assert len(list(subset.documents())) == 2
