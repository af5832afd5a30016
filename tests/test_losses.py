"""Each loss compared with its formula written out in plain math, and properties that hold for all losses."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genir.losses import (
    LOSSES,
    CandidateBatch,
    ches,
    ddro,
    dpop_penalty,
    ideal_discount,
    irpo,
    irpo_weights,
    lipo,
    preferred_pairs,
    ranks,
    s_dpo,
    sft,
    weighted_softmax,
)

BETA = 0.4
NUMBERS = st.floats(-30, 0, width=32)


@st.composite
def lists(draw, least=2, most=6, graded=True):
    """Generate one query's candidates as (policy, reference, grades); at least one of them is relevant."""
    count = draw(st.integers(least, most))
    policy, reference = (draw(st.lists(NUMBERS, min_size=count, max_size=count)) for _ in range(2))
    grades = draw(st.lists(st.integers(0, 3 if graded else 1), min_size=count, max_size=count))
    grades[draw(st.integers(0, count - 1))] = 1
    return policy, reference, grades


def candidates(policy, reference, grades, mask=None):
    mask = [True] * len(policy) if mask is None else mask
    rows = (torch.tensor([x], dtype=torch.float64).float() for x in (policy, reference, grades))
    return CandidateBatch(*rows, torch.tensor([mask]))


def nll_sigmoid(x):
    """Compute -log sigmoid(x) without overflow."""
    return math.log1p(math.exp(-x)) if x > -30 else -x


def deltas(policy, reference):
    return [p - r for p, r in zip(policy, reference, strict=True)]


@pytest.mark.slow
@given(lists())
def test_ddro_is_the_mean_loss_over_pairs_of_different_grades(values):
    policy, reference, grades = values
    d = deltas(policy, reference)
    pairs = [(i, j) for i in range(len(d)) for j in range(len(d)) if grades[i] > grades[j]]
    wanted = sum(nll_sigmoid(BETA * (d[i] - d[j])) for i, j in pairs) / max(1, len(pairs))
    assert ddro(candidates(*values), BETA).item() == pytest.approx(wanted, rel=1e-4, abs=1e-5)


@pytest.mark.slow
@given(st.lists(NUMBERS, min_size=4, max_size=4))
def test_with_two_candidates_ddro_s_dpo_and_irpo_equal_dpo(x):
    c = candidates(x[:2], x[2:], [1, 0])
    wanted = nll_sigmoid(BETA * ((x[0] - x[2]) - (x[1] - x[3])))
    for loss in (ddro, s_dpo, irpo):
        assert loss(c, BETA).item() == pytest.approx(wanted, rel=1e-4, abs=1e-5)


@given(lists())
def test_irpo_equals_the_formula_of_the_paper(values):
    """z_i = -log sum_{j != i} exp(beta delta_j - beta delta_i), loss = -sum_i w_i log sigmoid z_i."""
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
def test_the_options_of_irpo_change_its_formula_as_documented(values, self_term, average_others, normalize):
    """z_i = -log of the sum or mean over j, with or without i itself, of exp(beta delta_j - beta delta_i)."""
    d = deltas(*values[:2])
    weights = irpo_weights(candidates(*values), normalize=normalize)[0].tolist()
    assert not normalize or sum(weights) == pytest.approx(1, rel=1e-4)
    wanted = 0.0
    for i, weight in enumerate(weights):
        rest = [BETA * (d[j] - d[i]) for j in range(len(d)) if self_term or j != i]
        top = max(rest)
        total = top + math.log(sum(math.exp(x - top) for x in rest) / (len(rest) if average_others else 1))
        wanted += weight * nll_sigmoid(-total)
    got = irpo(candidates(*values), BETA, None, self_term, average_others, normalize)
    assert got.item() == pytest.approx(wanted, rel=1e-3, abs=1e-4)


def test_the_self_term_keeps_irpo_above_log_two():
    c = candidates([100.0, 0.0], [0.0, 0.0], [1, 0])
    assert irpo(c, BETA, self_term=True).item() == pytest.approx(math.log(2), abs=1e-5)
    assert irpo(c, BETA).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("options", [{}, {"self_term": True}, {"average_others": True}])
def test_all_variants_of_irpo_ignore_padding_and_accept_lists_of_one_candidate(options):
    c = candidates([-1.0, -2.0, -9.0], [-2.0, -1.0, -1.0], [1, 0, 3], [True, True, False])
    short = candidates([-1.0, -2.0], [-2.0, -1.0], [1, 0])
    torch.testing.assert_close(irpo(c, BETA, **options), irpo(short, BETA, **options))
    policy = torch.tensor([[-1.0, -9.0]], requires_grad=True)
    value = irpo(candidates([0.0, 0], [-2.0, -1], [1, 0], [True, False])._replace(policy=policy), BETA, **options)
    value.sum().backward()
    assert torch.isfinite(policy.grad).all()


