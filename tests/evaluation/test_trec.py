import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genir.errors import GenirError
from genir.evaluation.measures import measure, parse_measures
from genir.evaluation.trec import qrels, rank_scores, read_run, write_run
from genir.records import Judgment


@given(st.lists(st.floats(-1e3, 0), max_size=20).map(lambda x: sorted(x, reverse=True)))
def test_scores_fall_strictly_and_hardly_move(scores):
    got = list(rank_scores([f"d{i}" for i in range(len(scores))], scores).values())
    assert all(a > b for a, b in itertools.pairwise(got))
    assert got == pytest.approx(scores, abs=1e-9)


def test_a_run_file_reads_back_the_same_and_is_trec(tmp_path):
    run = {"q1": {"d1": -0.25, "d2": -1 / 3}, "q2": {"ü": -5e-324}}
    write_run(run, tmp_path / "x.trec", "sft")
    assert read_run(tmp_path / "x.trec") == run
    assert (tmp_path / "x.trec").read_text().splitlines()[1].split() == ["q1", "Q0", "d2", "2", repr(-1 / 3), "sft"]


@pytest.mark.parametrize(
    "line", ["q1 Q0 d1 1 0.5", *(f"q1 Q0 d1 1 {score} sft" for score in ("high", "nan", "inf", "-inf"))]
)
def test_a_bad_run_line_is_named(tmp_path, line):
    (tmp_path / "x").write_text("q1 Q0 d0 1 0.9 sft\n" + line + "\n")
    with pytest.raises(GenirError, match="x:2:"):
        read_run(tmp_path / "x")


def test_measures_are_those_worked_out_by_hand():
    """q1: the grade-2 document stands 2nd, the grade-1 one 3rd. q2: nothing found. q3: missing from the run."""
    judged = qrels([Judgment("q1", "a", 2), Judgment("q1", "b", 1), Judgment("q2", "a", 1), Judgment("q3", "a", 1)])
    run = {"q1": {"x": 3.0, "a": 2.0, "b": 1.0}, "q2": {}}
    values = measure(run, judged, ["RR@10", "nDCG@10", "Success@1", "R@10"])
    ideal = 2 / math.log2(2) + 1 / math.log2(3)
    assert values["RR@10"] == {"q1": 0.5, "q2": 0.0, "q3": 0.0}
    assert values["nDCG@10"]["q1"] == pytest.approx((2 / math.log2(3) + 1 / math.log2(4)) / ideal)
    assert values["Success@1"] == {"q1": 0.0, "q2": 0.0, "q3": 0.0}
    assert values["R@10"] == {"q1": 1.0, "q2": 0.0, "q3": 0.0}


def test_names_of_one_measure_all_get_its_value():
    values = measure({"q1": {"x": 3.0, "a": 2.0}}, {"q1": {"a": 1}}, ["MRR@10", "RR@10", "RR(rel=1)@10", "R@10"])
    assert values == {"MRR@10": {"q1": 0.5}, "RR@10": {"q1": 0.5}, "RR(rel=1)@10": {"q1": 0.5}, "R@10": {"q1": 1.0}}


def test_an_unknown_measure_is_named():
    with pytest.raises(GenirError, match="'NDCGG@10' is no measure"):
        parse_measures(["RR@10", "NDCGG@10"])
