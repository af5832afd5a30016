"""What all searches share, with a search over given scores instead of a model."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from genir.decoding.search import Search, SearchInput
from genir.decoding.step import Beams
from genir.decoding.topk import TopK
from genir.docids.trie import Trie
from genir.errors import GenirError
from genir.t5.ragged import RaggedLayout


class TableSearch(Search):
    """A search of one query over the docids of a trie, whose prefixes have the scores of a table.

    visited: the level of each call of `descend`, and the number of its beams.
    """

    def __init__(self, trie, scores, beams, k, exact=False, allowed=None):
        inputs = SearchInput(
            SimpleNamespace(device=torch.device("cpu")), trie, allowed, exact, SimpleNamespace(), None, None
        )
        super().__init__(inputs, beams, TopK(1, k, trie.size, torch.device("cpu")))
        self.scores, self.visited = scores, []

    def descend(self, level, live):
        self.visited.append((level, len(live.query)))
        trie = self.inputs.trie
        while len(live.query):
            children = trie.expand(level, live.first, live.last)
            level += 1
            prefixes = [tuple(row) for row in trie.codes[children.first, :level].tolist()]
            score = torch.tensor([self.scores[prefix] for prefix in prefixes])
            score = score.masked_fill(score < self.top.threshold[0], -math.inf)
            found = Beams(live.query[children.parent], children.first, children.last, score)
            layout = RaggedLayout.from_lengths([len(prefixes)], torch.device("cpu"))
            live = found.take(self.prune(level, layout, found, found.last - found.first == 1))
        self.require_no_nan()


def random_table(codes, seed):
    """Scores that never rise along a docid, by prefix."""
    rng, scores = np.random.default_rng(seed), {(): 0.0}
    for docid in sorted({tuple(row) for row in codes.tolist()}):
        for length in range(1, len(docid) + 1):
            if docid[:length] not in scores:
                scores[docid[:length]] = scores[docid[: length - 1]] - float(rng.exponential())
    return scores


@pytest.mark.parametrize("seed", range(8))
def test_an_exact_search_finds_the_best_documents_and_a_narrow_one_bounds_what_it_missed(seed):
    codes = np.stack(np.unravel_index(np.random.default_rng(seed).permutation(64)[:40], (4, 4, 4)), 1)
    trie, scores = Trie.from_codes(codes), random_table(codes, seed)

    def score_of(leaf):
        length = next(m for m in range(1, 4) if sum(row[:m] == docids[leaf][:m] for row in docids) == 1)
        return scores[tuple(docids[leaf][:length])]

    docids = trie.codes.tolist()
    truth = sorted(map(score_of, range(40)), reverse=True)[:5]
    narrow, exact = TableSearch(trie, scores, 2, 5), TableSearch(trie, scores, 2, 5, exact=True)
    narrow.run()
    exact.run()
    assert exact.top.scores[0].tolist() == pytest.approx(truth)
    assert exact.pruned.tolist() == [-math.inf]
    found = narrow.top.leaves[0].tolist()
    missed = [score_of(leaf) for leaf in range(40) if leaf not in found]
    worst = narrow.top.scores[0, -1].item()
    assert max(missed) <= max(narrow.pruned.item(), worst) + 1e-6
    assert narrow.visited == [(0, 1)]


def test_without_allowed_documents_nothing_is_searched():
    trie = Trie.from_codes(np.array([[0], [1]]))
    search = TableSearch(trie, {}, 2, 2, allowed=trie.allow(np.array([], np.int64)))
    search.run()
    assert search.visited == []
    assert search.top.leaves.tolist() == [[-1, -1]]


def test_a_nan_score_is_an_error():
    trie = Trie.from_codes(np.array([[0], [1], [2]]))
    search = TableSearch(trie, {(0,): -1.0, (1,): math.nan, (2,): -2.0}, 1, 1)
    with pytest.raises(GenirError, match="NaN scores"):
        search.run()
