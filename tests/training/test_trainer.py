"""The training loop: it learns, it resumes to the same weights, and it keeps the best ones."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

import genir.training.trainer
from genir.config import SFTConfig
from genir.errors import GenirError
from genir.records import Document
from genir.tokenizer import tokenize
from genir.training.checkpoints import last_checkpoint
from genir.training.examples import Collator, ExampleStream, LabelledQuery
from genir.training.trainer import Places, fit, negative_log_likelihood

WORDS = ["owl", "tea", "ice", "rail", "moss", "clock"]
DOCUMENTS = [Document(f"d{i}", word, f"{word} stands alone") for i, word in enumerate(WORDS)]
CODES = np.array([[i // 3, i % 3] for i in range(6)])


def train(make_retriever, folder, steps=12, measure=None, loss=negative_log_likelihood, **settings):
    retriever = make_retriever(CODES, (2, 3))
    settings = SFTConfig(batch_size=8, eval_steps=4, warmup_steps=2, embedding_lr_multiplier=1.0, **settings)
    queries = [LabelledQuery(word, (i,), (1,)) for i, word in enumerate(WORDS)]
    log = fit(
        retriever.model,
        ExampleStream(steps * 8, 1, {"queries": 1.0}, DOCUMENTS, queries, [], settings),
        Collator(retriever.tokenizer, CODES, 16),
        loss,
        lambda: {"RR@10": measure(retriever)},
        settings,
        steps,
        0.01,
        seed=1,
        places=Places(folder / "checkpoints", folder / "log"),
        title="test",
    )
    return retriever, log


def rising():
    """A dev measure that always rises, so that the last weights are the best ones."""
    calls = iter(range(100))
    return lambda retriever: next(calls) / 100


def weights(retriever):
    return {name: value.clone() for name, value in retriever.model.t5.state_dict().items()}


class StopAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt


def test_a_batch_is_as_large_where_there_are_two_gpus(make_retriever, tmp_path, monkeypatch):
    sizes = []

    def loss(model, batch):
        sizes.append(len(batch["input_ids"]))
        return negative_log_likelihood(model, batch)

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    train(make_retriever, tmp_path, measure=rising(), loss=loss)
    assert sizes == [8] * 12


def test_it_learns_to_write_docids(make_retriever, tmp_path):
    retriever, log = train(make_retriever, tmp_path, steps=150, measure=rising())
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert losses[-1] < 0.3 * losses[0]
    assert [hits[0].doc_id for hits in retriever.search_many(WORDS, k=1)] == [f"d{i}" for i in range(6)]
    assert list((tmp_path / "log").glob("events*"))


@pytest.mark.parametrize("step", [3, 7, 10])
def test_a_killed_training_resumes_to_the_same_weights(make_retriever, tmp_path, monkeypatch, step):
    """The dev measure is an arbitrary function of the weights, so choosing the best and stopping early count too."""
    whole, log = train(make_retriever, tmp_path / "whole", steps=40, measure=arbitrary, patience=2)
    with monkeypatch.context() as patch:
        patch.setattr(genir.training.trainer, "ShowProgress", lambda *args: StopAt(step))
        with pytest.raises(KeyboardInterrupt):
            train(make_retriever, tmp_path / "cut", steps=40, measure=arbitrary, patience=2)
    resumed, again = train(make_retriever, tmp_path / "cut", steps=40, measure=arbitrary, patience=2)
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name
    assert [(e["step"], e["eval_RR@10"]) for e in again if "eval_RR@10" in e] == [
        (e["step"], e["eval_RR@10"]) for e in log if "eval_RR@10" in e
    ]


def arbitrary(retriever):
    """A dev measure that is a function of the weights, but no sensible one."""
    return float(retriever.model.t5.shared.weight.detach().double().abs().sum() * 10 % 1)


def test_a_disk_that_fills_up_is_one_line_and_the_training_goes_on_from_before(make_retriever, tmp_path):
    measure = rising()

    def fill(retriever):
        value = measure(retriever)
        if value == 0.02:  # the second checkpoint is about to be written
            (tmp_path / "checkpoints" / "checkpoint-8").mkdir()
            (tmp_path / "checkpoints" / "checkpoint-8" / "optimizer.pt").symlink_to("/dev/full")
        return value

    with pytest.raises(GenirError, match="checkpoints: no space left on the disk"):
        train(make_retriever, tmp_path, measure=fill)
    assert last_checkpoint(tmp_path / "checkpoints") == str(tmp_path / "checkpoints" / "checkpoint-4")


def test_a_half_written_checkpoint_is_not_used(make_retriever, tmp_path, monkeypatch):
    monkeypatch.setattr(genir.training.trainer, "ShowProgress", lambda *args: StopAt(9))
    with pytest.raises(KeyboardInterrupt):
        train(make_retriever, tmp_path, measure=rising())
    folder = tmp_path / "checkpoints"
    assert last_checkpoint(folder) == str(folder / "checkpoint-8")
    (folder / "checkpoint-8" / "complete").unlink()
    assert last_checkpoint(folder) == str(folder / "checkpoint-4")
    assert not (folder / "checkpoint-8").exists()


def test_the_weights_best_on_dev_are_kept_and_patience_stops(make_retriever, tmp_path):
    values = iter([0.1, 0.9, 0.8, 0.7, 0.6, 0.5])
    stopped, log = train(make_retriever, tmp_path / "a", steps=40, measure=lambda retriever: next(values), patience=2)
    assert max(entry["step"] for entry in log) == 12
    state = stopped.model.t5.state_dict()
    kept = load_file(tmp_path / "a" / "checkpoints" / "checkpoint-4" / "model.safetensors")
    for name, value in kept.items():
        assert torch.equal(state[name], value), name


def test_the_last_step_is_measured_and_can_be_the_best(make_retriever, tmp_path):
    retriever, log = train(make_retriever, tmp_path, steps=10, measure=rising())
    assert [entry["step"] for entry in log if "eval_RR@10" in entry] == [0, 4, 8, 10]
    last = load_file(tmp_path / "checkpoints" / "checkpoint-10" / "model.safetensors")
    assert all(torch.equal(retriever.model.t5.state_dict()[name], value) for name, value in last.items())


def test_the_loss_is_the_mean_negative_log_probability(make_retriever):
    retriever = make_retriever(CODES, (2, 3))
    batch = tokenize(retriever.tokenizer, WORDS[:3], 16) | {"codes": torch.from_numpy(CODES[:3]).unsqueeze(1)}
    with torch.no_grad():
        loss = negative_log_likelihood(retriever.model, batch)
    scores = [{hit.doc_id: hit.score for hit in hits} for hits in retriever.search_many(WORDS[:3], k=6)]
    assert loss.tolist() == pytest.approx([-scores[i][f"d{i}"] for i in range(3)], abs=1e-5)
