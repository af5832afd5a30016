import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from genir.trie import Trie

CODES = st.tuples(st.integers(1, 30), st.integers(1, 4)).flatmap(
    lambda shape: arrays(np.int32, shape, elements=st.integers(0, 3))
)


@given(CODES)
def test_the_trie_has_exactly_the_prefixes_of_the_docids(codes):
    """Against sets of tuples: nodes in order, children of every node, documents of every leaf."""
    trie = Trie.from_codes(codes)
    rows = [tuple(row) for row in codes.tolist()]
    prefixes = [()]
    for level in range(trie.depth):
        wanted = sorted({row[: level + 1] for row in rows})
        owner, child = trie.expand(level, torch.arange(len(prefixes)))
        code = trie.levels[level + 1].code[child]
        got = [(*prefixes[o], c) for o, c in zip(owner.tolist(), code.tolist(), strict=True)]
        assert got == wanted
        assert child.tolist() == list(range(len(wanted)))
        prefixes = wanted
    assert trie.size == len(prefixes)
    for leaf, docid in enumerate(prefixes):
        assert trie.documents(leaf).tolist() == [i for i, row in enumerate(rows) if row == docid]


@given(CODES, st.data())
def test_expanding_some_nodes_gives_their_children_alone(codes, data):
    trie = Trie.from_codes(codes)
    level = data.draw(st.integers(0, trie.depth - 1))
    count = len(trie.levels[level].code)
    nodes = data.draw(st.lists(st.integers(0, count - 1), min_size=1, unique=True).map(sorted))
    all_owner, all_child = trie.expand(level, torch.arange(count))
    owner, child = trie.expand(level, torch.tensor(nodes))
    pairs = list(zip([nodes[o] for o in owner.tolist()], child.tolist(), strict=True))
    everything = zip(all_owner.tolist(), all_child.tolist(), strict=True)
    assert pairs == [(o, c) for o, c in everything if o in nodes]


def test_an_empty_trie_is_refused():
    with pytest.raises(ValueError, match="at least one docid"):
        Trie.from_codes(np.zeros((0, 2), np.int32))
