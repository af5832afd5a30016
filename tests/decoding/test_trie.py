"""The trie, which consists of sorted arrays, against sets of tuples."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genir.decoding.trie import Trie
from genir.errors import GenirError

FIXED = st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=30)
ENDED = st.lists(st.lists(st.integers(0, 2), max_size=4).map(lambda codes: [*codes, 3]), min_size=1, max_size=30)
DOCIDS = FIXED | ENDED  # either of one length, or each with a last code that occurs nowhere else


def padded(docids):
    codes = np.full((len(docids), max(map(len, docids))), -1, np.int32)
    for row, docid in enumerate(docids):
        codes[row, : len(docid)] = docid
    return codes


def walk(trie):
    """Yield all prefixes that expanding from the root reaches, level by level: {prefix: (first, last)}."""
    level = {(): (0, trie.size)}
    yield level
    for depth in range(trie.depth):
        open_nodes = {p: x for p, x in level.items() if not trie.is_complete(depth, torch.tensor([x[0]]))[0]}
        if not open_nodes:
            return
        first, last = torch.tensor(list(open_nodes.values())).T
        children = trie.expand(depth, first, last)
        prefixes = list(open_nodes)
        level = {(*prefixes[o], c): (f, e) for o, f, e, c in zip(*(x.tolist() for x in children), strict=True)}
        counts = [sum(child[:depth] == prefix for child in level) for prefix in prefixes]
        assert trie.count_children(depth, first, last).tolist() == counts
        yield level


@given(DOCIDS)
def test_the_trie_has_exactly_the_prefixes_of_the_docids(docids):
    """This includes their order at each level, the docids below each prefix, and the documents of each docid."""
    trie = Trie.from_codes(padded(docids))
    distinct = sorted({tuple(docid) for docid in docids})
    assert trie.size == len(distinct)
    assert trie.depth == max(map(len, docids))
    for depth, level in enumerate(walk(trie)):
        assert list(level) == sorted({docid[:depth] for docid in distinct if len(docid) >= depth})
        for prefix, (first, last) in level.items():
            assert [d for d in distinct if d[:depth] == prefix] == distinct[first:last]
    for leaf, docid in enumerate(distinct):
        assert trie.documents_of(leaf).tolist() == [i for i, row in enumerate(docids) if tuple(row) == docid]
    assert not trie.has_fixed_length or len({len(docid) for docid in docids}) == 1


@given(FIXED, st.integers(1, 5))
def test_superfluous_children_are_empty_children_of_the_last_node(docids, extra):
    trie = Trie.from_codes(padded(docids))
    first, last = torch.tensor([0, 0]), torch.tensor([trie.size, 0])
    children = trie.expand(0, first[:1], last[:1])
    count = len(children.first)
    more = trie.expand(0, first, last, count + extra)
    assert all(torch.equal(a[:count], b) for a, b in zip(more, children, strict=True))
    assert more.parent[count:].tolist() == [1] * extra
    assert (more.first[count:] >= more.last[count:]).all()
    assert trie.count_children(0, first, last).tolist() == [count, 0]


@given(DOCIDS, st.data())
def test_the_allowed_docids_are_those_of_the_documents_and_only_these_are_counted(docids, data):
    trie = Trie.from_codes(padded(docids))
    chosen = data.draw(st.lists(st.integers(0, len(docids) - 1), min_size=1, unique=True))
    distinct = sorted({tuple(docid) for docid in docids})
    allowed = trie.allowed_docids(np.array(chosen, np.int64))
    counts = {leaf: sum(tuple(docids[i]) == docid for i in chosen) for leaf, docid in enumerate(distinct)}
    leaves = [leaf for leaf, count in counts.items() if count]
    assert allowed.leaves.tolist() == leaves
    assert allowed.contains(torch.arange(trie.size)).tolist() == [leaf in leaves for leaf in counts]
    assert trie.count_documents(torch.tensor(leaves), allowed).tolist() == [counts[leaf] for leaf in leaves]
    everything = trie.count_documents(torch.arange(trie.size)).tolist()
    assert everything == [sum(tuple(x) == docid for x in docids) for docid in distinct]
    first = data.draw(st.integers(0, trie.size - 1))
    last = data.draw(st.integers(first + 1, trie.size))
    inside = [leaf for leaf in leaves if first <= leaf < last]
    begin, end = (x.item() for x in allowed.narrow(torch.tensor([first]), torch.tensor([last])))
    assert (begin, end) == (inside[0], inside[-1] + 1) if inside else begin == end


def test_without_documents_no_docid_is_allowed():
    assert len(Trie.from_codes(padded([[0, 1]])).allowed_docids(np.array([], np.int64)).leaves) == 0


@pytest.mark.slow
@given(DOCIDS)
def test_a_saved_trie_is_loaded_unchanged(tmp_path_factory, docids):
    trie = Trie.from_codes(padded(docids))
    path = tmp_path_factory.mktemp("trie") / "trie.safetensors"
    trie.save(path)
    loaded = Trie.load(path)
    assert list(walk(loaded)) == list(walk(trie))
    assert [loaded.documents_of(leaf).tolist() for leaf in range(loaded.size)] == [
        trie.documents_of(leaf).tolist() for leaf in range(trie.size)
    ]


def test_codes_of_several_bytes_are_sorted_by_value():
    codes = np.array([[70_000, 1], [3, 65_000], [255, 2], [256, 0], [3, 9]], np.int32)
    assert Trie.from_codes(codes).codes.tolist() == sorted(codes.tolist())


def test_docids_that_form_no_trie_are_an_error():
    with pytest.raises(ValueError, match="at least one docid"):
        Trie.from_codes(np.zeros((0, 2), np.int32))
    with pytest.raises(GenirError, match=r"docid \[1\] is a prefix of \[1, 2\]"):
        Trie.from_codes(padded([[1, 2], [0, 5], [1]]))
    with pytest.raises(ValueError, match="at most 255 codes"):
        Trie.from_codes(np.zeros((2, 256), np.int32))
