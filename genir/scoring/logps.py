"""Log-probabilities of given documents, with gradients: what training and re-ranking compute.

Only nodes with several children are scored: a code that has no alternative has the probability 1, and the decoder runs
no further than a docid needs to become unique.

Shapes: B queries, N candidates of a query, n nodes, c children of all nodes, D model width.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from genir.docids.trie import Trie
from genir.model import DocidModel, Encoded
from genir.scoring.masses import Masses
from genir.scoring.softmax import child_logps

CHECKED_CANDIDATES = 64
"""Candidates of a query that the decoder runs between two checks whether to go on."""


class Branching(NamedTuple):
    """The candidates whose docids branch at a level, that is, which have siblings there.

    row [r]: the candidate, as query * N + column. first, last [r]: the node that the candidate is below, as a range of
    leaves.
    """

    level: int
    row: Tensor
    first: Tensor
    last: Tensor


def document_logps(
    model: DocidModel,
    encoded: Encoded,
    trie: Trie,
    leaves: Tensor,
    masses: Masses | None = None,
    candidate_chunk: int | None = None,
    check: Callable[[], None] | None = None,
) -> Tensor:
    """Compute log p(d | q) of documents, given as leaves [B, N] of the trie: [B, N], fp32.

    masses: the documents' prior masses for these queries; None means that all documents have the same. They are not
    used by a model with softmax_over "full". candidate_chunk: if there are more candidates than this, they are scored
    in chunks with gradient checkpointing, so that only one chunk's activations are in memory at a time. check: called
    repeatedly, at least once for each CHECKED_CANDIDATES candidates; it may raise an error that ends the work.
    """
    if candidate_chunk is not None and leaves.shape[1] > candidate_chunk:

        def score(states: Tensor, part: Tensor) -> Tensor:
            return document_logps(model, Encoded(states, encoded.mask), trie, part, masses)

        parts = torch.split(leaves, candidate_chunk, 1)
        return torch.cat([checkpoint(score, encoded.states, part, use_reentrant=False) for part in parts], 1)
    if model.softmax_over == "full":
        checked = _split_for_checks(trie.generated_codes(leaves), check)
        return torch.cat([model.sequence_logps(encoded, codes) for codes in checked], 1)
    return trie_logps(model, encoded, masses or Masses.uniform(trie, len(leaves), leaves.device), leaves, check)


def trie_logps(
    model: DocidModel,
    encoded: Encoded,
    masses: Masses,
    leaves: Tensor,
    check: Callable[[], None] | None = None,
) -> Tensor:
    """Compute log p(d | q) of the documents of leaves [B, N] by the softmax over the children of trie nodes: [B, N].

    check: see `document_logps`.
    """
    trie, (queries, count) = masses.trie, leaves.shape
    levels = list_branchings(trie, leaves)
    logps = encoded.states.new_zeros(queries * count, dtype=torch.float32)
    depth = max((b.level for b in levels if bool(trie.is_generated(b.level, b.first).any())), default=-1)
    states = run_decoder(model, encoded, trie, leaves, depth, check)
    for level, row, first, last in levels:
        if check is not None:
            check()
        query = row // count
        # Candidates below the same node share its state and its softmax, which are computed once.
        keys, node_of = torch.unique(query * trie.size + first, return_inverse=True)
        member = torch.empty_like(keys).scatter_(0, node_of, torch.arange(len(row), device=row.device))
        query, first_, last_ = query[member], first[member], last[member]
        children = trie.expand(level, first_, last_)
        column = row[member] % states.shape[1] if states.shape[1] > 1 else torch.zeros_like(member)
        node_states = states[query, column, min(level, states.shape[2] - 1)]

        def score(parent: Tensor, code: Tensor, level: int = level, node_states: Tensor = node_states) -> Tensor:
            return model.child_logits(node_states, level, parent, code)

        chosen = child_logps(masses, level, query, first_, last_, children, score)
        sizes = torch.bincount(children.parent, minlength=len(keys))
        start = (sizes.cumsum(0) - sizes)[node_of]
        number = trie.child_numbers(level, first, leaves.flatten()[row])
        logps = logps.index_add(0, row, chosen[start + number])
    return logps.view(queries, count)


def list_branchings(trie: Trie, leaves: Tensor) -> list[Branching]:
    """List, for each level at which the docids of leaves [B, N] branch, the candidates that do."""
    leaves = leaves.flatten()
    first, last = torch.zeros_like(leaves), torch.full_like(leaves, trie.size)
    result = []
    for level in range(trie.depth):
        row = (trie.count_children(level, first, last) > 1).nonzero()[:, 0]
        if len(row):
            result.append(Branching(level, row, first[row], last[row]))
        first, last = trie.descend(level, first, last, leaves)
        if bool((last - first == 1).all()):
            break
    return result


def run_decoder(
    model: DocidModel,
    encoded: Encoded,
    trie: Trie,
    leaves: Tensor,
    depth: int,
    check: Callable[[], None] | None = None,
) -> Tensor:
    """Run the decoder on the start token and the first `depth` codes: [B, N, depth + 1, D], or N = 1 without codes.

    A depth of -1 means that no state is needed. check: see `document_logps`.
    """
    if depth < 0:
        return encoded.states.new_zeros(len(leaves), 1, 1, encoded.states.shape[-1])
    # All candidates of a query start with the same token: without codes one decoder input per query is enough.
    codes = trie.generated_codes(leaves if depth else leaves[:, :1])[..., :depth]
    cross_cache = model.precompute_cross_attention(encoded)
    checked = _split_for_checks(model.decoder_inputs(codes), check)
    parts = [model.decode(cross_cache, tokens) for tokens in checked]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _split_for_checks(codes: Tensor, check: Callable[[], None] | None) -> Iterator[Tensor]:
    """Yield the codes [B, N, L], in parts of CHECKED_CANDIDATES candidates with a check before each if there is one."""
    for part in [codes] if check is None else torch.split(codes, CHECKED_CANDIDATES, 1):
        if check is not None:
            check()
        yield part
