import pytest

from genir.config.measures import find_cutoff, parse_measure


@pytest.mark.parametrize(
    "name", ["nDCG@10", "AP", "RR", "R@100", "Success@1", "ERR@10", "Judged@10", "infAP", "AP(rel=2)@10", "IPrec@0.1"]
)
def test_a_measure_that_can_be_computed_is_parsed(name):
    assert str(parse_measure(name)) == name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NDCGG@10", "'NDCGG@10' is not a measure"),
        ("", "'' is not a measure"),
        ("nDCG@-1", "is not a measure"),
        ("nDCG@\u0661\u0660", "is not a measure"),
        ("NumRet", "NumRet is a count"),
        ("P@0", "P@0: the cut-off must be a whole number from 1"),
        ("nDCG@0", "the cut-off must be a whole number from 1"),
        ("P@1.5", "the cut-off must be a whole number from 1"),
        ("nDCG@1e1", "the cut-off must be a whole number from 1"),
        ("RR@99999999999999999999", "the cut-off must be a whole number from 1"),
        ("R", "R cannot be computed: the parameter cutoff is missing; write it as in R@100"),
        ("IPrec", "the parameter recall is missing"),
        ("P(rel=0)@5", "cannot be computed"),
        ("nDCG@1_0", "write the cut-off in the digits 0 to 9"),
        ("IPrec@2.0", "cannot be computed: invalid parameter recall=2"),
        ("IPrec@2", "cannot be computed: invalid parameter recall=2"),
        ("alpha_nDCG@10", "alpha_nDCG@10 cannot be computed: no installed package provides it; it needs pyndeval"),
        ("RBP", "RBP cannot be computed: no installed package provides it"),
    ],
)
def test_a_measure_that_cannot_be_computed_is_an_error_of_one_line_that_names_it(name, words):
    with pytest.raises(ValueError, match=words) as error:
        parse_measure(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "cutoff"),
    [("nDCG@10", 10), ("AP(rel=2)@1000", 1000), ("nDCG(cutoff=20)", 20), ("P(cutoff = 5, rel=2)", 5), ("AP", None),
     ("IPrec@0.1", None), ("Compat(p=0.95)", None), ("R@10 ", 10)],
)  # fmt: skip
def test_the_cutoff_is_found_in_the_name(name, cutoff):
    assert find_cutoff(name) == cutoff
    assert parse_measure(name).params.get("cutoff") == cutoff
