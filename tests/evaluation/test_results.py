import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from eval import compare, evaluate
from genir.config import load_config
from genir.errors import GenirError
from genir.evaluation.results import Value, by_run, load_run_values, read_values, write_values
from genir.evaluation.significance import bootstrap_interval, holm, paired_test


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


def test_a_folder_that_was_evaluated_otherwise_is_named_with_what_to_run(tmp_path):
    (tmp_path / "c.yaml").write_text("collection: {path: x}\nevaluate: {measures: [RR@10]}\n")
    values = [Value("test", "sft", "q", True, name, 0.5) for name in ("RR@10", "AP")]
    write_values(values, tmp_path / "evaluation" / "per_query.tsv")
    assert load_run_values(load_config(tmp_path / "c.yaml"), tmp_path) == values[:1]
    config = load_config(tmp_path / "c.yaml", ["evaluate.measures=[RR@10,P@5]"])
    with pytest.raises(GenirError, match=r"has no P@5 of test; run: genir evaluate .*=\[RR@10,P@5\]'"):
        load_run_values(config, tmp_path)


@pytest.mark.parametrize("measures", [["RR@10"], ["RR@10", "nDCG@10", "Success@1", "R@10", "AP", "P@5", "R@100"]])
def test_no_table_cuts_a_number_in_a_terminal_of_80_columns(measures, capsys):
    """Each of its own is there as a whole word, and so are the names once their folded lines are joined."""
    name, numbers = "quite-a-long-folder-name/irpo", {"mean": 0.8251, "low": 0.7802, "high": 0.8703, "queries": 12345}
    runs = {"bm25": {x: {"all": numbers, "seen": numbers, "unseen": numbers} for x in measures}}
    rows = [
        {"split": "test", "measure": "Success@1", "a": name, "b": f"x{name}", "difference": -0.1234, "better": 12345,
         "worse": 54321, "p": 0.0001, "p_holm": 0.0006}
    ]  # fmt: skip
    seeds = [{"split": "test", "measure": "RR@10", "run": name, "mean": 0.8251, "seeds": [0.8123] * 9}]

    def shown(table):
        Console(width=80, soft_wrap=True).print(table)
        return capsys.readouterr().out

    words = shown(evaluate.table(runs, "test", measures, {"bm25": 1.0})).split()
    assert [words.count(x) for x in ("0.825", "[0.780,", "0.870]")] == [3 * len(measures)] * 3
    assert {"12,345", "100.0%", "documents"} <= {*words}
    text = shown(compare.table(rows, "test"))
    assert {"-0.123", "12345", "54321", "0.0001", "0.0006"} <= {*text.split()}
    assert "".join(line.split("│")[2].strip() for line in text.splitlines() if "│" in line) == name
    assert shown(compare.table_of_seeds(seeds)).split().count("0.812") == 9
