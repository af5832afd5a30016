import math

import pytest

from genir.errors import GenirError
from genir.evaluation.measures import measure, parse_measures
from genir.evaluation.trec import qrels
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
