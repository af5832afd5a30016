"""The summary of per-query values, against plain means, and its table."""

import statistics

import pytest
from rich.console import Console

from genir.evaluation.results import MeasureValue
from genir.evaluation.summary import make_measures_table, summarise


def test_means_are_those_of_all_of_seen_and_of_unseen_queries():
    values = [MeasureValue("test", "sft", f"q{i}", i % 3 == 0, "RR@10", i / 10) for i in range(10)]
    found = summarise(values, 200, 1)["test"]["sft"]["RR@10"]
    parts = {"all": range(10), "seen": range(0, 10, 3), "unseen": [i for i in range(10) if i % 3]}
    for part, numbers in parts.items():
        assert found[part]["mean"] == pytest.approx(statistics.fmean(i / 10 for i in numbers))
        assert found[part]["low"] < found[part]["mean"] < found[part]["high"]
        assert found[part]["queries"] == len(numbers)


@pytest.mark.parametrize("measures", [["RR@10"], ["RR@10", "nDCG@10", "Success@1", "R@10", "AP", "P@5", "R@100"]])
def test_the_table_keeps_numbers_whole_in_a_terminal_of_80_columns(measures, capsys):
    interval = {"mean": 0.8251, "low": 0.7802, "high": 0.8703, "queries": 12345}
    runs = {"bm25": {x: {"all": interval, "seen": interval, "unseen": interval} for x in measures}}
    Console(width=80, soft_wrap=True).print(make_measures_table(runs, "test", measures, {"bm25": 1.0}))
    words = capsys.readouterr().out.split()
    assert [words.count(x) for x in ("0.825", "[0.780,", "0.870]")] == [3 * len(measures)] * 3
    assert {"12,345", "100.0%", "documents", "certified"} <= {*words}
