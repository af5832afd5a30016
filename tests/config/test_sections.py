import pytest
from pydantic import ValidationError

from genir.config.sections import EvaluateConfig, ModelConfig, QueriesConfig, SearchConfig


@pytest.mark.parametrize(
    ("measures", "cutoff"), [(["RR@10", "R@1000", "AP"], 1000), (["AP"], 1), (["nDCG(dcg='exp-log2')@20"], 20)]
)
def test_the_cutoff_is_the_largest_of_the_measures(measures, cutoff):
    assert EvaluateConfig(measures=measures).cutoff == cutoff


def test_a_search_needs_at_least_as_many_beams_as_hits():
    assert SearchConfig(k=9, beams=9).beams == 9
    with pytest.raises(ValidationError, match=r"8 beams cannot give k = 9 documents; raise search\.beams"):
        SearchConfig(k=9, beams=8)


@pytest.mark.parametrize(
    ("method", "is_file"), [("mine.jsonl", True), ("a/b.jsonl.gz", True), ("extractive", False), ("t5-base", False)]
)
def test_a_method_with_a_jsonl_suffix_is_a_file_of_pseudo_queries(method, is_file):
    assert QueriesConfig(method=method).is_file is is_file


@pytest.mark.parametrize("method", ["extractive", "mine.jsonl"])
def test_fine_tuning_steps_need_a_model_as_the_method(method):
    assert QueriesConfig(method="t5-base", tune_steps=5).tune_steps == 5
    with pytest.raises(ValidationError, match=f"tune_steps trains a seq2seq model, but the method is {method}"):
        QueriesConfig(method=method, tune_steps=5)


def test_the_old_name_of_the_extractive_method_is_an_error_that_gives_the_new_one():
    with pytest.raises(ValidationError, match=r"the method text is now called extractive; write queries\.method="):
        QueriesConfig(method="text")


def test_the_dropout_rate_must_be_below_one():
    assert ModelConfig(dropout=0.99).dropout == 0.99
    with pytest.raises(ValidationError, match="dropout"):
        ModelConfig(dropout=1)
