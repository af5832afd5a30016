"""Preference losses over log-probabilities of whole docids: pure functions, one value a query.

Shapes: B queries, N candidates, L levels. policy, reference [B, N]: log p(docid | query) of the model in training and
of the frozen one; grades [B, N]: how relevant, 0 is not; mask [B, N] bool: true at candidates, false at padding. With
delta = policy - reference, beta * delta is the implicit reward (DPO, arXiv 2305.18290).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus


class CandidateBatch(NamedTuple):
    """What a loss looks at: policy, reference, grades, mask, all [B, N]."""

    policy: Tensor
    reference: Tensor
    grades: Tensor
    mask: Tensor

    @property
    def delta(self) -> Tensor:
        """policy - reference, 0 at padding [B, N]."""
        return (self.policy - self.reference).float().masked_fill(~self.mask, 0)


def weighted_softmax(delta: Tensor, weights: Tensor, mask: Tensor, beta: float) -> Tensor:
    """The kernel of the family: L = -sum_i w_i log softmax_i(beta * delta): [B, N] -> [B].

    Its gradient with respect to delta_i is beta * (p_i * sum(w) - w_i), p the softmax; at best p_i = w_i / sum w.
    """
    logits = (beta * delta).masked_fill(~mask, -torch.inf)
    logps = logits.log_softmax(-1).masked_fill(~mask, 0)
    return -(weights * logps).sum(-1)


def ddro(c: CandidateBatch, beta: float) -> Tensor:
    """DDRO (arXiv 2504.05181), which is DPO (arXiv 2305.18290, equation 7) on docids:
    L = -log sigmoid(beta * (delta(d+) - delta(d-))), averaged over the pairs of a query [B].
    """
    pairs = better(c)
    margin = c.delta.unsqueeze(2) - c.delta.unsqueeze(1)
    return _mean_over(-logsigmoid(beta * margin), pairs)


def s_dpo(c: CandidateBatch, beta: float) -> Tensor:
    """S-DPO (arXiv 2406.09215, equation 11): each positive against all negatives at once, averaged over positives [B].

    L = -log softmax_{d+}(beta * delta) over d+ and the negatives; with one negative it is DPO.
    """
    positive = (c.grades > 0) & c.mask
    negative = ((c.grades <= 0) & c.mask).unsqueeze(1)
    reward = beta * c.delta
    rest = torch.logsumexp(reward.unsqueeze(1).masked_fill(~negative, -torch.finfo(reward.dtype).max), -1)
    return _mean_over(softplus(rest - reward), positive & negative.any(-1))


def irpo(
    c: CandidateBatch,
    beta: float,
    positions: Tensor | None = None,
    self_term: bool = False,
    mean_rest: bool = False,
    normalize_weights: bool = True,
) -> Tensor:
    """IRPO (arXiv 2504.15477, equations 5 to 7): every relevant candidate against all others at once [B].

    L = -sum_i w_i log sigmoid(z_i), z_i = -log sum_{j != i} exp(beta delta_j - beta delta_i), and
    w_i = (2^grade_i - 1) / log2(1 + position_i), divided by their sum for the query.

    With j != i, sigmoid(z_i) is softmax_i(beta delta): a DCG-weighted softmax cross-entropy (`weighted_softmax`).
    positions [B, N] from 1: whose ranking discounts the gains; None: the ideal one, by grade. self_term: the sum runs
    over j = i too, which puts a floor of w log 2 under the loss. mean_rest: the mean over j in place of the sum.
    """
    weights = irpo_weights(c, positions, normalize_weights)
    if not self_term and not mean_rest:
        return weighted_softmax(c.delta, weights, c.mask, beta)
    reward = beta * c.delta
    others = c.mask.unsqueeze(1).expand(-1, reward.shape[1], -1)
    if not self_term:
        others = others & ~torch.eye(reward.shape[1], dtype=torch.bool, device=reward.device)
    lowest = torch.finfo(reward.dtype).min
    rest = torch.logsumexp(reward.unsqueeze(1).masked_fill(~others, lowest), -1)
    if mean_rest:
        rest = rest - others.sum(-1).clamp(min=1).log()
    alone = ~others.any(-1)  # nothing to be better than
    return (weights * softplus(rest - reward)).masked_fill(alone, 0).sum(-1)


def irpo_weights(c: CandidateBatch, positions: Tensor | None = None, normalize: bool = True) -> Tensor:
    """IRPO's gains times discounts, divided by their sum for each query [B, N]; 0 where nothing is relevant."""
    gains = (2.0 ** c.grades.float() - 1).masked_fill(~c.mask, 0)
    discount = ideal_discount(c) if positions is None else 1 / torch.log2(1 + positions.float())
    weights = gains * discount
    return weights / weights.sum(-1, keepdim=True).clamp(min=1e-12) if normalize else weights


def ideal_discount(c: CandidateBatch) -> Tensor:
    """1 / log2(1 + position) in a ranking by grade; candidates of one grade share the mean of theirs [B, N]."""
    grades = c.grades.float().masked_fill(~c.mask, -torch.inf)
    by_position = 1 / torch.log2(torch.arange(2, grades.shape[1] + 2, device=grades.device, dtype=torch.float32))
    same = (grades.unsqueeze(2) == grades.unsqueeze(1)).float()
    before = (grades.unsqueeze(1) > grades.unsqueeze(2)).sum(-1)
    total = torch.cat([by_position.new_zeros(1), by_position.cumsum(0)])
    count = same.sum(-1)
    return (total[before + count.long()] - total[before]) / count


