"""The trie, which consists of sorted arrays, against sets of tuples."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from genir.docids.trie import Trie
from genir.errors import GenirError

FIXED = st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=30)
ENDED = st.lists(st.lists(st.integers(0, 2), max_size=4).map(lambda codes: [*codes, 3]), min_size=1, max_size=30)
DOCIDS = FIXED | ENDED  # either of one length, or each with a last code that occurs nowhere else


def padded(docids):
    codes = np.full((len(docids), max(map(len, docids))), -1, np.int32)
    for row, docid in enumerate(docids):
        codes[row, : len(docid)] = docid
    return codes


def paths_of(docids):
    """The docids of all documents, sorted; those that occur repeatedly are followed by their document's number."""
    ordered = sorted(tuple(docid) for docid in docids)
    return [(*d, i - ordered.index(d)) if ordered.count(d) > 1 else d for i, d in enumerate(ordered)]


def walk(trie):
    """Yield all prefixes that expanding from the root reaches, level by level: {prefix: (first, last)}.

    Nodes of a single document are not expanded.
    """
    level = {(): (0, trie.size)}
    yield level
    for depth in range(trie.depth):
        open_nodes = {p: x for p, x in level.items() if x[1] - x[0] > 1}
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
    """This includes their order at each level, and the documents below each prefix until a single one is left."""
    trie = Trie.from_codes(padded(docids))
    paths = paths_of(docids)
    assert trie.size == len(docids)
    for depth, level in enumerate(walk(trie)):
        is_open = [depth == 0 or sum(other[: depth - 1] == p[: depth - 1] for other in paths) > 1 for p in paths]
        assert list(level) == sorted({path[:depth] for path, shown in zip(paths, is_open, strict=True) if shown})
        for prefix, (first, last) in level.items():
            assert [path for path in paths if path[:depth] == prefix] == paths[first:last]


@given(DOCIDS)
def test_documents_are_ordered_by_docid_and_those_that_share_one_as_in_the_collection(docids):
    trie = Trie.from_codes(padded(docids))
    expected = sorted(range(len(docids)), key=lambda i: (docids[i], i))
    assert trie.doc_indices.tolist() == expected
    assert trie.find_leaves(expected).tolist() == list(range(len(docids)))
    assert [expected[leaf] for leaf in trie.leaf_of.tolist()] == list(range(len(docids)))


@given(DOCIDS)
def test_generated_codes_are_the_docids_without_the_numbers_of_those_that_share_one(docids):
    trie = Trie.from_codes(padded(docids))
    ordered = sorted(tuple(docid) for docid in docids)
    assert trie.levels == max(map(len, docids))
    assert trie.depth == trie.levels + (len(set(ordered)) < len(ordered))
    codes = trie.generated_codes(torch.arange(trie.size).view(1, -1))[0]
    assert [tuple(x for x in row if x >= 0) for row in codes.tolist()] == ordered
    for level in range(trie.depth):
        is_generated = trie.is_generated(level, torch.arange(trie.size)).tolist()
        assert is_generated == [len(docid) > level for docid in ordered]


@given(DOCIDS)
def test_descending_to_a_leaf_passes_the_nodes_that_expanding_reaches(docids):
    trie = Trie.from_codes(padded(docids))
    leaves = torch.arange(trie.size)
    first, last = torch.zeros_like(leaves), torch.full_like(leaves, trie.size)
    for depth, level in enumerate(list(walk(trie))[1:]):
        numbers = trie.child_numbers(depth, first, leaves).tolist()
        parents = list(zip(first.tolist(), last.tolist(), strict=True))
        first, last = trie.descend(depth, first, last, leaves)
        for leaf, (parent, node) in enumerate(
            zip(parents, zip(first.tolist(), last.tolist(), strict=True), strict=True)
        ):
            if parent[1] - parent[0] > 1:
                siblings = [child for child in level.values() if parent[0] <= child[0] < parent[1]]
                assert node == next(child for child in siblings if child[0] <= leaf < child[1])
                assert siblings[numbers[leaf]] == node
            else:
                assert node == parent


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
def test_the_allowed_leaves_are_those_of_the_documents_and_only_these_are_counted(docids, data):
    trie = Trie.from_codes(padded(docids))
    chosen = data.draw(st.lists(st.integers(0, len(docids) - 1), min_size=1, unique=True))
    allowed = trie.allow(np.array(chosen, np.int64))
    leaves = [leaf for leaf, document in enumerate(trie.doc_indices.tolist()) if document in chosen]
    assert allowed.leaves.tolist() == leaves
    assert allowed.contains(torch.arange(trie.size)).tolist() == [leaf in leaves for leaf in range(trie.size)]
    first = data.draw(st.integers(0, trie.size - 1))
    last = data.draw(st.integers(first + 1, trie.size))
    inside = [leaf for leaf in leaves if first <= leaf < last]
    assert allowed.count_between(torch.tensor([first]), torch.tensor([last])).tolist() == [len(inside)]
    begin, end = (x.item() for x in allowed.narrow(torch.tensor([first]), torch.tensor([last])))
    assert (begin, end) == (inside[0], inside[-1] + 1) if inside else begin == end


def test_without_documents_no_leaf_is_allowed():
    allowed = Trie.from_codes(padded([[0, 1]])).allow(np.array([], np.int64))
    assert len(allowed.leaves) == 0
    assert allowed.contains(torch.tensor([0])).tolist() == [False]


@pytest.mark.slow
@given(DOCIDS)
def test_a_saved_trie_is_loaded_unchanged(tmp_path_factory, docids):
    trie = Trie.from_codes(padded(docids))
    path = tmp_path_factory.mktemp("trie") / "trie.safetensors"
    trie.save(path)
    loaded = Trie.load(path, np.zeros((1, 1), np.int32))  # the docids are not needed
    assert list(walk(loaded)) == list(walk(trie))
    assert torch.equal(loaded.doc_indices, trie.doc_indices)
    leaves = torch.arange(trie.size)
    assert torch.equal(loaded.generated_codes(leaves), trie.generated_codes(leaves))


def test_a_trie_in_the_form_of_earlier_versions_is_built_again_from_the_docids(tmp_path):
    """Its leaves are the distinct docids."""
    docids, path = padded([[1, 0], [0, 1], [1, 0]]), tmp_path / "trie.safetensors"
    save_file(
        {"codes": np.array([[0, 1], [1, 0]], np.uint8), "rows": np.array([1, 0, 2]), "starts": np.array([0, 1, 3])},
        path,
    )
    assert list(walk(Trie.load(path, docids))) == list(walk(Trie.from_codes(docids)))


def test_a_missing_or_damaged_file_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "trie.safetensors"
    with pytest.raises(GenirError, match=r"trie\.safetensors"):
        Trie.load(path, padded([[0]]))
    path.write_bytes(b"damaged")
    with pytest.raises(GenirError, match=r"trie\.safetensors"):
        Trie.load(path, padded([[0]]))


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
