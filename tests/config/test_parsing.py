import pytest
import yaml

from genir.config.parsing import parse_yaml


@pytest.mark.parametrize("text", ["{a: 1, a: 2}", "a: 1\nb: 2\na: 3", "x: [{a: 1, a: 1}]"])
def test_a_duplicate_key_is_an_error(text):
    with pytest.raises(yaml.MarkedYAMLError, match="the key a appears twice in one mapping"):
        parse_yaml(text)


def test_the_same_key_may_appear_in_different_mappings():
    assert parse_yaml("a: {b: 1}\nc: {b: 2}") == {"a": {"b": 1}, "c": {"b": 2}}


def test_a_key_may_replace_one_of_a_merged_mapping():
    text = "ddro: &a {beam_candidates: 3, pool_size: 9}\nirpo: {<<: *a, beam_candidates: 4}"
    assert parse_yaml(text)["irpo"] == {"beam_candidates": 4, "pool_size": 9}


@pytest.mark.parametrize("text", ["a: [1, 2.5, true, null]", "- x\n- {y: z}", "3e-4", "", "'quoted'"])
def test_other_yaml_is_parsed_as_by_pyyaml(text):
    assert parse_yaml(text) == yaml.safe_load(text)
