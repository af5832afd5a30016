"""Measures against their formulas."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genir.errors import GenirError
from genir.evaluation.measures import measure, parse_measures
from genir.evaluation.trec import break_score_ties, qrels
from genir.records import Judgment


def test_measures_equal_those_computed_by_hand():
    """For q1, the document of grade 2 is at rank 2 and that of grade 1 at rank 3; q2 has no hits; the run lacks q3."""
    judged = qrels([Judgment("q1", "a", 2), Judgment("q1", "b", 1), Judgment("q2", "a", 1), Judgment("q3", "a", 1)])
    run = {"q1": {"x": 3.0, "a": 2.0, "b": 1.0}, "q2": {}}
    values = measure(run, judged, ["RR@10", "nDCG@10", "Success@1", "R@10"])
    ideal = 2 / math.log2(2) + 1 / math.log2(3)
    assert values["RR@10"] == {"q1": 0.5, "q2": 0.0, "q3": 0.0}
    assert values["nDCG@10"]["q1"] == pytest.approx((2 / math.log2(3) + 1 / math.log2(4)) / ideal)
    assert values["Success@1"] == {"q1": 0.0, "q2": 0.0, "q3": 0.0}
    assert values["R@10"] == {"q1": 1.0, "q2": 0.0, "q3": 0.0}


def test_queries_without_judgments_are_ignored():
    assert measure({"other": {"a": 1.0}}, {"q1": {"a": 1}}, ["RR@10"]) == {"RR@10": {"q1": 0.0}}


def test_different_names_of_the_same_measure_get_the_same_value():
    values = measure({"q1": {"x": 3.0, "a": 2.0}}, {"q1": {"a": 1}}, ["MRR@10", "RR@10", "RR(rel=1)@10", "R@10"])
    assert values == {"MRR@10": {"q1": 0.5}, "RR@10": {"q1": 0.5}, "RR(rel=1)@10": {"q1": 0.5}, "R@10": {"q1": 1.0}}


def test_the_error_for_an_unknown_measure_names_it():
    with pytest.raises(GenirError, match="'NDCGG@10' is not a measure"):
        parse_measures(["RR@10", "NDCGG@10"])
    with pytest.raises(GenirError, match="P@0: the cut-off must be"):
        measure({"q1": {"a": 1.0}}, {"q1": {"a": 1}}, ["P@0"])


RANKINGS = st.lists(st.sampled_from([-1.5, -1.5 - 1e-12, -2.0, -3.0, -1e9, -1e9 - 1e-6]), min_size=1, max_size=12)


GRADES = st.lists(st.integers(0, 3), min_size=12, max_size=12)


@given(scores=RANKINGS, grades=GRADES, names=st.permutations("abcdefghijkl"))
def test_every_measure_follows_the_order_of_the_run_where_scores_are_tied_in_float32(scores, grades, names):
    """The formulas in plain Python, for rankings whose scores differ by less than float32 can represent."""
    run = break_score_ties(names[: len(scores)], sorted(scores, reverse=True))
    judged = dict(zip(names, grades, strict=True))
    gained = [judged[name] for name in run]
    relevant = [grade > 0 for grade in gained]
    ideal = sum(grade / math.log2(rank + 1) for rank, grade in enumerate(sorted(grades, reverse=True)[:10], 1))
    total = sum(grade > 0 for grade in grades)
    precision = [sum(relevant[: i + 1]) / (i + 1) for i in range(len(relevant))]
    expected = {
        "RR@10": max((1 / rank for rank, hit in enumerate(relevant[:10], 1) if hit), default=0.0),
        "Success@1": float(relevant[0]),
        "nDCG@10": sum(g / math.log2(r + 1) for r, g in enumerate(gained[:10], 1)) / ideal if ideal else 0.0,
        "R@10": sum(relevant[:10]) / total if total else 0.0,
        "AP": sum(p for p, hit in zip(precision, relevant, strict=True) if hit) / total if total else 0.0,
    }
    values = measure({"q": run}, {"q": judged}, list(expected))
    assert {name: by_query["q"] for name, by_query in values.items()} == pytest.approx(expected)


def test_gdeval_measures_queries_with_any_ids():
    """ERR with grades of at most 4: the chance to stop at a rank is (2^grade - 1) / 16."""
    judged = {"q-1": {"a": 2, "b": 1, "c": 0}, "x": {"a": 1}, "no hits": {"a": 1}}
    values = measure({"q-1": {"c": 3.0, "a": 2.0, "b": 1.0}, "x": {"a": 1.0}}, judged, ["ERR@10", "RR@10"])
    expected = 3 / 16 / 2 + (1 - 3 / 16) * 1 / 16 / 3
    assert values["ERR@10"] == pytest.approx({"q-1": expected, "x": 1 / 16, "no hits": 0.0}, abs=1e-5)
    assert values["RR@10"] == {"q-1": 0.5, "x": 1.0, "no hits": 0.0}
