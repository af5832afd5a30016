import json

import pytest

from genir.errors import GenirError
from genir.evaluation.contributions import (
    COLUMNS,
    Contributions,
    ExpertContribution,
    read_contributions,
    write_contributions,
)

PARTS = Contributions(
    "test",
    "RR@10",
    1000,
    3610,
    [
        ExpertContribution("text", 0.82, 1.256, 0.5, 0.8907, 0.25),
        ExpertContribution("dense", 1.0, None, None, 1.0, 0.75),
    ],
    0.904,
    "sft",
    0.9246,
)


@pytest.mark.parametrize("parts", [PARTS, PARTS._replace(run=None, combined=None, experts=PARTS.experts[:1])])
def test_contributions_read_back_the_same(tmp_path, parts):
    write_contributions(parts, tmp_path / "experts.json")
    assert read_contributions(tmp_path / "experts.json") == parts


def test_a_missing_file_means_that_there_are_no_experts(tmp_path):
    assert read_contributions(tmp_path / "experts.json") is None


@pytest.mark.parametrize(
    "change",
    [
        {"split": 1},
        {"together": "0.5"},
        {"together": float("nan")},
        {"queries": 1.5},
        {"experts": {}},
        {"experts": [{"name": "text"}]},
        {"experts": [PARTS.experts[0]._asdict() | {"b": [1]}]},
        {"unknown": 1},
    ],
)
def test_a_damaged_file_is_a_one_line_error_that_names_it(tmp_path, change):
    write_contributions(PARTS, tmp_path / "experts.json")
    content = json.loads((tmp_path / "experts.json").read_text())
    (tmp_path / "experts.json").write_text(json.dumps(content | change))
    with pytest.raises(GenirError, match=r"experts\.json: damaged .*; run the evaluate stage again") as error:
        read_contributions(tmp_path / "experts.json")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "3"])
def test_a_file_without_contributions_is_an_error_that_names_it(tmp_path, text):
    (tmp_path / "experts.json").write_text(text)
    with pytest.raises(GenirError, match=r"experts\.json"):
        read_contributions(tmp_path / "experts.json")


def test_the_table_has_one_row_for_each_expert_and_one_for_the_model():
    assert [dict(zip(COLUMNS, row, strict=True)) for row in PARTS.rows] == [
        {"part": "text", "weight": "0.820", "k1": "1.26", "b": "0.50", "alone": ".891", "without": ".250"},
        {"part": "dense", "weight": "1.000", "k1": "", "b": "", "alone": "1.000", "without": ".750"},
        {"part": "model", "weight": "", "k1": "", "b": "", "alone": "", "without": ".904"},
    ]
    single = PARTS._replace(experts=[PARTS.experts[0]._replace(without=None)], run=None, combined=None)
    assert single.rows == [["text", "0.820", "1.26", "0.50", ".891", ""]]


def test_the_sentence_names_the_measured_queries_and_what_all_parts_reach_together():
    assert "on the first 1,000 of the 3,610 queries of test, all experts together reach .904" in PARTS.explanation
    assert PARTS.explanation.endswith(", and with the model (run sft) .925.")
    whole = PARTS._replace(total=1000, run=None, combined=None)
    assert whole.explanation.endswith("on the 1,000 queries of test, all experts together reach .904.")