@given(lists(graded=False))
def test_with_one_positive_irpo_equals_s_dpo(values):
    policy, reference, grades = values
    grades = [int(i == grades.index(1)) for i in range(len(grades))]
    c = candidates(policy, reference, grades)
    torch.testing.assert_close(irpo(c, BETA), s_dpo(c, BETA), rtol=1e-4, atol=1e-5)


@given(lists())
def test_lipo_weights_each_pair_by_the_dcg_that_a_swap_would_cost(values):
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


@pytest.mark.slow
@given(lists(), st.randoms(use_true_random=False))
def test_the_losses_do_not_depend_on_the_order_of_candidates(values, random):
    order = list(range(len(values[0])))
    random.shuffle(order)
    for name in ("ddro", "s_dpo", "irpo", "adpo", "sft"):  # lipo breaks ties between ranks by order
        shuffled = candidates(*([x[i] for i in order] for x in values))
        torch.testing.assert_close(
            LOSSES[name](candidates(*values), BETA), LOSSES[name](shuffled, BETA), rtol=1e-4, atol=1e-5
        )


@pytest.mark.slow
@given(lists(), st.integers(1, 3))
def test_padding_does_not_change_a_loss_and_gets_no_gradient(values, count):
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
def test_the_gradient_of_weighted_softmax_equals_its_formula(values):
    """beta * (p_i * sum(w) - w_i)."""
    c = candidates(*values)
    weights = irpo_weights(c)
    policy = c.policy.clone().requires_grad_()
    weighted_softmax(policy - c.reference, weights, c.mask, BETA).sum().backward()
    p = (BETA * c.delta).softmax(-1)
    torch.testing.assert_close(policy.grad, BETA * (p * weights.sum() - weights), rtol=1e-4, atol=1e-6)


def test_the_gradient_vanishes_where_the_softmax_equals_the_normalised_weights():
    c = candidates([0.0, 0, 0, 0], [0.0, 0, 0, 0], [3, 1, 1, 0])
    weights = irpo_weights(c)[:, :3]
    delta = (weights.log() / BETA).requires_grad_()
    weighted_softmax(delta, weights, c.mask[:, :3], BETA).sum().backward()
    assert delta.grad.abs().max() < 1e-6


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("beta", [1e-8, 1.0, 100.0])
def test_losses_and_gradients_stay_finite_at_extreme_betas_and_log_probs(name, beta):
    c = candidates([-1e4, -1.0, -2000.0], [-1.0, -1e4, -3.0], [1, 0, 0])
    policy = c.policy.clone().requires_grad_()
    value = LOSSES[name](c._replace(policy=policy), beta)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(policy.grad).all()


def test_the_loss_of_a_query_without_a_relevant_document_is_zero():
    c = candidates([-1.0, -2.0], [-2.0, -1.0], [0, 0])
    for name in ("ddro", "s_dpo", "irpo", "lipo", "sft"):
        assert LOSSES[name](c, BETA).item() == 0


def test_irpo_discounts_gains_by_given_positions():
    c = candidates([-3.0, -1.0, -2.0], [0.0, 0.0, 0.0], [2, 1, 0])
    place = ranks(c.policy)
    assert place.tolist() == [[3, 1, 2]]
    w = [3 / math.log2(4), 1 / math.log2(2), 0]
    torch.testing.assert_close(irpo_weights(c, place)[0], torch.tensor(w) / sum(w))
    assert ideal_discount(c)[0].tolist() == pytest.approx([1, 1 / math.log2(3), 0.5])


@given(lists())
def test_sft_and_the_dpop_penalty_equal_their_formulas(values):
    policy, reference, grades = values
    gains = [2**g - 1 for g in grades]
    wanted = -sum(g * p for g, p in zip(gains, policy, strict=True)) / sum(gains)
    assert sft(candidates(*values), BETA).item() == pytest.approx(wanted, rel=1e-4, abs=1e-5)
    drops = [max(0, r - p) for p, r, g in zip(policy, reference, grades, strict=True) if g > 0]
    assert dpop_penalty(candidates(*values)).item() == pytest.approx(sum(drops) / len(drops), rel=1e-4, abs=1e-4)


def test_preferred_pairs_have_different_grades_and_no_padding():
    c = candidates([0.0] * 4, [0.0] * 4, [0, 2, 1, 3], [True, True, True, False])
    assert preferred_pairs(c)[0].nonzero().tolist() == [[1, 0], [1, 2], [2, 0]]


def test_ches_is_highest_for_docids_with_similar_states():
    positive, other = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, -1.0]])
    assert ches(positive, other).item() == -5
    assert ches(positive, positive).item() == 0
