import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genir.evaluation.significance import bootstrap_interval, holm, paired_test


def test_the_bootstrap_interval_is_close_to_the_normal_interval_and_reproducible():
    values = np.random.default_rng(0).normal(3, 2, 400).tolist()
    interval = bootstrap_interval(values, 2000, 1)
    half = 1.96 * np.std(values) / 20
    assert interval.mean == pytest.approx(np.mean(values))
    assert interval.low == pytest.approx(np.mean(values) - half, abs=0.1 * half)
    assert interval.high == pytest.approx(np.mean(values) + half, abs=0.1 * half)
    assert interval.queries == 400
    assert interval == bootstrap_interval(values, 2000, 1)


def test_the_interval_of_one_value_has_no_width_and_that_of_no_values_is_nan():
    assert bootstrap_interval([0.5], 100, 1) == (0.5, 0.5, 0.5, 1)
    assert np.isnan(bootstrap_interval([], 100, 1).mean)


def test_the_paired_test_of_few_queries_enumerates_all_sign_flips():
    a, b = [0.9, 0.5, 0.4, 1.0, 0.25, 0.7], [0.5, 0.25, 0.5, 0.5, 0.2, 0.1]
    differences = np.subtract(a, b)
    flips = [np.mean(differences * signs) for signs in itertools.product((1, -1), repeat=6)]
    exact = np.mean([abs(x) >= abs(differences.mean()) - 1e-12 for x in flips])
    assert paired_test(a, b, 0) == pytest.approx(exact)
    assert paired_test(a, a, 0) == 1.0


@pytest.mark.slow
def test_the_paired_test_keeps_its_level_and_detects_a_real_difference():
    rng = np.random.default_rng(0)
    false_positives = [paired_test(rng.random(40), rng.random(40), 0) < 0.1 for _ in range(60)]
    assert np.mean(false_positives) < 0.25
    base = rng.random(200)
    assert paired_test(base, base + rng.normal(0.2, 0.3, 200), 0) < 0.001


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_exactly_the_hypotheses_that_its_definition_rejects(p_values):
    adjusted = holm(p_values)
    for alpha in (0.01, 0.05, 0.3):
        rejected = set()
        for step, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
            if p_values[index] * (len(p_values) - step) > alpha:
                break
            rejected.add(index)
        assert {i for i, p in enumerate(adjusted) if p <= alpha} == rejected
