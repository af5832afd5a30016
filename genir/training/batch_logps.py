"""Log-probabilities of the documents of a training batch, with the experts' scores that the batch holds.

Shapes: B queries, N candidates.
"""

from collections.abc import Mapping

from torch import Tensor

from genir.docids.trie import AllowedLeaves
from genir.retriever import Retriever
from genir.scoring.logps import document_logps
from genir.scoring.masses import Masses


def batch_logps(
    retriever: Retriever,
    batch: Mapping[str, Tensor],
    candidate_chunk: int | None = None,
    seen: AllowedLeaves | None = None,
) -> Tensor:
    """Compute log p(d | text) [B, N] of the documents of a batch.

    batch: input_ids and attention_mask [B, S], leaves [B, N], expert_keys and expert_scores [m], and with `seen` also
    seen_only [B]. candidate_chunk: see `genir.scoring.logps.document_logps`. seen: the documents with train queries,
    among which the probabilities of texts with seen_only are.
    """
    model = retriever.model
    trie = retriever.index.trie_on(model.device)
    leaves = batch["leaves"]
    masses = Masses(
        trie, len(leaves), batch["expert_keys"], batch["expert_scores"], seen, batch["seen_only"] if seen else None
    )
    encoded = model.encode(batch["input_ids"], batch["attention_mask"])
    return document_logps(model, encoded, trie, leaves, masses, candidate_chunk)
