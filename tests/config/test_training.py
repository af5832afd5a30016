import pytest
from pydantic import ValidationError

from genir.config.training import DDROConfig, IRPOConfig, PreferenceConfig, SFTConfig


def test_supervised_training_has_one_phase_by_default_and_needs_at_least_one():
    assert len(SFTConfig().phases) == 1
    with pytest.raises(ValidationError, match="phases"):
        SFTConfig(phases=[])


def test_the_refinement_stages_differ_in_the_defaults_of_loss_and_metric_only():
    ddro, irpo = DDROConfig().model_dump(), IRPOConfig().model_dump()
    assert {name for name in ddro if ddro[name] != irpo[name]} == {"loss", "metric"}
    assert (ddro["loss"], irpo["loss"]) == ("ddro", "irpo")


@pytest.mark.parametrize(
    ("key", "value"), [("beta", 0), ("candidates_per_step", 1), ("beam_candidates", -1), ("loss", "dpo"), ("rounds", 0)]
)
def test_values_that_cannot_train_are_errors(key, value):
    with pytest.raises(ValidationError, match=key):
        PreferenceConfig(**{key: value})
