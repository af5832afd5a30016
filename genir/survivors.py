"""Which docids a beam search would have kept to their end, told afterwards from their scores at every level.

Shapes: n docids, L levels.
"""

import torch
from torch import Tensor

from genir.ranking import best
from genir.shares import Shares


def survivors(query: Tensor, codes: Tensor, start: Tensor, scores: Tensor, beams: int) -> Tensor:
    """Whether `beams` beams a query would have kept each of some docids, [n], given that they kept the first `start`
    [n] codes of all, and that there are no others.

    query [n], rising; codes [n, L], of a query in docid order; scores [n, L]: log p of a docid up to each code, -inf
    where it is so low that it is of no interest, or told with another docid that begins alike.
    """
    length = (codes >= 0).sum(1)
    apart = (codes[1:] != codes[:-1]).cumsum(1) + (query[1:] != query[:-1]).unsqueeze(1) > 0
    node = torch.cat([torch.zeros_like(codes[:1]), apart.long()]).cumsum(0)  # one number for docids alike so far
    kept = torch.ones(len(query), dtype=torch.bool)
    for level in range(codes.shape[1]):
        there = (kept & (start <= level) & (level < length)).nonzero()[:, 0]
        if not len(there) or int(query[there].bincount().max()) <= beams:
            continue
        first = torch.cat([there[:1], there[1:][node[there[1:], level] != node[there[:-1], level]]])
        shares = Shares.of(query[first].bincount().tolist(), first.device)
        known = torch.full((len(query),), -torch.inf)
        known = known.scatter_reduce(0, node[there, level], scores[there, level], "amax")
        candidates = shares.matrix(known[node[first, level]], -torch.inf)
        ended = shares.matrix(length[first] == level + 1)
        among = (ended & best(candidates, beams)) | best(candidates.masked_fill(ended, -torch.inf), beams)
        alive = torch.zeros(len(query), dtype=torch.bool)
        alive[node[first, level]] = shares.flat(among)
        kept[there] = alive[node[there, level]]
    return kept
