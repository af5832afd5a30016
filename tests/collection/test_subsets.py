"""Collections made of the documents that training queries point to."""

from hypothesis import given, settings
from hypothesis import strategies as st

from genir.collection.base import Collection
from genir.collection.subsets import ClickedSubset
from genir.records import Document, Judgment, Query


class Made(Collection):
    """A collection in memory."""

    name, splits = "made", ("train",)

    def __init__(self, count, clicks):
        self.count, self.clicks = count, clicks

    def documents(self):
        return (Document(f"d{i}", "t", "é\n") for i in range(self.count))

    def queries(self):
        return (Query(f"q{i}", "x") for i in range(len(self.clicks)))

    def judgments(self, split):
        return (("", Judgment(f"q{i}", f"d{row}", 1)) for i, row in enumerate(self.clicks))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(0, n - 1), min_size=1))))
def test_clicked_documents_are_those_of_a_stable_sort(tmp_path_factory, made):
    count, clicks = made
    clicked = ClickedSubset(Made(count, clicks), tmp_path_factory.getbasetemp())
    expected = sorted((i for i in range(count) if i in clicks), key=lambda i: -clicks.count(i))
    assert list(clicked.documents()) == [Document(f"d{i}", "t", "é\n") for i in expected]
