import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genir.decoding.trie import Trie
from genir.errors import GenirError

PLAIN = st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=30)
ENDED = st.lists(st.lists(st.integers(0, 2), max_size=4).map(lambda codes: [*codes, 3]), min_size=1, max_size=30)
DOCIDS = PLAIN | ENDED  # all of one length, or prefix-free since each ends with a code that stands nowhere else


def padded(docids):
    codes = np.full((len(docids), max(map(len, docids))), -1, np.int32)
    for row, docid in enumerate(docids):
        codes[row, : len(docid)] = docid
    return codes


def walk(trie):
    """Every prefix that expanding from the root reaches, by level: {prefix: (first, last)}."""
    level = {(): (0, trie.size)}
    yield level
    for depth in range(trie.depth):
        going = {p: x for p, x in level.items() if not trie.ended(depth, torch.tensor([x[0]]))[0]}
        if not going:
            return
        first, last = torch.tensor(list(going.values())).T
        found = trie.expand(depth, first, last)
        prefixes = list(going)
        level = {(*prefixes[o], c): (f, e) for o, f, e, c in zip(*(x.tolist() for x in found), strict=True)}
        yield level


@given(DOCIDS)
def test_the_trie_has_exactly_the_prefixes_of_the_docids(docids):
    """Against sets of tuples: the nodes of each level in order, and the documents below each."""
    trie = Trie.from_codes(padded(docids))
    distinct = sorted({tuple(docid) for docid in docids})
    assert trie.size == len(distinct)
    for depth, level in enumerate(walk(trie)):
        assert list(level) == sorted({docid[:depth] for docid in distinct if len(docid) >= depth})
        for prefix, (first, last) in level.items():
            assert [d for d in distinct if d[:depth] == prefix] == distinct[first:last]
    for leaf, docid in enumerate(distinct):
        assert trie.documents_of(leaf).tolist() == [i for i, row in enumerate(docids) if tuple(row) == docid]


@given(DOCIDS, st.data())
def test_the_leaves_of_documents_are_their_docids(docids, data):
    trie = Trie.from_codes(padded(docids))
    rows = data.draw(st.lists(st.integers(0, len(docids) - 1), unique=True))
    distinct = sorted({tuple(docid) for docid in docids})
    wanted = sorted({distinct.index(tuple(docids[row])) for row in rows})
    assert trie.leaves(np.array(rows, np.int64)).tolist() == wanted


@given(DOCIDS)
def test_a_saved_trie_maps_back_the_same(tmp_path_factory, docids):
    trie = Trie.from_codes(padded(docids))
    path = tmp_path_factory.mktemp("trie") / "trie.safetensors"
    trie.save(path)
    loaded = Trie.load(path)
    assert list(walk(loaded)) == list(walk(trie))
    assert [loaded.documents(leaf).tolist() for leaf in range(loaded.size)] == [
        trie.documents_of(leaf).tolist() for leaf in range(trie.size)
    ]


def test_large_codes_sort_by_value():
    codes = np.array([[70_000, 1], [3, 65_000], [255, 2], [256, 0], [3, 9]], np.int32)
    assert Trie.from_codes(codes).codes.tolist() == sorted(codes.tolist())


def test_what_cannot_be_a_trie_is_refused():
    with pytest.raises(ValueError, match="at least one docid"):
        Trie.from_codes(np.zeros((0, 2), np.int32))
    with pytest.raises(GenirError, match=r"docid \[1\] is a prefix of \[1, 2\]"):
        Trie.from_codes(padded([[1, 2], [0, 5], [1]]))
    with pytest.raises(ValueError, match="255 codes at most, not 256"):
        Trie.from_codes(np.zeros((2, 256), np.int32))
