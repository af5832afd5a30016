"""Preference losses over the log-probabilities of whole docids: pure functions that return one value per query.

Shapes: B queries, N candidates of a query. policy and reference [B, N] are log p(docid | query) under the model in
training and under the frozen model; grades [B, N] say how relevant a candidate is, 0 meaning not relevant; mask [B, N]
is true at candidates and false at padding. With delta = policy - reference, beta * delta is the implicit reward of DPO
(arXiv 2305.18290).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus


class CandidateBatch(NamedTuple):
    """The input of a loss: policy, reference, grades and mask, all [B, N], as the module docstring defines them."""

    policy: Tensor
    reference: Tensor
    grades: Tensor
    mask: Tensor

    @property
    def delta(self) -> Tensor:
        """The difference policy - reference [B, N], 0 at padding."""
        return (self.policy - self.reference).float().masked_fill(~self.mask, 0)


def weighted_softmax(delta: Tensor, weights: Tensor, mask: Tensor, beta: float) -> Tensor:
    """Compute the weighted softmax cross-entropy that IRPO and ADPO share; returns [B].

    L = -sum_i w_i log softmax_i(beta * delta).

    Its gradient with respect to delta_i is beta * (p_i * sum(w) - w_i), where p is the softmax, so the loss is
    lowest where p_i = w_i / sum(w).
    """
    logits = (beta * delta).masked_fill(~mask, -torch.inf)
    logps = logits.log_softmax(-1).masked_fill(~mask, 0)
    return -(weights * logps).sum(-1)


def ddro(c: CandidateBatch, beta: float) -> Tensor:
    """Compute the loss of DDRO (arXiv 2504.05181), which is DPO (arXiv 2305.18290, equation 7) on docids; returns [B].

    L = -log sigmoid(beta * (delta(d+) - delta(d-))), averaged over all pairs of a query whose grades differ.
    """
    pairs = preferred_pairs(c)
    margin = c.delta.unsqueeze(2) - c.delta.unsqueeze(1)
    return _masked_mean(-logsigmoid(beta * margin), pairs)


def s_dpo(c: CandidateBatch, beta: float) -> Tensor:
    """Compute the loss of S-DPO (arXiv 2406.09215, equation 11); returns [B].

    It compares each positive with all negatives at once.

    L = -log softmax_{d+}(beta * delta), the softmax over d+ and the negatives, averaged over the positives of a query.
    With one negative it equals DPO.
    """
    positive = (c.grades > 0) & c.mask
    negative = ((c.grades <= 0) & c.mask).unsqueeze(1)
    reward = beta * c.delta
    against = torch.logsumexp(reward.unsqueeze(1).masked_fill(~negative, -torch.finfo(reward.dtype).max), -1)
    return _masked_mean(softplus(against - reward), positive & negative.any(-1))


def irpo(
    c: CandidateBatch,
    beta: float,
    positions: Tensor | None = None,
    self_term: bool = False,
    average_others: bool = False,
    normalize_weights: bool = True,
) -> Tensor:
    """Compute the loss of IRPO (arXiv 2504.15477, equations 5 to 7); returns [B].

    It compares every relevant candidate with all others at once.

    L = -sum_i w_i log sigmoid(z_i), z_i = -log sum_{j != i} exp(beta delta_j - beta delta_i), and
    w_i = (2^grade_i - 1) / log2(1 + position_i), divided by their sum for the query.

    With j != i, sigmoid(z_i) is softmax_i(beta delta), so the loss is a softmax cross-entropy with DCG weights
    (`weighted_softmax`).

    positions: [B, N], counted from 1, the positions in the ranking that discounts the gains; None means the ideal
    ranking, by grade. self_term: whether the sum includes j = i, which keeps the term of each candidate above
    w_i log 2. average_others: whether to take the mean over j instead of the sum. normalize_weights: whether to divide
    the weights by their sum.
    """
    weights = irpo_weights(c, positions, normalize_weights)
    if not self_term and not average_others:
        return weighted_softmax(c.delta, weights, c.mask, beta)
    reward = beta * c.delta
    others = c.mask.unsqueeze(1).expand(-1, reward.shape[1], -1)
    if not self_term:
        others = others & ~torch.eye(reward.shape[1], dtype=torch.bool, device=reward.device)
    lowest = torch.finfo(reward.dtype).min
    against = torch.logsumexp(reward.unsqueeze(1).masked_fill(~others, lowest), -1)
    if average_others:
        against = against - others.sum(-1).clamp(min=1).log()
    alone = ~others.any(-1)  # a list of one candidate has nothing to compare it with
    return (weights * softplus(against - reward)).masked_fill(alone, 0).sum(-1)


def irpo_weights(c: CandidateBatch, positions: Tensor | None = None, normalize: bool = True) -> Tensor:
    """Compute IRPO's weights, gains times discounts [B, N], by default divided by their sum for the query.

    All weights of a query without a relevant candidate are 0.
    """
    gains = (2.0 ** c.grades.float() - 1).masked_fill(~c.mask, 0)
    discount = ideal_discount(c) if positions is None else 1 / torch.log2(1 + positions.float())
    weights = gains * discount
    return weights / weights.sum(-1, keepdim=True).clamp(min=1e-12) if normalize else weights


def ideal_discount(c: CandidateBatch) -> Tensor:
    """Compute 1 / log2(1 + position) in a ranking by grade [B, N]; equal grades all get the mean of their discounts."""
    grades = c.grades.float().masked_fill(~c.mask, -torch.inf)
    by_position = 1 / torch.log2(torch.arange(2, grades.shape[1] + 2, device=grades.device, dtype=torch.float32))
    same = (grades.unsqueeze(2) == grades.unsqueeze(1)).float()
    before = (grades.unsqueeze(1) > grades.unsqueeze(2)).sum(-1)
    total = torch.cat([by_position.new_zeros(1), by_position.cumsum(0)])
    count = same.sum(-1)
    return (total[before + count.long()] - total[before]) / count


def adpo(c: CandidateBatch, beta: float) -> Tensor:
    """Compute the loss of listwise ADPO (arXiv 2510.18913), a cross-entropy with soft targets q; returns [B].

    L = -sum_i q_i log softmax_i(beta * delta), a softmax with temperature 1 / beta; q is the softmax of the grades,
    which are a teacher's scores.
    """
    targets = c.grades.float().masked_fill(~c.mask, -torch.inf).softmax(-1)
    return weighted_softmax(c.delta, targets, c.mask, beta)


def lipo(c: CandidateBatch, beta: float) -> Tensor:
    """Compute the loss of LiPO-lambda (arXiv 2402.01878, equation 9); returns [B].

    It weights each pair by the difference in DCG that swapping the two candidates would make.

    L = sum over grade_i > grade_j of |G_i - G_j| * |1 / D_i - 1 / D_j| * softplus(s_j - s_i), where s = beta * delta,
    G = 2^grade - 1 and D = log2(1 + rank of s).
    """
    reward = (beta * c.delta).masked_fill(~c.mask, -torch.inf)
    discount = 1 / torch.log2(1 + ranks(reward).float())
    gains = 2.0 ** c.grades.float() - 1
    weight = (gains.unsqueeze(2) - gains.unsqueeze(1)).abs() * (discount.unsqueeze(2) - discount.unsqueeze(1)).abs()
    margin = beta * (c.delta.unsqueeze(2) - c.delta.unsqueeze(1))
    return (weight * softplus(-margin)).masked_fill(~preferred_pairs(c), 0).sum((1, 2))


def sft(c: CandidateBatch, beta: float) -> Tensor:
    """Compute the supervised loss on candidate lists, a control for every preference loss; returns [B].

    It is the mean negative log-likelihood of the positives, weighted by their gains 2^grade - 1. It uses neither the
    reference nor beta.
    """
    gains = (2.0 ** c.grades.float() - 1).masked_fill(~c.mask, 0)
    share = gains / gains.sum(-1, keepdim=True).clamp(min=1e-12)
    return -(share * c.policy.float().masked_fill(~c.mask, 0)).sum(-1)


LOSSES: dict[str, Callable[[CandidateBatch, float], Tensor]] = {
    "ddro": ddro,
    "s_dpo": s_dpo,
    "irpo": irpo,
    "adpo": adpo,
    "lipo": lipo,
    "sft": sft,
}


def dpop_penalty(c: CandidateBatch) -> Tensor:
    """Compute the penalty of DPO-Positive (arXiv 2402.13228); returns [B].

    It is a remedy for likelihood displacement (arXiv 2410.08847): max(0, reference - policy), averaged over the
    positives of a query, is above 0 if a positive has lost probability. DPO-Positive (equation 3) subtracts lambda
    times this term inside the log-sigmoid; here it is a separate term that is added to the loss.
    """
    return _masked_mean(torch.relu(-c.delta), (c.grades > 0) & c.mask)


def ches(positive: Tensor, negative: Tensor) -> Tensor:
    """Compute the CHES score (arXiv 2410.08847, definition 2) of n pairs of docids; returns [n].

    It is <h+, h-> - |h+|^2, where h+ and h- [n, D] are the decoder's last hidden states, summed over the levels of a
    docid, and says how similar the two docids are to the model. Training on the pairs with the highest scores lowers
    the probability of their positives most.
    """
    return (positive * negative).sum(-1) - (positive * positive).sum(-1)


def preferred_pairs(c: CandidateBatch) -> Tensor:
    """Whether candidate i has a higher grade than candidate j: [B, N, N] bool, false where either is padding."""
    both = c.mask.unsqueeze(2) & c.mask.unsqueeze(1)
    return (c.grades.unsqueeze(2) > c.grades.unsqueeze(1)) & both


def ranks(scores: Tensor) -> Tensor:
    """Rank the candidates by descending score [B, N], from 1; equal scores keep their order.

    No gradient flows through the ranks.
    """
    order = scores.detach().sort(dim=-1, descending=True, stable=True).indices
    return torch.argsort(order, -1) + 1


def _masked_mean(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of the chosen values of each query [B]; 0 for a query without chosen values."""
    dimensions = tuple(range(1, values.ndim))
    return values.masked_fill(~chosen, 0).sum(dimensions) / chosen.sum(dimensions).clamp(min=1)
