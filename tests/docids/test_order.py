import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genir.docids.order import compact, docid_lengths, docid_numbers, order_docids

LARGEST = st.sampled_from([2, 255, 256, 70_000])


@st.composite
def padded_codes(draw):
    """Generate docids with 1 to L codes as an array [N, L], padded with -1; some are equal, some prefixes of others."""
    levels, largest = draw(st.integers(1, 11)), draw(LARGEST)
    code = st.one_of(st.integers(0, 1), st.integers(0, largest))
    docids = draw(st.lists(st.lists(code, min_size=1, max_size=levels), max_size=20))
    return np.array([docid + [-1] * (levels - len(docid)) for docid in docids], np.int32).reshape(-1, levels)


@given(padded_codes())
def test_docids_are_sorted_as_python_sorts_tuples(codes):
    rows = [tuple(row) for row in codes.tolist()]
    ordered = order_docids(codes)
    assert ordered.order.tolist() == sorted(range(len(rows)), key=lambda i: rows[i])  # both sorts are stable
    for position in range(1, len(rows)):
        first, second = rows[ordered.order[position - 1]], rows[ordered.order[position]]
        shared = next((n for n in range(len(first)) if first[n] != second[n]), len(first))
        assert ordered.shared[position] == shared
    assert ordered.shared[0] == ordered.shared[-1] == 0


@given(padded_codes())
def test_docid_numbers_count_the_distinct_docids_in_order(codes):
    rows = [tuple(row) for row in codes.tolist()]
    distinct = sorted(set(rows))
    assert docid_numbers(codes).tolist() == [distinct.index(row) for row in rows]


@given(padded_codes())
def test_compact_codes_are_equal_and_take_the_smallest_type(codes):
    small = compact(codes)
    assert (small == codes).all()
    smaller = {np.dtype(np.uint8): [], np.dtype(np.int16): [np.uint8], np.dtype(np.int32): [np.uint8, np.int16]}
    for kind in smaller[small.dtype]:
        assert (codes.astype(kind) != codes).any()


def test_lengths_do_not_count_padding():
    assert docid_lengths(np.array([[0, 3, -1], [5, -1, -1], [1, 2, 3]])).tolist() == [2, 1, 3]


def test_docids_of_more_than_255_codes_are_rejected():
    with pytest.raises(ValueError, match="at most 255 codes, but these have 256"):
        order_docids(np.zeros((2, 256), np.int32))
