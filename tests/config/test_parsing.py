import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from genir.config.parsing import dump_yaml, parse_override_value, parse_yaml


@pytest.mark.parametrize("text", ["{a: 1, a: 2}", "a: 1\nb: 2\na: 3", "x: [{a: 1, a: 1}]"])
def test_a_duplicate_key_is_an_error(text):
    with pytest.raises(yaml.MarkedYAMLError, match="the key a appears twice in one mapping"):
        parse_yaml(text)


def test_the_same_key_may_appear_in_different_mappings():
    assert parse_yaml("a: {b: 1}\nc: {b: 2}") == {"a": {"b": 1}, "c": {"b": 2}}


def test_a_key_may_replace_one_of_a_merged_mapping():
    text = "ddro: &a {beam_candidates: 3, pool_size: 9}\nirpo: {<<: *a, beam_candidates: 4}"
    assert parse_yaml(text)["irpo"] == {"beam_candidates": 4, "pool_size": 9}


@pytest.mark.parametrize(
    "text", ["a: [1, 2.5, true, null]", "- x\n- {y: z}", "-0.5", "1.0e-05", "+7", "", "~", "'quoted'"]
)
def test_other_yaml_is_parsed_as_by_pyyaml(text):
    assert parse_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    "text",
    [
        "010",
        "0x10",
        "0b1",
        "1_000",
        "1:30",
        "190:20:30.15",
        ".inf",
        "-.INF",
        ".nan",
        "yes",
        "off",
        "y",
        "2024-01-01",
        "\u0661",
    ],
)
def test_only_plain_decimal_numbers_and_true_and_false_are_more_than_strings(text):
    assert parse_yaml(text) == text
    assert parse_yaml(f"{{{text}: [{text}]}}") == {text: [text]}
    assert parse_override_value(text) == text


@pytest.mark.parametrize(("text", "value"), [("1e-4", 1e-4), ("1E3", 1000.0), ("3.e+2", 300.0), (".5", 0.5)])
def test_numbers_with_an_exponent_are_numbers_with_or_without_a_point(text, value):
    assert parse_yaml(text) == parse_override_value(text) == value


@pytest.mark.parametrize("text", ["\udc80", 'a: "\\ud800"', "{\udc80: 1}"])
def test_an_unpaired_surrogate_is_an_error(text):
    with pytest.raises((ValueError, yaml.YAMLError), match=r"unpaired surrogate|special characters are not allowed"):
        parse_yaml(text)


def test_an_unpaired_surrogate_in_an_override_is_an_error():
    with pytest.raises(ValueError, match="unpaired surrogate"):
        parse_override_value("caf\udce9")


@pytest.mark.parametrize("text", ["!!int 1_000", "!!float .inf", "1e999", "9" * 5000])
def test_a_number_that_is_not_plain_or_too_large_is_an_error(text):
    with pytest.raises(yaml.YAMLError, match=r"digits|too large|Exceeds"):
        parse_yaml(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("/x/set #1", "/x/set #1"),
        ("#1", "#1"),
        ("a: b", "a: b"),
        ("*star", "*star"),
        ("@at", "@at"),
        ("- x", "- x"),
        ("!tag x", "!tag x"),
        (" 5 ", 5),
        ("null", None),
        ("~", None),
        ("", None),
        ("~/x", "~/x"),
        ("false", False),
        ("'5'", "5"),
        ("[a, 5]", ["a", 5]),
        ("{a: [b]}", {"a": ["b"]}),
    ],
)
def test_the_value_of_an_override_is_one_scalar_unless_it_is_quoted_or_in_brackets(text, value):
    assert parse_override_value(text) == value


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=50)
@given(st.recursive(SCALARS | st.text("01e-.:_ yesx#"), st.lists))
def test_written_values_are_read_back_unchanged(value):
    assert parse_yaml(dump_yaml({"key": value})) == {"key": value}
