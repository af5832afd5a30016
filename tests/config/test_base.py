import pytest
from pydantic import Field, TypeAdapter, ValidationError

from genir.config.base import MixWeights, PathText, Section


class Inner(Section):
    size: int = Field(3)
    rate: float = Field(0.5)
    on: bool = Field(False)
    name: str = Field("x")


def test_values_cannot_be_changed_after_they_are_read():
    section = Inner(size=4)
    with pytest.raises(ValidationError, match="frozen"):
        section.size = 5
    assert section.size == 4


def test_an_unknown_key_is_an_error():
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Inner(sizes=4)


@pytest.mark.parametrize("weights", [{"spans": 2}, {"spans": 0, "queries": 0.1}, {"pseudo_queries": 1.0}])
def test_weights_of_a_mix_need_not_sum_to_one(weights):
    assert TypeAdapter(MixWeights).validate_python(weights) == weights


@pytest.mark.parametrize(
    "weights",
    [{}, {"spans": 0}, {"spans": -1, "queries": 2}, {"spans": float("inf")}, {"spans": float("nan")}, {"x": 1}],
)
def test_a_mix_needs_known_kinds_finite_weights_and_one_above_zero(weights):
    with pytest.raises(ValidationError):
        TypeAdapter(MixWeights).validate_python(weights)


@pytest.mark.parametrize(
    "values",
    [{"size": "4"}, {"size": True}, {"size": 4.0}, {"rate": "1"}, {"rate": True}, {"rate": float("nan")},
     {"rate": float("inf")}, {"on": 1}, {"on": "yes"}, {"name": 5}],
)  # fmt: skip
def test_values_of_another_type_and_numbers_that_are_not_finite_are_errors(values):
    with pytest.raises(ValidationError, match=r"valid|finite"):
        Inner.model_validate(values)
    assert Inner(rate=1).rate == 1.0


def test_paths_are_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("SETS", "/sets")
    parse = TypeAdapter(PathText).validate_python
    expected = {
        "~/x": "/home/me/x",
        "$HOME/x": "/home/me/x",
        "${SETS}/y/../z": "/sets/y/../z",
        "./x": "./x",
        "irds:beir/x": "irds:beir/x",
        "a~b": "a~b",
    }
    assert {text: parse(text) for text in expected} == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        ("$NO_SUCH_VARIABLE/x", r"the environment variable \$NO_SUCH_VARIABLE is not set"),
        ("~no-such-user/x", "there is no user ~no-such-user"),
        ("a\0b", "contains a control character"),
        ("x/" + "y" * 256, "too long for a path"),
        ("x/" * 3000, "too long for a path"),
    ],
)
def test_a_text_that_cannot_be_a_path_is_an_error(text, words):
    with pytest.raises(ValidationError, match=words):
        TypeAdapter(PathText).validate_python(text)


@pytest.mark.parametrize("name", ["q$NO_SUCH_VARIABLE", "p$HOME", "~x"])
def test_a_path_that_exists_is_not_expanded(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    parse = TypeAdapter(PathText).validate_python
    for text in (name, str(tmp_path / name)):
        assert parse(text) == text
