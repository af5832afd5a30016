"""The prior masses of trie nodes: the sum of exp(score) over the documents below a node.

Experts, such as BM25, give every document a score s(q, d) for a query. The prior mass of a document is
pi_q(d) = exp(s(q, d)), and that of a node M_q(v) is the sum over the documents below it. A document that no expert
matches has the score 0 and the mass 1. Only the matches are stored; the other documents are counted. Sums add only the
documents below the node itself, in float64, so that a small mass keeps its precision beside a large one.

Shapes: B queries, m matches of all queries, n nodes, c children of all nodes, N documents.
"""

import torch
from torch import Tensor

from genir.docids.trie import AllowedLeaves, Children, Trie


class Masses:
    """The masses of the documents of one trie for B queries.

    keys [m]: query * N + leaf of each match, ascending. scores [m]: the scores of the matches. allowed: the leaves
    that count; the others have no mass. None means that all count.
    """

    def __init__(
        self, trie: Trie, queries: int, keys: Tensor, scores: Tensor, allowed: AllowedLeaves | None = None
    ) -> None:
        self.trie, self.allowed = trie, allowed
        if allowed is not None and len(keys):
            counts = allowed.contains(keys % trie.size)
            keys, scores = keys[counts], scores[counts]
        self.keys = keys
        # The largest score of a query is subtracted before exp, which then cannot overflow.
        self.largest = torch.zeros(queries, dtype=torch.float64, device=keys.device)
        query = keys // trie.size
        self.largest = self.largest.scatter_reduce(0, query, scores.double(), "amax")
        self.weights = (scores.double() - self.largest[query]).exp()

    @classmethod
    def uniform(cls, trie: Trie, queries: int, device: torch.device, allowed: AllowedLeaves | None = None) -> "Masses":
        """The masses without experts: every document has the mass 1."""
        empty = torch.zeros(0, dtype=torch.long, device=device)
        return cls(trie, queries, empty, empty.double(), allowed)

    def log_masses(self, level: int, query: Tensor, first: Tensor, last: Tensor, children: Children) -> Tensor:
        """Compute log M of the children of nodes: [c], float64; -inf for a child without allowed documents.

        query, first, last [n]: the nodes, which have `level` codes and are those of leaves first .. last - 1.
        """
        total = self._count(children.first, children.last)
        largest = self.largest[query][children.parent]
        if len(self.keys):
            begin, end = (torch.searchsorted(self.keys, query * self.trie.size + x) for x in (first, last))
            counts = end - begin
            node = torch.repeat_interleave(counts)
            match = torch.arange(len(node), device=node.device) - (counts.cumsum(0) - counts - begin)[node]
            leaf = self.keys[match] - (query * self.trie.size)[node]
            child = self._child_of(level, first, children, node, leaf)
            matched = torch.zeros_like(total).index_add_(0, child, torch.ones_like(leaf, dtype=total.dtype))
            sums = torch.zeros_like(total).index_add_(0, child, self.weights[match])
            total = (total - matched) * (-largest).exp() + sums
        return total.log() + largest

    def _count(self, first: Tensor, last: Tensor) -> Tensor:
        """Number of documents, or of allowed documents, among the leaves first .. last - 1 [c], float64."""
        return (last - first if self.allowed is None else self.allowed.count_between(first, last)).double()

    def _child_of(self, level: int, first: Tensor, children: Children, node: Tensor, leaf: Tensor) -> Tensor:
        """The index of the child that each match is below; node, leaf: the index of its node, and its leaf."""
        sizes = torch.bincount(children.parent, minlength=len(first))
        start = (sizes.cumsum(0) - sizes)[node]
        return start + self.trie.child_numbers(level, first[node], leaf)
