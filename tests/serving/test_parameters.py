"""What requests are accepted, and that their examples are valid."""

import pytest
from pydantic import TypeAdapter, ValidationError

from genir.serving import parameters
from genir.serving.parameters import RankRequest, SearchParameters, SearchRequest


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, "give either query"),
        ({"queries": ["x", ""]}, "the query is empty"),
        ({"queries": ["x"] * 11, "k": 1000}, "at most 10,000 hits"),
    ],
)
def test_searches_that_make_no_sense_are_refused(body, problem):
    with pytest.raises(ValidationError, match=problem):
        SearchRequest.model_validate(body)


def test_one_query_and_many_are_accepted():
    assert SearchRequest(query="x").texts == ["x"]
    assert SearchRequest(queries=["x", "y"], k=1000).texts == ["x", "y"]
    for model, others in [(SearchParameters, {}), (RankRequest, {"doc_ids": ["d"]})]:
        with pytest.raises(ValidationError, match="the query is empty"):
            model.model_validate({"query": "", **others})


def test_the_examples_are_valid():
    models = [x for x in vars(parameters).values() if isinstance(x, type) and hasattr(x, "model_config")]
    examples = [(x, y) for x in models for y in x.model_config.get("json_schema_extra", {}).get("examples", [])]
    assert len(examples) >= 2
    for model, example in examples:
        assert TypeAdapter(model).validate_python(example).model_dump(exclude_unset=True) == example
