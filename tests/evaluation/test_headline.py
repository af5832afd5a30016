import math

import pytest

from genir.evaluation.headline import compose_headline, format_value


def runs(**means):
    return {
        run: {"RR@10": {"all": {"mean": x, "low": x - 0.02, "high": x + 0.02, "queries": 1234}}}
        for run, x in means.items()
    }


def pairwise_test(p):
    return {"split": "test", "measure": "RR@10", "a": "bm25", "b": "irpo", "p_holm": p}


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (0.0002, "significant, Holm-corrected p < .001"),
        (0.0412, "significant, Holm-corrected p = .041"),
        (0.66, "not significant, Holm-corrected p = .66"),
        (1.0, "not significant, Holm-corrected p = 1.00"),
    ],
)
def test_the_headline_gives_the_result_the_difference_and_its_significance(p, words):
    others = [pairwise_test(0.5) | change for change in ({"a": "sft"}, {"split": "dev"}, {"measure": "R@10"})]
    text = compose_headline("test", "RR@10", runs(bm25=0.883, irpo=0.876), "irpo", "bm25", [*others, pairwise_test(p)])
    assert text == (
        "On test (1,234 queries), IRPO reaches RR@10 .876 [.856, .896], against .883 for BM25 "
        f"(difference -.007, {words})."
    )


def test_a_pair_that_was_not_tested_is_described_without_significance():
    text = compose_headline("test", "RR@10", runs(bm25=0.5, mine=0.75), "mine", "bm25", [])
    assert text.endswith("mine reaches RR@10 .750 [.730, .770], against .500 for BM25 (difference +.250).")


def test_a_baseline_alone_is_compared_with_nothing():
    text = compose_headline("test", "RR@10", runs(bm25=0.5), "bm25", "bm25", [])
    assert text == "On test (1,234 queries), BM25 reaches RR@10 .500 [.480, .520]."


def test_values_have_three_decimals_and_no_leading_zero():
    assert [format_value(x) for x in (0.12345, 1.0, 0.0, math.nan)] == [".123", "1.000", ".000", ""]
