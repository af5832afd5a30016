"""The trainer callbacks, called as transformers calls them."""

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from genir.files.manifest import is_complete
from genir.training.callbacks import EvaluateLastStep, MarkComplete, ShowProgress


@pytest.fixture
def arguments(tmp_path):
    return TrainingArguments(output_dir=str(tmp_path), report_to="none")


def test_a_saved_checkpoint_is_complete(arguments, tmp_path):
    (tmp_path / "checkpoint-4").mkdir()
    (tmp_path / "checkpoint-8").mkdir()
    MarkComplete().on_save(arguments, TrainerState(global_step=8), TrainerControl())
    assert [path.name for path in tmp_path.iterdir() if is_complete(path)] == ["checkpoint-8"]


@pytest.mark.parametrize(("step", "wanted"), [(9, False), (10, True)])
def test_the_last_step_alone_requests_an_evaluation_and_a_checkpoint(arguments, step, wanted):
    control = TrainerControl()
    EvaluateLastStep().on_step_end(arguments, TrainerState(global_step=step, max_steps=10), control)
    assert (control.should_evaluate, control.should_save) == (wanted, wanted)


def test_each_dev_measure_is_printed_with_its_step_and_the_last_loss(arguments, capsys):
    callback, state, control = ShowProgress("sft", "RR@10"), TrainerState(global_step=0, max_steps=10), TrainerControl()
    callback.on_train_begin(arguments, state, control)
    state.global_step = 5
    callback.on_step_end(arguments, state, control)
    callback.on_log(arguments, state, control, logs={"loss": 1.25})
    callback.on_log(arguments, state, control, logs={"eval_RR@10": 0.5, "eval_nDCG@10": 0.7})
    callback.on_train_end(arguments, state, control)
    shown = capsys.readouterr().err
    assert "step 5: dev RR@10 0.500 loss 1.250" in shown
    assert "continues" not in shown


def test_the_step_after_which_a_training_run_continues_is_printed(arguments, capsys):
    callback = ShowProgress("sft", "RR@10")
    callback.on_train_begin(arguments, TrainerState(global_step=4, max_steps=10), TrainerControl())
    callback.on_train_end(arguments, TrainerState(global_step=10, max_steps=10), TrainerControl())
    assert "continues after step 4" in capsys.readouterr().err
