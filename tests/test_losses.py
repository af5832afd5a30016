"""Each loss against its formula in plain math, and the properties that hold for the family."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genir.losses import (
    DIVERGENCES,
    LOSSES,
    CandidateBatch,
    ches,
    ddro,
    f_dpo,
    floor,
    ideal_discount,
    irpo,
    irpo_weights,
    ld_sums,
    lipo,
    ranks,
    s_dpo,
    sft,
    tdpo2,
    weighted_softmax,
)

BETA = 0.4
NUMBERS = st.floats(-30, 0, width=32)


@st.composite
def lists(draw, least=2, most=6, graded=True):
    """One query's candidates, at least one relevant, as (policy, reference, grades)."""
    count = draw(st.integers(least, most))
    policy, reference = (draw(st.lists(NUMBERS, min_size=count, max_size=count)) for _ in range(2))
    grades = draw(st.lists(st.integers(0, 3 if graded else 1), min_size=count, max_size=count))
    grades[draw(st.integers(0, count - 1))] = 1
    return policy, reference, grades


def candidates(policy, reference, grades, mask=None):
    mask = [True] * len(policy) if mask is None else mask
    rows = (torch.tensor([x], dtype=torch.float64).float() for x in (policy, reference, grades))
    return CandidateBatch(*rows, torch.tensor([mask]))


def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def nll_sigmoid(x):
    return math.log1p(math.exp(-x)) if x > -30 else -x


def deltas(policy, reference):
    return [p - r for p, r in zip(policy, reference, strict=True)]


@given(lists())
def test_ddro_is_the_mean_pairwise_loss(values):
    policy, reference, grades = values
    d = deltas(policy, reference)
    pairs = [(i, j) for i in range(len(d)) for j in range(len(d)) if grades[i] > grades[j]]
    wanted = sum(nll_sigmoid(BETA * (d[i] - d[j])) for i, j in pairs) / max(1, len(pairs))
    assert ddro(candidates(*values), BETA).item() == pytest.approx(wanted, rel=1e-4, abs=1e-5)


@given(st.lists(NUMBERS, min_size=4, max_size=4))
def test_with_two_candidates_the_family_is_dpo(x):
    c = candidates(x[:2], x[2:], [1, 0])
    wanted = nll_sigmoid(BETA * ((x[0] - x[2]) - (x[1] - x[3])))
    for loss in (ddro, s_dpo, irpo):
        assert loss(c, BETA).item() == pytest.approx(wanted, rel=1e-4, abs=1e-5)


@given(lists())
def test_irpo_is_the_discounted_gain_weighted_log_softmax(values):
    """As the paper writes it: z_i = -log sum_{j != i} exp(beta delta_j - beta delta_i), loss -w_i log sigmoid z_i."""
    policy, reference, grades = values
    d = deltas(policy, reference)
    order = sorted(range(len(d)), key=lambda i: -grades[i])
    discount = [0.0] * len(d)
    for grade in set(grades):
        places = [p for p, i in enumerate(order, 1) if grades[i] == grade]
        for i in order:
            if grades[i] == grade:
                discount[i] = sum(1 / math.log2(1 + p) for p in places) / len(places)
    weights = [(2**g - 1) * x for g, x in zip(grades, discount, strict=True)]
    wanted = 0.0
    for i, weight in enumerate(weights):
        rest = [BETA * (d[j] - d[i]) for j in range(len(d)) if j != i]
        top = max(rest)
        z = -(top + math.log(sum(math.exp(x - top) for x in rest)))
        wanted += weight / sum(weights) * nll_sigmoid(z)
    assert irpo(candidates(*values), BETA).item() == pytest.approx(wanted, rel=1e-3, abs=1e-4)


@given(lists(), st.booleans(), st.booleans(), st.booleans())
def test_irpo_s_choices_are_those_of_its_formula(values, self_term, mean_rest, normalize):
    """z_i = -log of the sum or mean over j, with or without i itself, of exp(beta delta_j - beta delta_i)."""
    d = deltas(*values[:2])
    weights = irpo_weights(candidates(*values), normalize=normalize)[0].tolist()
    assert not normalize or sum(weights) == pytest.approx(1, rel=1e-4)
    wanted = 0.0
    for i, weight in enumerate(weights):
        rest = [BETA * (d[j] - d[i]) for j in range(len(d)) if self_term or j != i]
        top = max(rest)
        total = top + math.log(sum(math.exp(x - top) for x in rest) / (len(rest) if mean_rest else 1))
        wanted += weight * nll_sigmoid(-total)
    got = irpo(candidates(*values), BETA, None, self_term, mean_rest, normalize)
    assert got.item() == pytest.approx(wanted, rel=1e-3, abs=1e-4)


