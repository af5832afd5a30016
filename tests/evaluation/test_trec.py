import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genir.errors import GenirError
from genir.evaluation.trec import break_score_ties, qrels, read_run, write_run
from genir.records import Judgment


@given(st.lists(st.floats(-1e3, 0), max_size=20).map(lambda x: sorted(x, reverse=True)))
def test_scores_without_ties_decrease_strictly_and_change_only_by_rounding(scores):
    got = list(break_score_ties([f"d{i}" for i in range(len(scores))], scores).values())
    assert all(a > b for a, b in itertools.pairwise(got))
    assert got == pytest.approx(scores, abs=1e-9)


def test_a_run_file_has_the_trec_format_and_reads_back_the_same(tmp_path):
    run = {"q1": {"d1": -0.25, "d2": -1 / 3}, "q2": {"ü": -5e-324}}
    write_run(run, tmp_path / "x.trec", "sft")
    assert read_run(tmp_path / "x.trec") == run
    assert (tmp_path / "x.trec").read_text().splitlines()[1].split() == ["q1", "Q0", "d2", "2", repr(-1 / 3), "sft"]


@pytest.mark.parametrize(
    "line",
    [
        "q1 Q0 d1 1 0.5",
        "q1 Q0 d0 2 0.5 sft",
        "q1 Q0 d1 first 0.5 sft",
        "q1 Q0 d1 1.5 0.5 sft",
        *(f"q1 Q0 d1 1 {score} sft" for score in ("high", "nan", "inf", "-inf", "1_000", "٣", "1e999")),
    ],
)
def test_the_error_for_a_malformed_line_names_file_and_line(tmp_path, line):
    (tmp_path / "x").write_text("q1 Q0 d0 1 0.9 sft\n" + line + "\n")
    with pytest.raises(GenirError, match="x:2:"):
        read_run(tmp_path / "x")


def test_a_foreign_run_is_ordered_by_rank_then_score_then_line(tmp_path, capsys):
    lines = [
        "q1 Q0 c 3 9.5 x",
        "q1 Q0 a 1 7.5 x",
        "",
        "q1 Q0 b 2 8.5 x",
        "q2 Q0 a 0 1 x",
        "q2 Q0 b 0 2 x",
        "q2 Q0 c 0 2 x",
        "",
    ]
    (tmp_path / "x.trec").write_text("\n".join(lines))
    run = read_run(tmp_path / "x.trec")
    assert {query: list(scores) for query, scores in run.items()} == {"q1": ["a", "b", "c"], "q2": ["b", "c", "a"]}
    for scores in run.values():
        assert all(a > b for a, b in itertools.pairwise(scores.values()))
    assert "the scores of 1 queries are not in the order of the rank column" in capsys.readouterr().out


def test_qrels_group_judgments_by_query():
    judgments = [Judgment("q1", "a", 2), Judgment("q2", "a", 0), Judgment("q1", "b", 1)]
    assert qrels(judgments) == {"q1": {"a": 2, "b": 1}, "q2": {"a": 0}}
