"""Write a preference loss and compare it with DDRO on toy numbers: python examples/own_loss.py.

A loss takes a CandidateBatch (log-probabilities of candidate docids under the policy and the reference, and grades) and
returns one value per query. The one here is IPO (Azar et al., arXiv 2310.12036, equation 17). To train with a loss, put
it into genir/losses.py and its LOSSES, and its name into Loss in genir/config/base.py.
"""

import torch
from torch import Tensor

from genir.losses import LOSSES, CandidateBatch, preferred_pairs

BETA = 0.5
LEARNING_RATE = 0.2
SHOWN = (0, 10, 40, 160, 640)


def ipo(c: CandidateBatch, beta: float) -> Tensor:
    """Compute IPO: the squared distance of a pair's margin from 1 / (2 beta), averaged over all pairs of a query [B].

    DDRO increases the margin delta(d+) - delta(d-) without limit; IPO has a target for it.
    """
    margin = c.delta.unsqueeze(2) - c.delta.unsqueeze(1)
    pairs = preferred_pairs(c)
    total = ((margin - 1 / (2 * beta)) ** 2).masked_fill(~pairs, 0).sum((1, 2))
    return total / pairs.sum((1, 2)).clamp(min=1)


def main() -> None:
    """Minimise both losses by gradient descent for one query with four documents, and print their progress."""
    start = torch.tensor([[0.0, 1.0, 0.5, -0.5]])  # logits of four documents; the first one is relevant
    grades, mask = torch.tensor([[1.0, 0.0, 0.0, 0.0]]), torch.ones(1, 4, dtype=torch.bool)
    reference = start.log_softmax(-1)
    for name, loss in {"ddro": LOSSES["ddro"], "ipo": ipo}.items():
        logits = start.clone().requires_grad_()
        print(f"{name}\n step    loss  margin  p(relevant)")
        for step in range(641):
            policy = logits.log_softmax(-1)
            batch = CandidateBatch(policy, reference, grades, mask)
            value = loss(batch, BETA).sum()
            if step in SHOWN:
                margin = (batch.delta[0, 0] - batch.delta[0, 1]).item()
                print(f"{step:5}  {value.item():6.4f}  {margin:6.3f}  {policy[0, 0].exp().item():11.3f}")
            (gradient,) = torch.autograd.grad(value, logits)
            logits.data -= LEARNING_RATE * gradient


if __name__ == "__main__":
    main()
