from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genir.evaluation.measures import measure
from genir.evaluation.tied_docids import SHUFFLES, measure_tie_orders

NAMES = ["RR@10", "nDCG@10"]


@settings(max_examples=20)
@given(st.lists(st.integers(0, 2), min_size=4, max_size=4), st.sampled_from([1, 2, 3]))
def test_best_and_worst_are_the_extremes_over_all_orders_within_a_docid(grades, cut):
    """All permutations are evaluated; the first `cut` of four documents share one docid, the others another one."""
    names = ["a", "b", "c", "d"]
    judged = {"q": dict(zip(names, grades, strict=True))}
    run = {"q": {name: 4.0 - place for place, name in enumerate(names)}}
    docid = {name: int(place >= cut) for place, name in enumerate(names)}
    got = measure_tie_orders(run, judged, docid, NAMES, 0)
    orders = [(*first, *last) for first in permutations(names[:cut]) for last in permutations(names[cut:])]
    for name in NAMES:
        all_values = [
            measure({"q": {d: -float(p) for p, d in enumerate(order)}}, judged, [name])[name]["q"] for order in orders
        ]
        assert got["best"][name]["q"] == pytest.approx(max(all_values))
        assert got["worst"][name]["q"] == pytest.approx(min(all_values))
        mean, spread = sum(all_values) / len(all_values), max(all_values) - min(all_values)
        assert abs(got["expected"][name]["q"] - mean) <= 4 * spread / 2 / SHUFFLES**0.5 + 1e-9


def test_without_shared_docids_all_orders_have_the_same_measures():
    run, judged = {"q": {"a": 2.0, "b": 1.0}}, {"q": {"b": 1}}
    got = measure_tie_orders(run, judged, {"a": 0, "b": 1}, NAMES, 0)
    assert [got[order]["RR@10"]["q"] for order in got] == pytest.approx([0.5] * 3)
