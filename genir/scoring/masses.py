"""The prior masses of trie nodes: the sum of exp(score) over the documents below a node.

Experts, such as BM25, give every document a score s(q, d) for a query. The prior mass of a document is
pi_q(d) = exp(s(q, d)), and that of a node M_q(v) is the sum over the documents below it. A document that no expert
matches has the score 0 and the mass 1. Only the matches are stored; the other documents are counted. Sums add only the
documents below the node itself, in float64, so that a small mass keeps its precision beside a large one. A score that
is lower than the largest of its query by more than MAX_RANGE is raised to that bound, since its mass would be rounded
to 0 and its document never be found.

Shapes: B queries, m matches of all queries, n nodes, c children of all nodes, N documents.
"""

import torch
from torch import Tensor

from genir.docids.trie import AllowedLeaves, Children, Trie

MAX_RANGE = 600.0
"""Largest difference of two scores of a query; exp(-600) times the number of documents is still a normal float64."""


class Masses:
    """The masses of the documents of one trie for B queries.

    keys [m]: query * N + leaf of each match, ascending. scores [m]: the scores of the matches. allowed: the leaves
    that count; the others have no mass. None means that all count. restricted [B], bool: the queries that `allowed` is
    about; for the others, all leaves count. None means that it is about all queries.
    """

    def __init__(
        self,
        trie: Trie,
        queries: int,
        keys: Tensor,
        scores: Tensor,
        allowed: AllowedLeaves | None = None,
        restricted: Tensor | None = None,
    ) -> None:
        self.trie, self.allowed, self.restricted = trie, allowed, restricted
        if allowed is not None and len(keys):
            counts = allowed.contains(keys % trie.size)
            if restricted is not None:
                counts |= ~restricted[keys // trie.size]
            keys, scores = keys[counts], scores[counts]
        self.keys = keys
        # The largest score of a query is subtracted before exp, which then cannot overflow.
        ends = torch.searchsorted(keys, torch.arange(queries + 1, device=keys.device) * trie.size)
        query = torch.repeat_interleave(ends.diff())
        self.largest = scores.new_zeros(queries).scatter_reduce(0, query, scores, "amax").double()
        shifted = scores - self.largest.index_select(0, query)
        self.weights = shifted.clamp_(min=-MAX_RANGE).exp_()

    @classmethod
    def uniform(cls, trie: Trie, queries: int, device: torch.device, allowed: AllowedLeaves | None = None) -> "Masses":
        """The masses without experts: every document has the mass 1."""
        empty = torch.zeros(0, dtype=torch.long, device=device)
        return cls(trie, queries, empty, empty.double(), allowed)

    def log_masses(self, level: int, query: Tensor, first: Tensor, last: Tensor, children: Children) -> Tensor:
        """Compute log M of the children of nodes: [c], float64; -inf for a child without allowed documents.

        query, first, last [n]: the nodes, which have `level` codes and are those of leaves first .. last - 1.
        """
        total = self._count(query, children)
        largest = self.largest[query].index_select(0, children.parent)
        if len(self.keys):
            begin, counts = self._find_matches(query, first, last)
            # Few matches are looked up one by one; of many, those below each child are found as a range.
            if int(counts.sum()) <= len(total):
                node, match = torch.repeat_interleave(counts), _list_ranges(begin, counts)
                leaf = self.keys[match] - (query * self.trie.size)[node]
                child = self._child_of(level, first, children, node, leaf)
                counts = torch.zeros_like(total).index_add_(0, child, torch.ones_like(child, dtype=total.dtype))
                sums = torch.zeros_like(total).index_add_(0, child, self.weights[match])
            else:
                begin, counts = self._find_matches(query[children.parent], children.first, children.last)
                sums = self._sum_ranges(begin, counts)
            total = (total - counts) * (-largest).clamp(min=-MAX_RANGE).exp() + sums
        return total.log() + largest

    def _find_matches(self, query: Tensor, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """Index of the first match among the leaves first .. last - 1 of each node [n], and the number of matches."""
        begin, end = (torch.searchsorted(self.keys, query * self.trie.size + x) for x in (first, last))
        return begin, end - begin

    def _sum_ranges(self, begin: Tensor, counts: Tensor) -> Tensor:
        """The sum of the weights of the matches in each of some ranges [c], which have `counts` from `begin` on."""
        end = begin + counts
        if torch.equal(begin[1:], end[:-1]):  # as for the children of one node: the weights need not be gathered
            weights = self.weights[begin[0] : end[-1]]
        else:
            weights = self.weights.index_select(0, _list_ranges(begin, counts))
        return torch.segment_reduce(weights, "sum", lengths=counts)

    def _count(self, query: Tensor, children: Children) -> Tensor:
        """Number of documents that count below each child [c], float64; query [n]: those of the nodes."""
        counts = children.last - children.first
        if self.allowed is not None:
            allowed = self.allowed.count_between(children.first, children.last)
            is_restricted = None if self.restricted is None else self.restricted[query][children.parent]
            counts = allowed if is_restricted is None else torch.where(is_restricted, allowed, counts)
        return counts.double()

    def _child_of(self, level: int, first: Tensor, children: Children, node: Tensor, leaf: Tensor) -> Tensor:
        """The index of the child that each match is below; node, leaf: the index of its node, and its leaf."""
        sizes = torch.bincount(children.parent, minlength=len(first))
        start = (sizes.cumsum(0) - sizes)[node]
        return start + self.trie.child_numbers(level, first[node], leaf)


def _list_ranges(begin: Tensor, counts: Tensor) -> Tensor:
    """List the integers of some ranges [n], each of which has `counts` integers from `begin` on."""
    offsets = torch.repeat_interleave(begin - counts.cumsum(0) + counts, counts)
    return offsets.add_(torch.arange(len(offsets), device=offsets.device))
