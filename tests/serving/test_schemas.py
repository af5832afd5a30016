"""The examples of answers in the OpenAPI description are valid."""

import pytest
from pydantic import TypeAdapter

from genir.serving import schemas
from genir.serving.schemas import ExplainResult


def test_the_examples_are_valid_and_an_explanation_adds_up():
    models = [x for x in vars(schemas).values() if isinstance(x, type) and hasattr(x, "model_config")]
    examples = [(x, y) for x in models for y in x.model_config.get("json_schema_extra", {}).get("examples", [])]
    assert len(examples) >= 4
    for model, example in examples:
        assert TypeAdapter(model).validate_python(example).model_dump(exclude_unset=True) == example
    found = ExplainResult.model_validate(ExplainResult.model_config["json_schema_extra"]["examples"][0])
    assert found.score == pytest.approx(found.prior + found.model)
