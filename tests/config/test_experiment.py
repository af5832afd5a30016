import copy
from functools import reduce
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from genir.config.experiment import Config
from genir.config.schema import BUILDER_SECTIONS, inner_section


def make(**values):
    return Config.model_validate({"name": "x", "collection": {"path": "y"}} | values)


def test_the_training_stages_are_the_sections_of_the_config_in_a_fixed_order():
    assert make().training_stages == ("sft",)
    assert make(irpo={}, ddro={}).training_stages == ("sft", "ddro", "irpo")
    assert make(irpo={}).training_stages == ("sft", "irpo")


def test_a_refinement_stage_starts_from_the_stage_before_it_or_from_a_given_one():
    config = make(ddro={}, irpo={})
    assert (config.start_of("ddro"), config.start_of("irpo")) == ("sft", "ddro")
    assert make(ddro={}, irpo={"start": "sft"}).start_of("irpo") == "sft"
    assert make(irpo={}).start_of("irpo") == "sft"


def test_a_refinement_stage_cannot_start_from_a_stage_that_is_not_before_it():
    with pytest.raises(ValidationError, match=r"ddro\.start: ddro is not an earlier training stage"):
        make(ddro={"start": "ddro"})
    with pytest.raises(ValidationError, match=r"irpo\.start: ddro is not an earlier .*; the stages are sft, irpo"):
        make(irpo={"start": "ddro"})


@pytest.mark.parametrize(
    ("values", "used"),
    [
        ({}, False),
        ({"ddro": {}}, False),
        ({"sft": {"phases": [{"mix": {"spans": 1}}, {"mix": {"pseudo_queries": 1}}]}}, True),
        ({"ddro": {"mix": {"pseudo_queries": 1}}}, True),
    ],
)
def test_pseudo_queries_are_used_if_any_training_mix_contains_them(values, used):
    config = make(**values)
    assert config.trains_on("pseudo_queries") is used
    assert config.trains_on("spans", "pseudo_queries")


def test_the_run_folder_is_runs_dir_and_name():
    assert make(runs_dir="a/b").run_folder == Path("a/b/x")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "my config"])
def test_a_name_that_cannot_be_a_folder_is_an_error(name):
    with pytest.raises(ValidationError, match="cannot be the name of a run folder"):
        make(name=name)
    with pytest.raises(ValidationError, match="too long for the name of a run folder"):
        make(name="é" * 101)


def settings_with_numbers(section, values, place=()):
    """Yield the place of each setting that is a number, in `values` and in the sections inside it."""
    for name, field in section.model_fields.items():
        value = values.get(name)
        if inner := inner_section(field.annotation):
            first = value[0] if isinstance(value, list) else value
            builder = BUILDER_SECTIONS[value["builder"]] if name == "docids" else inner
            if first is not None:
                yield from settings_with_numbers(builder, first, (*place, name, *[0] * isinstance(value, list)))
        elif {int, float} & {field.annotation, *get_args(field.annotation)}:
            yield (*place, name)


@pytest.mark.parametrize("builder", list(BUILDER_SECTIONS))
def test_every_number_has_an_upper_bound_that_the_error_names_with_the_key(builder):
    values = make(docids={"builder": builder}, ddro={}, irpo={}).model_dump()
    places = list(settings_with_numbers(Config, values))
    assert {("threads",), ("baseline", "k1"), ("sft", "phases", 0, "learning_rate")} <= {*places}
    for place in places:
        for wrong in (10**30, float("inf"), float("nan"), True, "1", -(10**30)):
            changed = copy.deepcopy(values)
            reduce(lambda inner, name: inner[name], place[:-1], changed)[place[-1]] = wrong
            with pytest.raises(ValidationError) as error:
                Config.model_validate(changed)
            assert [entry["loc"][-1] for entry in error.value.errors()] == [place[-1]]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"evaluate": {"measures": ["RR@10", "R@1000"]}}, r"evaluate\.measures need 1000 hits .* raise search\.k"),
        ({"sft": {"metric": "R@5"}}, r"sft\.metric R@5 is not among evaluate\.measures"),
        ({"ddro": {"metric": "R@5"}}, r"ddro\.metric R@5 is not among evaluate\.measures"),
        ({"negatives": {"bands": [{"first": 5, "last": 1, "count": 3}]}}, r"bands\.0: last \(1\) is below first \(5\)"),
    ],
)
def test_sections_that_contradict_each_other_are_an_error(values, words):
    with pytest.raises(ValidationError, match=words):
        make(**values)