def test_the_self_term_puts_a_floor_under_irpo():
    c = candidates([100.0, 0.0], [0.0, 0.0], [1, 0])
    assert irpo(c, BETA, self_term=True).item() == pytest.approx(math.log(2), abs=1e-5)
    assert irpo(c, BETA).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("choices", [{}, {"self_term": True}, {"mean_rest": True}])
def test_every_form_of_irpo_leaves_out_padding_and_bears_lists_of_one(choices):
    c = candidates([-1.0, -2.0, -9.0], [-2.0, -1.0, -1.0], [1, 0, 3], [True, True, False])
    short = candidates([-1.0, -2.0], [-2.0, -1.0], [1, 0])
    torch.testing.assert_close(irpo(c, BETA, **choices), irpo(short, BETA, **choices))
    policy = torch.tensor([[-1.0, -9.0]], requires_grad=True)
    value = irpo(candidates([0.0, 0], [-2.0, -1], [1, 0], [True, False])._replace(policy=policy), BETA, **choices)
    value.sum().backward()
    assert torch.isfinite(policy.grad).all()


@given(lists(graded=False))
def test_one_positive_makes_irpo_s_dpo(values):
    policy, reference, grades = values
    grades = [int(i == grades.index(1)) for i in range(len(grades))]
    c = candidates(policy, reference, grades)
    torch.testing.assert_close(irpo(c, BETA), s_dpo(c, BETA), rtol=1e-4, atol=1e-5)


@given(lists())
def test_lipo_weighs_pairs_by_what_a_swap_would_cost(values):
    grades = values[2]
    s = candidates(*values).delta[0].mul(BETA).tolist()
    place = {i: rank for rank, i in enumerate(sorted(range(len(s)), key=lambda i: -s[i]), 1)}
    wanted = 0.0
    for i in range(len(s)):
        for j in range(len(s)):
            if grades[i] > grades[j]:
                gain = abs((2 ** grades[i] - 1) - (2 ** grades[j] - 1))
                cost = abs(1 / math.log2(1 + place[i]) - 1 / math.log2(1 + place[j]))
                wanted += gain * cost * nll_sigmoid(s[i] - s[j])
    assert lipo(candidates(*values), BETA).item() == pytest.approx(wanted, rel=1e-3, abs=1e-4)


@given(lists(), st.randoms(use_true_random=False))
def test_the_order_of_candidates_does_not_matter(values, random):
    order = list(range(len(values[0])))
    random.shuffle(order)
    for name in ("ddro", "s_dpo", "irpo", "adpo", "sft"):  # lipo breaks ties of its ranks by order
        shuffled = candidates(*([x[i] for i in order] for x in values))
        torch.testing.assert_close(
            LOSSES[name](candidates(*values), BETA), LOSSES[name](shuffled, BETA), rtol=1e-4, atol=1e-5
        )


@given(lists(), st.integers(1, 3))
def test_padding_contributes_nothing_and_gets_no_gradient(values, count):
    policy, reference = ([*x, *[-1e4] * count] for x in values[:2])
    mask = [True] * len(values[0]) + [False] * count
    padded = candidates(policy, reference, [*values[2], *[3] * count], mask)
    for name, loss in LOSSES.items():
        trained = padded.policy.clone().requires_grad_()
        value = loss(padded._replace(policy=trained), BETA)
        torch.testing.assert_close(value, loss(candidates(*values), BETA), rtol=1e-4, atol=1e-5, msg=name)
        value.sum().backward()
        assert torch.isfinite(trained.grad).all()
        assert (trained.grad[:, len(values[0]) :] == 0).all()


@given(lists())
def test_gradients_of_the_kernel_are_those_of_the_formula(values):
    """beta * (p_i * sum(w) - w_i)."""
    c = candidates(*values)
    weights = irpo_weights(c)
    policy = c.policy.clone().requires_grad_()
    weighted_softmax(policy - c.reference, weights, c.mask, BETA).sum().backward()
    p = (BETA * c.delta).softmax(-1)
    torch.testing.assert_close(policy.grad, BETA * (p * weights.sum() - weights), rtol=1e-4, atol=1e-6)