def adpo(c: CandidateBatch, beta: float) -> Tensor:
    """Listwise ADPO (arXiv 2510.18913): soft targets, here the softmax of the grades (a teacher's scores), with
    temperature 1 / beta: L = -sum_i q_i log softmax_i(beta * delta) [B].
    """
    targets = c.grades.float().masked_fill(~c.mask, -torch.inf).softmax(-1)
    return weighted_softmax(c.delta, targets, c.mask, beta)


def lipo(c: CandidateBatch, beta: float) -> Tensor:
    """LiPO-lambda (arXiv 2402.01878, equation 9): sum over grade_i > grade_j of
    |G_i - G_j| * |1 / D_i - 1 / D_j| * softplus(s_j - s_i), s = beta * delta, G = 2^grade - 1, D = log2(1 + rank of s).
    """
    reward = (beta * c.delta).masked_fill(~c.mask, -torch.inf)
    discount = 1 / torch.log2(1 + ranks(reward).float())
    gains = 2.0 ** c.grades.float() - 1
    weight = (gains.unsqueeze(2) - gains.unsqueeze(1)).abs() * (discount.unsqueeze(2) - discount.unsqueeze(1)).abs()
    margin = beta * (c.delta.unsqueeze(2) - c.delta.unsqueeze(1))
    return (weight * softplus(-margin)).masked_fill(~better(c), 0).sum((1, 2))


def sft(c: CandidateBatch, beta: float) -> Tensor:
    """More of the supervised loss on the same lists, the control of every preference loss: the positives' negative
    log-likelihood in proportion to their gains [B]; no reference and no beta.
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


def floor(c: CandidateBatch) -> Tensor:
    """A remedy for displacement (arXiv 2410.08847): max(0, reference - policy), averaged over the positives [B]."""
    return _mean_over(torch.relu(-c.delta), (c.grades > 0) & c.mask)


DIVERGENCES: dict[str, Callable[[Tensor], Tensor]] = {
    "reverse_kl": lambda delta: delta,
    "forward_kl": lambda delta: -torch.exp(-delta),
    "jensen_shannon": lambda delta: math.log(2) + logsigmoid(delta),
    "alpha_half": lambda delta: (1 - torch.exp(-0.5 * delta)) / 0.5,
}
"""f-DPO (arXiv 2309.16240, table 1): f'(r) of the ratio r = exp(delta), which stands for log r in the reward; up to a
constant that every pair cancels. log r, -1 / r, log(2 r / (1 + r)), (1 - r^-a) / a with a = 1/2."""


def f_dpo(c: CandidateBatch, beta: float, divergence: str) -> Tensor:
    """DDRO's loss with another divergence than reverse KL between policy and reference [B]."""
    reward = DIVERGENCES[divergence](c.delta)
    return _mean_over(-logsigmoid(beta * (reward.unsqueeze(2) - reward.unsqueeze(1))), better(c))


def ld_sums(code_logps: Tensor, lengths: Tensor, alpha: float) -> Tensor:
    """LD-DPO (arXiv 2409.06411, equation 9): log-probs [B, N] in which codes beyond the query's shortest candidate
    count with alpha in [0, 1]. code_logps [B, N, L], 0 at padding; lengths [B, N], 0 for padded candidates.
    """
    shortest = lengths.masked_fill(lengths == 0, lengths.max()).amin(-1, keepdim=True).unsqueeze(-1)
    beyond = torch.arange(code_logps.shape[-1], device=lengths.device) >= shortest
    return torch.where(beyond, alpha * code_logps, code_logps).sum(-1)


def tdpo2(c: CandidateBatch, beta: float, kl: Tensor, alpha: float) -> Tensor:
    """TDPO2 (arXiv 2404.11999, equation 17) over the pairs of a query [B]:
    L = -log sigmoid(u - alpha * (KL(d-) - stop_gradient(KL(d+)))), u DPO's argument.

    kl [B, N]: sum over a docid's levels of KL(reference || policy) of the next code, times beta.
    """
    u = beta * (c.delta.unsqueeze(2) - c.delta.unsqueeze(1))
    penalty = alpha * (kl.unsqueeze(1) - kl.detach().unsqueeze(2))
    return _mean_over(-logsigmoid(u - penalty), better(c))


def ches(positive: Tensor, negative: Tensor) -> Tensor:
    """How alike two docids look to the model, CHES (arXiv 2410.08847, definition 2): <h+, h-> - |h+|^2 [n], of the sums
    over levels of the decoder's last hidden states [n, D]. Pairs of a high score displace their positive most.
    """
    return (positive * negative).sum(-1) - (positive * positive).sum(-1)


def better(c: CandidateBatch) -> Tensor:
    """Whether candidate i has a higher grade than j, both real: [B, N, N]."""
    both = c.mask.unsqueeze(2) & c.mask.unsqueeze(1)
    return (c.grades.unsqueeze(2) > c.grades.unsqueeze(1)) & both


def ranks(scores: Tensor) -> Tensor:
    """Rank from 1 of each candidate by falling score, equal ones in their order [B, N]; no gradient."""
    order = scores.detach().sort(dim=-1, descending=True, stable=True).indices
    return torch.argsort(order, -1) + 1


def _mean_over(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of the chosen values of each query [B]; 0 where none is."""
    rest = tuple(range(1, values.ndim))
    return values.masked_fill(~chosen, 0).sum(rest) / chosen.sum(rest).clamp(min=1)
