import pytest

from genir.config import load_config
from genir.errors import GenirError
from genir.evaluation.results import MeasureValue, group_by_run, load_run_values, read_values, write_values


def test_values_read_back_the_same_and_are_grouped_by_run(tmp_path):
    values = [
        MeasureValue("test", "sft", "q_1", True, "RR@10", 1 / 3),
        MeasureValue("dev", "bm25", "ü", False, "R@10", 0.0),
    ]
    write_values(values, tmp_path / "v.tsv")
    assert read_values(tmp_path / "v.tsv") == values
    assert group_by_run(values, "test", "RR@10") == {"sft": {"q_1": 1 / 3}}


def test_a_missing_file_raises_an_error_that_says_what_to_run(tmp_path):
    with pytest.raises(GenirError, match="run evaluate first"):
        read_values(tmp_path / "none.tsv")


def test_a_folder_evaluated_with_other_measures_raises_an_error_with_the_command_to_run(tmp_path):
    (tmp_path / "c.yaml").write_text("collection: {path: x}\nevaluate: {measures: [RR@10]}\n")
    values = [MeasureValue("test", "sft", "q", True, name, 0.5) for name in ("RR@10", "AP")]
    write_values(values, tmp_path / "evaluation" / "per_query.tsv")
    assert load_run_values(load_config(tmp_path / "c.yaml"), tmp_path) == values[:1]
    config = load_config(tmp_path / "c.yaml", ["evaluate.measures=[RR@10,P@5]"])
    with pytest.raises(GenirError, match=r"has no values of P@5 on test; run: genir evaluate .*=\[RR@10,P@5\]'"):
        load_run_values(config, tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "test\tsft\tq2\t1\tRR@10",
        "test\tsft\tq2\t1\tRR@10\t0.5\tx",
        *(f"test\tsft\tq2\t1\tRR@10\t{value}" for value in ("nan", "inf", "", "high", "1_0", "\u0661", "1e999")),
        "test\tsft\tq2\ttrue\tRR@10\t0.5",
        "test\tsft\tq1\t1\tRR@10\t0.6",
        'test\tsft\t"q2"x\t1\tRR@10\t0.5',
    ],
)
def test_a_line_that_genir_did_not_write_is_an_error_with_its_number(tmp_path, line):
    write_values([MeasureValue("test", "sft", "q1", True, "RR@10", 0.5)], tmp_path / "v.tsv")
    with open(tmp_path / "v.tsv", "a", encoding="utf-8") as handle:
        handle.write(line + "\n")
    with pytest.raises(GenirError, match=r"v\.tsv:3: .*; run evaluate again"):
        read_values(tmp_path / "v.tsv")
    (tmp_path / "v.tsv").write_text(line)
    with pytest.raises(GenirError, match=r"v\.tsv:1: "):
        read_values(tmp_path / "v.tsv")