def test_at_the_optimum_the_softmax_is_the_share_of_the_weights():
    c = candidates([0.0, 0, 0, 0], [0.0, 0, 0, 0], [3, 1, 1, 0])
    weights = irpo_weights(c)[:, :3]
    delta = (weights.log() / BETA).requires_grad_()
    weighted_softmax(delta, weights, c.mask[:, :3], BETA).sum().backward()
    assert delta.grad.abs().max() < 1e-6


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("beta", [1e-8, 1.0, 100.0])
def test_extreme_betas_and_log_probs_stay_finite(name, beta):
    c = candidates([-1e4, -1.0, -2000.0], [-1.0, -1e4, -3.0], [1, 0, 0])
    policy = c.policy.clone().requires_grad_()
    value = LOSSES[name](c._replace(policy=policy), beta)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(policy.grad).all()


def test_a_query_without_a_relevant_document_costs_nothing():
    c = candidates([-1.0, -2.0], [-2.0, -1.0], [0, 0])
    for name in ("ddro", "s_dpo", "irpo", "lipo", "sft"):
        assert LOSSES[name](c, BETA).item() == 0


def test_positions_of_another_ranking_discount_the_gains():
    c = candidates([-3.0, -1.0, -2.0], [0.0, 0.0, 0.0], [2, 1, 0])
    place = ranks(c.policy)
    assert place.tolist() == [[3, 1, 2]]
    w = [3 / math.log2(4), 1 / math.log2(2), 0]
    torch.testing.assert_close(irpo_weights(c, place)[0], torch.tensor(w) / sum(w))
    assert ideal_discount(c)[0].tolist() == pytest.approx([1, 1 / math.log2(3), 0.5])


@given(lists())
def test_sft_and_floor_are_their_formulas(values):
    policy, reference, grades = values
    gains = [2**g - 1 for g in grades]
    wanted = -sum(g * p for g, p in zip(gains, policy, strict=True)) / sum(gains)
    assert sft(candidates(*values), BETA).item() == pytest.approx(wanted, rel=1e-4, abs=1e-5)
    falls = [max(0, r - p) for p, r, g in zip(policy, reference, grades, strict=True) if g > 0]
    assert floor(candidates(*values)).item() == pytest.approx(sum(falls) / len(falls), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_divergences_are_functions_of_the_ratio(name):
    r, a = [0.3, 2.5], 0.5
    of_ratio = {
        "reverse_kl": math.log,
        "forward_kl": lambda x: -1 / x,
        "jensen_shannon": lambda x: math.log(2 * x / (1 + x)),
        "alpha_half": lambda x: (1 - x**-a) / a,
    }[name]
    c = candidates([math.log(x) for x in r], [0.0, 0.0], [1, 0])
    wanted = -math.log(sigmoid(BETA * (of_ratio(r[0]) - of_ratio(r[1]))))
    assert f_dpo(c, BETA, name).item() == pytest.approx(wanted, rel=1e-4)


def test_reverse_kl_is_ddro_itself():
    c = candidates([-1.0, -2.0, -0.5], [-2.0, -1.0, -0.7], [1, 0, 0])
    torch.testing.assert_close(f_dpo(c, BETA, "reverse_kl"), ddro(c, BETA))


def test_ld_dpo_lets_codes_beyond_the_shortest_candidate_count_less():
    logps = torch.tensor([[[-1.0, -2.0, -3.0], [-4.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])
    lengths = torch.tensor([[3, 1, 0]])
    assert ld_sums(logps, lengths, 0.5)[0].tolist() == [-1 - 0.5 * 5, -4, 0]
    assert ld_sums(logps, lengths, 1.0)[0].tolist() == [-6, -4, 0]


def test_tdpo2_subtracts_the_excess_divergence_of_the_negative():
    c = candidates([-1.0, -2.0], [-1.5, -1.0], [1, 0])
    kl = torch.tensor([[0.3, 0.9]], requires_grad=True)
    wanted = -math.log(sigmoid(BETA * (0.5 + 1.0) - 0.7 * (0.9 - 0.3)))
    value = tdpo2(c, BETA, kl, 0.7)
    assert value.item() == pytest.approx(wanted, rel=1e-5)
    value.sum().backward()
    assert kl.grad[0, 0] == 0  # the positive's divergence is not trained
    assert kl.grad[0, 1] > 0


def test_ches_is_highest_for_docids_that_look_alike():
    positive, other = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, -1.0]])
    assert ches(positive, other).item() == -5
    assert ches(positive, positive).item() == 0
