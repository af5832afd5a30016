import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from genir.docids.collisions import extend, extended_sizes, reassign
from genir.errors import GenirError

CODES = st.tuples(st.integers(1, 40), st.integers(1, 3)).flatmap(
    lambda shape: arrays(np.int32, shape, elements=st.integers(0, 2))
)


def tuples(codes):
    """Return the rows of an array as tuples, with padding."""
    return [tuple(row) for row in codes.tolist()]


@given(CODES)
def test_extended_docids_number_the_documents_of_a_group_in_their_order(codes):
    extended = extend(codes)
    assert (extended < np.asarray(extended_sizes((3,) * codes.shape[1], extended))).all()
    assert tuples(extended[:, :-1]) == tuples(codes)
    for docid in set(tuples(codes)):
        assert [e[-1] for e in tuples(extended) if e[:-1] == docid] == list(range(tuples(codes).count(docid)))


@pytest.mark.slow
@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=3), min_size=1, max_size=30))
def test_the_number_comes_right_after_the_last_code_of_shorter_docids(paths):
    codes = np.full((len(paths), 3), -1, np.int32)
    for i, path in enumerate(paths):
        codes[i, : len(path)] = path
    for path, docid in zip(paths, extend(codes).tolist(), strict=True):
        assert docid[: len(path)] == path
        assert docid[len(path)] >= 0
        assert docid[len(path) + 1 :] == [-1] * (3 - len(path))


@given(CODES, st.data())
def test_new_documents_get_the_smallest_free_numbers(codes, data):
    """Numbering in two steps gives the same as in one, and the number of a removed document is used again."""
    cut = data.draw(st.integers(0, len(codes)))
    whole = extend(codes)
    assert tuples(extend(codes[cut:], whole[:cut])) == tuples(whole[cut:])
    removed = data.draw(st.integers(0, len(codes) - 1))
    kept = np.delete(whole, removed, axis=0)
    assert tuples(extend(codes[removed : removed + 1], kept)) == [tuples(whole)[removed]]


@given(st.data())
def test_reassigned_docids_are_unique_and_every_nearer_code_is_taken(data):
    count, size = data.draw(st.integers(1, 12)), 4
    codes = data.draw(arrays(np.int32, (count, 2), elements=st.integers(0, 2)))
    codes[:, 0] = np.arange(count) // size  # at most as many documents with a prefix as codes
    distances = np.random.default_rng(count).random((count, size), dtype=np.float32)
    moved = reassign(codes, size, lambda indices: distances[indices])
    assert len(set(tuples(moved))) == count
    assert (moved[:, 0] == codes[:, 0]).all()
    for i in range(count):
        if tuples(codes).index(tuples(codes)[i]) == i:
            assert tuples(moved)[i] == tuples(codes)[i]  # the first of a group stays
            continue
        nearer = [code for code in range(size) if distances[i, code] < distances[i, moved[i, 1]]]
        for code in nearer:
            assert (codes[i, 0], code) in tuples(moved)


def test_more_documents_of_a_prefix_than_codes_are_an_error():
    codes = np.zeros((5, 2), np.int32)
    with pytest.raises(
        GenirError, match=r"no free code for 1 documents, because more than 4 .*use docids\.collisions=extend"
    ):
        reassign(codes, 4, lambda indices: np.zeros((len(indices), 4), np.float32))


@given(CODES)
def test_reassigned_new_documents_get_docids_that_are_not_in_use(codes):
    size = 128
    distances = np.random.default_rng(0).random((len(codes), size), dtype=np.float32)
    old = reassign(codes, size, lambda indices: distances[indices])
    new = reassign(codes, size, lambda indices: distances[indices], old)
    assert not {*tuples(old)} & {*tuples(new)}
    assert len({*tuples(new)}) == len(codes)
