"""The masses of trie nodes against sums over the documents below them, in plain math."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genir.docids.trie import Trie
from genir.scoring.masses import MAX_RANGE, Masses
from tests.helpers.search import make_masses, paths_in_order, random_codes, random_text_docids


def list_children(paths, prefix):
    """The numbers of the documents below each child of a prefix, in the order of the children."""
    below = [i for i, path in enumerate(paths) if path[: len(prefix)] == prefix]
    codes = sorted({paths[i][len(prefix)] for i in below})
    return [[i for i in below if paths[i][len(prefix)] == code] for code in codes]


@st.composite
def cases(draw):
    """Random docids of one length or of unequal lengths, of which some are shared, and scores over up to 60 nats."""
    seed, count, levels = draw(st.integers(0, 10**6)), draw(st.integers(1, 40)), draw(st.integers(1, 4))
    rng = np.random.default_rng(seed)
    if draw(st.booleans()):
        codes = random_text_docids(count, levels, seed)
    else:
        codes = random_codes(count, tuple(rng.integers(1, 5, levels).tolist()), seed)
    scale, share = draw(st.sampled_from([0.1, 5.0, 30.0])), draw(st.sampled_from([0.0, 0.2, 1.0]))
    log_priors = rng.uniform(-scale, scale, (2, count)) * (rng.random((2, count)) < share)
    return codes, log_priors.astype(np.float32)


@settings(deadline=None)
@given(cases(), st.data())
def test_the_mass_of_a_node_is_the_sum_over_the_allowed_documents_below_it(case, data):
    codes, log_priors = case
    trie, paths = Trie.from_codes(codes), paths_in_order(codes)
    allowed, restricted, counts = None, [True, True], set(range(len(paths)))
    if data.draw(st.booleans()):
        counts = data.draw(st.sets(st.integers(0, len(paths) - 1)))
        allowed = trie.allow(trie.doc_indices.numpy()[sorted(counts)])
        restricted = data.draw(st.lists(st.booleans(), min_size=2, max_size=2))
    masses = make_masses(trie, log_priors, allowed, None if all(restricted) else torch.tensor(restricted))
    for level in range(trie.depth):
        prefixes = sorted({path[:level] for path in paths if len(path) > level})
        if not prefixes:
            break
        nodes = data.draw(st.permutations([(query, prefix) for query in range(2) for prefix in prefixes]))
        ranges = [[i for i, path in enumerate(paths) if path[:level] == prefix] for _, prefix in nodes]
        query, first, last = torch.tensor([(q, x[0], x[-1] + 1) for (q, _), x in zip(nodes, ranges, strict=True)]).T
        children = trie.expand(level, first, last)
        found = masses.log_masses(level, query, first, last, children).tolist()
        expected = [
            math.fsum(math.exp(log_priors[q, i]) for i in below if i in counts or not restricted[q])
            for q, prefix in nodes
            for below in list_children(paths, prefix)
        ]
        assert found == pytest.approx([math.log(x) if x else -math.inf for x in expected], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("others", [0, 2])
def test_a_small_mass_keeps_its_precision_beside_a_mass_that_is_sixty_nats_larger(others):
    """The other children have no match; with them, there are fewer matches than children."""
    codes = [[0, 0], [0, 1], [1, 0], [1, 1], *([2 + i, 0] for i in range(others))]
    trie = Trie.from_codes(np.array(codes))
    masses = Masses(trie, 1, torch.tensor([0, 1, 2]), torch.tensor([60.0, 60.0, 0.5]))
    root = torch.tensor([0]), torch.tensor([0]), torch.tensor([len(codes)])
    found = masses.log_masses(0, *root, trie.expand(0, *root[1:]))
    expected = [60 + math.log(2), math.log(math.exp(0.5) + 1), *[0] * others]
    assert found.tolist() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_no_mass_becomes_zero_beside_one_that_is_thousands_of_nats_larger():
    """Neither that of a match, nor that of the documents without one."""
    trie = Trie.from_codes(np.arange(4)[:, None])
    masses = Masses(trie, 1, torch.tensor([0, 1, 3]), torch.tensor([5000.0, 4999.0, 100.0]))
    root = torch.tensor([0]), torch.tensor([0]), torch.tensor([4])
    found = masses.log_masses(0, *root, trie.expand(0, *root[1:]))
    assert found.tolist() == pytest.approx([5000, 4999, 5000 - MAX_RANGE, 5000 - MAX_RANGE])


@given(st.integers(1, 30), st.integers(0, 10**6))
def test_without_experts_the_mass_is_the_number_of_documents(count, seed):
    codes = random_codes(count, (3, 3), seed)
    trie = Trie.from_codes(codes)
    root = torch.tensor([1]), torch.tensor([0]), torch.tensor([count])
    found = Masses.uniform(trie, 2, torch.device("cpu")).log_masses(0, *root, trie.expand(0, *root[1:]))
    assert found.exp().tolist() == pytest.approx(np.unique(codes[:, 0], return_counts=True)[1].tolist())
