"""Log-probabilities of the documents of a training batch, with the experts' scores that the batch holds.

Shapes: B queries, N candidates.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

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


class DocumentScorer(nn.Module):
    """The module that is trained: the T5 of a retriever, whose `forward` gives log p(d | text) of a batch's documents.

    What training wraps around a model, such as DistributedDataParallel or FSDP, acts in `forward`; code that calls
    the encoder and the decoder by itself would pass it by. seen, candidate_chunk: see `batch_logps`.
    """

    def __init__(
        self, retriever: Retriever, seen: AllowedLeaves | None = None, candidate_chunk: int | None = None
    ) -> None:
        super().__init__()
        self.t5 = retriever.model.t5
        self.retriever = retriever
        self.seen = seen
        self.candidate_chunk = candidate_chunk

    def forward(self, batch: Mapping[str, Any]) -> Tensor:
        """Compute log p(d | text) [B, N], fp32, of a batch that `genir.training.length_groups` has divided."""
        parts = [batch_logps(self.retriever, group, self.candidate_chunk, self.seen) for group in batch["groups"]]
        logps = torch.cat(parts)[batch["position"]].float()
        if not logps.requires_grad:  # no docid leaves a choice; the processes of a job still expect gradients
            logps = logps + 0 * self.t5.lm_head.weight[0, 0]
        return logps
