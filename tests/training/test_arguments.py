"""The arguments of the Trainer, and how a batch is divided."""

import pytest

from genir.errors import GenirError
from genir.training.arguments import make_training_arguments, split_batch


@pytest.mark.parametrize(
    ("batch_size", "micro_batch", "processes", "expected"),
    [(64, None, 1, (64, 1)), (64, 32, 1, (32, 2)), (64, 24, 2, (16, 2)), (6, 4, 2, (3, 1)), (7, 5, 1, (1, 7))],
)
def test_a_batch_is_divided_evenly(monkeypatch, batch_size, micro_batch, processes, expected):
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    assert split_batch(batch_size, micro_batch) == expected


def test_a_setting_of_accelerate_does_not_change_the_precision(monkeypatch, tmp_path):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    assert make_training_arguments(tmp_path, 1, 1).mixed_precision == "no"


def test_a_batch_that_cannot_be_divided_evenly_is_an_error(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(GenirError, match="batch_size=64 cannot be divided evenly over 3 processes"):
        split_batch(64, None)
