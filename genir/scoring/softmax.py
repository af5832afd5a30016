"""The softmax over the children of trie nodes, in which each child also has its prior mass.

p(c | v, q) = M_q(vc) exp(h_v . E_c) / sum over the children c' of v of M_q(vc') exp(h_v . E_c'), where h_v is the
decoder's state after the prefix v, E_c the head's vector of code c, and M_q the prior mass of a node.

Shapes: n nodes, c children of all nodes.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from genir.docids.trie import Children
from genir.scoring.masses import Masses


def child_logps(
    masses: Masses,
    level: int,
    query: Tensor,
    first: Tensor,
    last: Tensor,
    children: Children,
    score: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Compute the log-probability of each child of some nodes [c], fp32, given the codes before it.

    query, first, last [n]: the nodes, which have `level` codes. score: computes the logits of children from the indices
    of their nodes and their codes; it is called with those that the model generates, unless there are none.
    """
    log_masses = masses.log_masses(level, query, first, last, children)
    # Relative to the largest sibling, so that a large mass does not cost precision in fp32.
    top = segment_max(log_masses, children.parent, len(query))
    logits = (log_masses - top[children.parent]).float()
    is_generated = masses.trie.is_generated(level, first)
    if bool(is_generated.all()):
        logits = logits + score(children.parent, children.code)
    elif bool(is_generated.any()):
        which = is_generated[children.parent].nonzero()[:, 0]
        logits = logits.index_add(0, which, score(children.parent[which], children.code[which]))
    return segment_log_softmax(logits, children.parent, len(query))


def segment_log_softmax(logits: Tensor, segment: Tensor, count: int) -> Tensor:
    """Normalise logits [c] within each of `count` segments; segment [c]: the segment of each, ascending."""
    if len(logits) % count == 0 and bool(
        (segment.view(count, -1) == torch.arange(count, device=segment.device).unsqueeze(1)).all()
    ):
        return logits.view(count, -1).log_softmax(1).flatten()
    top = segment_max(logits.detach(), segment, count)
    shifted = logits - top[segment]
    total = torch.zeros_like(top).index_add(0, segment, shifted.exp())
    return shifted - total.log()[segment]


def segment_max(values: Tensor, segment: Tensor, count: int) -> Tensor:
    """The largest of the values [c] of each of `count` segments."""
    return values.new_full((count,), -torch.inf).scatter_reduce(0, segment, values, "amax")
