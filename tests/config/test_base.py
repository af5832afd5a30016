import pytest
from pydantic import Field, TypeAdapter, ValidationError

from genir.config.base import MixWeights, Section


class Inner(Section):
    size: int = Field(3)


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
