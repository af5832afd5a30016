"""Trie-constrained beam search: only existing docids are generated, each document at most once, with a certificate.

Shapes: B queries, k documents asked for.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from genir.decoding.deadline import Deadline
from genir.decoding.full_softmax import FullSoftmaxSearch
from genir.decoding.search import Search, SearchInput, TracedLevel
from genir.decoding.topk import TopK
from genir.decoding.trie_softmax import TrieSoftmaxSearch
from genir.docids.trie import AllowedLeaves, Trie
from genir.model import DocidModel, Encoded
from genir.scoring.masses import Masses


class BeamResult(NamedTuple):
    """The best documents of each query.

    leaves [B, k]: leaves of the trie, best first, followed by -1 if there are fewer. scores [B, k]: their log p,
    followed by -inf if there are fewer. exact [B]: whether it is proven that no other document belongs among them.
    bound [B]: the best score of a pruned candidate that might have led to one of the k best documents, -inf if there is
    none; results above it are proven to have the right rank.
    """

    leaves: Tensor
    scores: Tensor
    exact: Tensor
    bound: Tensor


@torch.inference_mode()
def beam_search(
    model: DocidModel,
    trie: Trie,
    encoded: Encoded,
    beams: int,
    k: int,
    allowed: AllowedLeaves | None = None,
    exact: bool = False,
    deadline: Deadline | None = None,
    masses: Masses | None = None,
    trace: list[TracedLevel] | None = None,
) -> BeamResult:
    """Find the k best documents of each query among those that `beams` beams reach.

    At each level the `beams` best candidates of a query are considered: documents among them are finished, and the
    `beams` best of the others are continued (as in Hugging Face's beam search). A candidate is a document as soon as
    its codes belong to no other one, or for a softmax over the whole vocabulary, at the end of its docid. A score is
    the sum of the codes' log-probabilities, without a length penalty; ties go to the smaller docid, and among documents
    that share a docid to the one that comes first in the collection.

    The certificate: a score never rises as codes are added, so no pruned candidate can lead to a document above the
    best pruned score. If the k-th document is above it, the result is the model's true top k (up to rounding).

    allowed: documents to search among; None means all. With a softmax over the trie, their probabilities are those of
    a collection of only these documents. exact: continue with pruned candidates that might still lead to one of the
    best documents, until there are none. deadline: when to give up; it is checked before each decoder pass. masses: the
    documents' prior masses for these queries, restricted to the allowed documents; None means that all have the same.
    trace: a list to which a search with a softmax over the trie appends what it did at each level.
    Raises GenirError if the model returns NaN scores, and SearchTimeout at the deadline.
    """
    queries = len(encoded.states)
    top = TopK(queries, k, trie.size, model.device)
    with model.borrow_kv_cache() as kv_cache:
        kv_cache.bind_trie(trie)
        cross_cache = model.precompute_cross_attention(encoded, kv_cache)
        inputs = SearchInput(model, trie, allowed, exact, kv_cache, cross_cache, deadline or Deadline(), trace)
        search: Search
        if model.softmax_over == "trie":
            masses = masses or Masses.uniform(trie, queries, model.device, allowed)
            search = TrieSoftmaxSearch(inputs, beams, top, masses)
        else:
            search = FullSoftmaxSearch(inputs, beams, top)
        search.run()
    top, pruned = search.top, search.pruned
    return BeamResult(top.leaves, top.scores, (pruned == -torch.inf) | (pruned < top.threshold), pruned)
