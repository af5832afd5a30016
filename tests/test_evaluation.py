import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genir.errors import GenirError
from genir.evaluation import Value, bootstrap_interval, by_run, holm, paired_test, read_values, write_values


def test_the_interval_is_near_the_normal_one_and_repeats():
    values = np.random.default_rng(0).normal(3, 2, 400).tolist()
    interval = bootstrap_interval(values, 2000, 1)
    half = 1.96 * np.std(values) / 20
    assert interval.mean == pytest.approx(np.mean(values))
    assert interval.low == pytest.approx(np.mean(values) - half, abs=0.1 * half)
    assert interval.high == pytest.approx(np.mean(values) + half, abs=0.1 * half)
    assert interval == bootstrap_interval(values, 2000, 1)
    assert bootstrap_interval([0.5], 100, 1)[:3] == (0.5, 0.5, 0.5)
    assert np.isnan(bootstrap_interval([], 100, 1).mean)


def test_the_paired_test_counts_all_sign_flips():
    """Few queries: against the full enumeration of sign flips of the differences."""
    a, b = [0.9, 0.5, 0.4, 1.0, 0.25, 0.7], [0.5, 0.25, 0.5, 0.5, 0.2, 0.1]
    differences = np.subtract(a, b)
    flips = [np.mean(differences * signs) for signs in itertools.product((1, -1), repeat=6)]
    exact = np.mean([abs(x) >= abs(differences.mean()) - 1e-12 for x in flips])
    assert paired_test(a, b, 0) == pytest.approx(exact)
    assert paired_test(a, a, 0) == 1.0


def test_the_paired_test_holds_its_level_and_finds_a_real_difference():
    rng = np.random.default_rng(0)
    chance = [paired_test(rng.random(40), rng.random(40), 0) < 0.1 for _ in range(60)]
    assert np.mean(chance) < 0.25
    base = rng.random(200)
    assert paired_test(base, base + rng.normal(0.2, 0.3, 200), 0) < 0.001


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_exactly_what_its_definition_rejects(p_values):
    adjusted = holm(p_values)
    for alpha in (0.01, 0.05, 0.3):
        rejected = set()
        for step, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
            if p_values[index] * (len(p_values) - step) > alpha:
                break
            rejected.add(index)
        assert {i for i, p in enumerate(adjusted) if p <= alpha} == rejected


def test_values_read_back_the_same(tmp_path):
    values = [
        Value("test", "sft", "q\t1".replace("\t", "_"), True, "RR@10", 1 / 3),
        Value("dev", "bm25", "ü", False, "R@10", 0.0),
    ]
    write_values(values, tmp_path / "v.tsv")
    assert read_values(tmp_path / "v.tsv") == values
    assert by_run(values, "test", "RR@10") == {"sft": {"q_1": 1 / 3}}
    with pytest.raises(GenirError, match="run evaluate first"):
        read_values(tmp_path / "none.tsv")
