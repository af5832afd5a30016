"""The tests of pairs of runs, against differences that are counted by hand, and their table."""

import pytest
from rich.console import Console

from genir.errors import GenirError
from genir.evaluation.pairs import compare_pairs, make_pairs_table


def test_differences_and_counts_of_a_pair_are_those_of_b_minus_a():
    (row,) = compare_pairs(
        {"x": {"q1": 0.5, "q2": 1.0, "q3": 0.0}, "y": {"q2": 0.5, "q1": 1.0, "q3": 1.0}}, "test", "RR@10", 1
    )
    assert (row["a"], row["b"], row["better"], row["worse"]) == ("x", "y", 2, 1)
    assert row["difference"] == pytest.approx(1 / 3)
    assert row["p_holm"] == row["p"]  # one pair needs no correction


def test_runs_measured_on_different_queries_are_not_compared():
    with pytest.raises(GenirError, match="x and y were measured on different queries of test"):
        compare_pairs({"x": {"q1": 0.5}, "y": {"q2": 0.5}}, "test", "RR@10", 1)


def test_the_table_keeps_numbers_whole_and_names_complete_in_a_terminal_of_80_columns(capsys):
    name = "quite-a-long-folder-name/irpo"
    rows = [
        {"split": "test", "measure": "Success@1", "a": name, "b": f"x{name}", "difference": -0.1234, "better": 12345,
         "worse": 54321, "p": 0.0001, "p_holm": 0.0006}
    ]  # fmt: skip
    Console(width=80, soft_wrap=True).print(make_pairs_table(rows, "test"))
    text = capsys.readouterr().out
    assert {"-0.123", "12345", "54321", "0.0001", "0.0006"} <= {*text.split()}
    assert "".join(line.split("│")[2].strip() for line in text.splitlines() if "│" in line) == name
