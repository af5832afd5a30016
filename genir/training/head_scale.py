"""Fitting how much a new model's head counts beside the experts.

A new model ranks almost as BM25 does (`genir.training.lexical_init`). Added to experts that know BM25 exactly, its
logits would only disturb them. Its head is scaled by the factor under which the train queries are most likely, as the
weights of the experts are. Without train queries, nothing shows that the model knows anything that the experts do not:
pseudo queries consist of words of their documents, which both know. The head then starts at zero, so that the first
ranking is that of the experts.
"""

from collections.abc import Sequence

import torch
from scipy.optimize import minimize_scalar

from genir.model import DocidModel
from genir.retriever import Retriever
from genir.training.batch_logps import batch_logps
from genir.training.examples import Collator, Example

SMALLEST_SCALE = 0.02
"""A head of zeros would leave the encoder without a gradient in the first step."""
BATCH = 64


@torch.no_grad()
def fit_head_scale(retriever: Retriever, examples: Sequence[Example]) -> float:
    """Scale the head of the model in place by the factor from SMALLEST_SCALE to 1 that makes the examples most likely.

    Returns the factor.
    """
    collate = Collator(retriever, retriever.max_tokens)
    batches = [collate(examples[i : i + BATCH]) for i in range(0, len(examples), BATCH)]
    head = retriever.model.t5.lm_head.weight
    original = head.clone()

    def loss(scale: float) -> float:
        head.copy_(original * scale)
        return -sum(float(batch_logps(retriever, batch).sum()) for batch in batches)

    found = minimize_scalar(loss, bounds=(SMALLEST_SCALE, 1), method="bounded", options={"xatol": 0.02})
    head.copy_(original * found.x)
    return float(found.x)


@torch.no_grad()
def silence_head(model: DocidModel) -> None:
    """Set the head of a model to zero in place, so that all documents have the probabilities that experts give them.

    The head gets a gradient in the first training step, and the other weights from the second on.
    """
    model.t5.lm_head.weight.zero_()
