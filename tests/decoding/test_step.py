"""One level of a beam search against a trie of nested dicts."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from genir.decoding.step import (
    Beams,
    DescendantCounts,
    count_descendants,
    expand_beams,
    select_beams,
    step_by_graph,
)
from genir.decoding.topk import select
from genir.docids.trie import Trie
from genir.t5.cuda_graphs import CUDAGraphCache
from genir.t5.ragged import RaggedLayout
from tests.helpers.graph_player import GraphPlayer

END = 4
CODES = END + 1
FIXED = st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=30)
ENDED = st.lists(st.lists(st.integers(0, 3), max_size=3).map(lambda codes: (*codes, END)), min_size=1, max_size=30)


class Case:
    """Random docids, and random beams of two queries at one level.

    docids: sorted tuples. prefixes: (query, prefix) of each beam. beams: the same beams as `Beams`. logps: log-probs of
    the next code.
    """

    def __init__(self, docids, level, queries, rng):
        self.docids, self.level, self.queries = sorted(set(docids)), level, queries
        codes = np.full((len(self.docids), max(map(len, self.docids))), -1)
        for row, docid in zip(codes, self.docids, strict=True):
            row[: len(docid)] = docid
        self.trie = Trie.from_codes(codes)
        self.root = {}
        for docid in self.docids:
            node = self.root
            for code in docid:
                node = node.setdefault(code, {})
        open_prefixes = sorted({docid[:level] for docid in self.docids if len(docid) > level})
        self.prefixes = [(q, prefix) for q in range(queries) for prefix in open_prefixes if rng.random() < 0.7]
        ranges = [self.find_range(prefix) for _, prefix in self.prefixes]
        first, last = torch.tensor(ranges, dtype=torch.long).view(-1, 2).T
        score = -torch.from_numpy(rng.integers(0, 4, len(self.prefixes)) / 2).float()
        self.beams = Beams(torch.tensor([q for q, _ in self.prefixes]).long(), first, last, score)
        self.logps = -torch.from_numpy(rng.integers(0, 4, (len(self.prefixes), CODES)) / 2).float()

    def find_range(self, prefix):
        """Numbers of the first docid that begins with a prefix, and of the first one after those."""
        inside = [i for i, docid in enumerate(self.docids) if docid[: len(prefix)] == prefix]
        return inside[0], inside[-1] + 1

    def children(self, prefix):
        node = self.root
        for code in prefix:
            node = node[code]
        return sorted(node)


@st.composite
def cases(draw, docids=FIXED | ENDED, max_level=3):
    """A `Case` with at least one beam, at a random level."""
    drawn = draw(docids)
    level = draw(st.integers(0, min(max_level, max(map(len, drawn)) - 1)))
    case = Case(drawn, level, draw(st.integers(1, 2)), np.random.default_rng(draw(st.integers(0, 10**6))))
    assume(case.prefixes)
    return case


@settings(deadline=None)
@given(cases(), st.sampled_from([-math.inf, -2.0, -1.0]), st.booleans())
def test_beams_are_extended_by_the_codes_of_the_trie_in_order(case, threshold, restricted):
    allowed_docids = case.docids[::2] if restricted else case.docids
    allowed = case.trie.allow(np.arange(0, len(case.docids), 2)) if restricted else None
    expected = []
    for number, (query, prefix) in enumerate(case.prefixes):
        for code in case.children(prefix):
            child = (*prefix, code)
            score = (case.beams.score[number] + case.logps[number, code]).item()
            inside = [docid for docid in allowed_docids if docid[: len(child)] == child]
            expected.append((number, query, child, score if inside and score >= threshold else -math.inf))
    thresholds = torch.full((case.queries,), threshold)
    arguments = (case.trie, case.level, case.beams, case.logps, thresholds, len(expected), allowed)
    parent, candidates = expand_beams(*arguments)
    for got_parent, query, first, last, score, (number, beam_query, child, expected_score) in zip(
        *(x.tolist() for x in (parent, *candidates)), expected, strict=True
    ):
        assert (got_parent, query, score) == (number, beam_query, expected_score)
        if score > -math.inf:
            inside = [docid for docid in allowed_docids if docid[: len(child)] == child]
            assert (case.docids[first], case.docids[last - 1]) == (inside[0], inside[-1])


@settings(deadline=None)
@given(cases(), st.integers(1, 12))
def test_descendants_are_counted_for_each_query(case, max_direct):
    counts = DescendantCounts.from_tensor(
        count_descendants(case.trie, case.level, case.beams, case.queries, max_direct)
    )
    for query in range(case.queries):
        prefixes = [prefix for q, prefix in case.prefixes if q == query]
        docids = sum(last - first for first, last in map(case.find_range, prefixes))
        assert counts.beams[query] == len(prefixes)
        assert counts.children[query] == sum(len(case.children(prefix)) for prefix in prefixes)
        assert counts.direct[query] == (0 < docids <= min(2 * len(prefixes), max_direct))
    remaining = counts.without_direct()
    assert remaining.beams == remaining.beams_on_device.tolist()
    assert remaining.children == remaining.children_on_device.tolist()
    assert not any(remaining.direct)
    assert not remaining.direct_on_device.any()
    assert remaining.beams == [0 if direct else n for n, direct in zip(counts.beams, counts.direct, strict=True)]


def test_complete_docids_have_no_descendants():
    trie = Trie.from_codes(np.array([[0, 1], [1, 0]]))
    beams = Beams(torch.zeros(2).long(), torch.tensor([0, 1]), torch.tensor([1, 2]), torch.zeros(2))
    assert not count_descendants(trie, 2, beams, 1, 10).any()


@settings(deadline=None)
@given(cases(), st.integers(0, 5), st.data())
def test_selected_beams_keep_their_order_and_padding_is_empty(case, extra, data):
    count = len(case.prefixes)
    kept = torch.tensor(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    parent = torch.arange(count) + 100
    selected_parent, selected = select_beams(parent, case.beams, kept, int(kept.sum()) + extra)
    real = int(kept.sum())
    assert selected_parent[:real].tolist() == parent[kept].tolist()
    assert all(torch.equal(a[:real], b) for a, b in zip(selected, case.beams.take(kept), strict=True))
    assert torch.equal(selected.first[real:], selected.last[real:])


@pytest.mark.slow
@settings(deadline=None)
@given(cases(FIXED, max_level=1), st.integers(1, 5), st.sampled_from([-9.0, -1.0]))
def test_a_step_as_a_graph_equals_one_without_padding(case, beams, threshold):
    """The last level never runs as a graph."""
    level = case.level
    beams = max(beams, *(sum(q == query for q, _ in case.prefixes) for query in range(case.queries)), 1)
    counts = DescendantCounts.from_tensor(count_descendants(case.trie, level, case.beams, case.queries, 1))
    thresholds, pruned = torch.full((case.queries,), threshold), torch.full((case.queries,), -5.0)
    layout = RaggedLayout.from_lengths(counts.children, torch.device("cpu"))
    parent, candidates = expand_beams(case.trie, level, case.beams, case.logps, thresholds, len(layout.query))
    scores = layout.pad(candidates.score, -torch.inf)
    continued = select(scores, None, beams)[1]
    expected_parent, expected = select_beams(parent, candidates, layout.unpad(continued), int(continued.sum()))
    best_pruned = torch.maximum(pruned, scores.masked_fill(continued, -torch.inf).amax(1))
    with GraphPlayer().install():
        parent, kept, pruned, below = step_by_graph(
            CUDAGraphCache(1 << 30), case.trie, level, beams, 1, case.beams, case.logps, counts, thresholds, pruned
        )
    real = len(expected_parent)
    assert parent[:real].tolist() == expected_parent.tolist()
    assert all(torch.equal(a[:real], b) for a, b in zip(kept, expected, strict=True))
    assert torch.equal(kept.first[real:], kept.last[real:])
    assert torch.equal(pruned, best_pruned)
    assert torch.equal(below, count_descendants(case.trie, level + 1, expected, case.queries, 1))
