"""Loggers of training, by the names that transformers gives them."""

import pytest

from genir.errors import GenirError
from genir.training.loggers import make_loggers


def test_tensorboard_writes_to_the_given_folder(tmp_path):
    (logger,) = make_loggers(["tensorboard"], tmp_path / "log")
    assert type(logger).__name__ == "TensorBoardCallback"
    assert list((tmp_path / "log").glob("events*"))
    assert make_loggers([], tmp_path / "none") == []
    assert not (tmp_path / "none").exists()


def test_only_the_main_process_logs(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert make_loggers(["tensorboard"], tmp_path / "log") == []
    assert not (tmp_path / "log").exists()


def test_a_logger_that_is_unknown_or_not_installed_is_an_error(tmp_path):
    with pytest.raises(GenirError, match=r"report_to: unknown logger 'tensorbord'; there are .*tensorboard, .*wandb"):
        make_loggers(["tensorbord"], tmp_path)
    with pytest.raises(GenirError, match=r"report_to: clearml cannot be used: .*clearml"):
        make_loggers(["clearml"], tmp_path)
