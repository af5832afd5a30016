"""The training loop: it learns, resumes with identical results, and keeps the best weights."""

import dataclasses
import math
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from genir.errors import GenirError
from genir.training.callbacks import ShowProgress
from genir.training.checkpoints import find_last_checkpoint
from genir.training.examples import Collator, Example
from genir.training.trainer import run_phase, supervised_loss, train
from tests.helpers.loop import CODES, DOCUMENTS, WORDS, make_job, rising, run_training, weights
from tests.helpers.retrievers import with_bm25
from tests.helpers.training import score_in_groups


def stop_at(step):
    """Return a method for ShowProgress that interrupts the training after a step."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == step:
            raise KeyboardInterrupt

    return on_step_end


@pytest.mark.slow
def test_the_batch_size_does_not_depend_on_the_number_of_gpus(make_retriever, tmp_path, monkeypatch):
    sizes = []

    def loss(logps, batch):
        sizes.append(len(batch["leaves"]))
        return supervised_loss(logps, batch)

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    run_training(make_retriever, tmp_path, measure=rising(), loss=loss)
    assert sizes == [8] * 12


@pytest.mark.slow
def test_training_teaches_the_model_to_generate_docids(make_retriever, tmp_path):
    retriever, log = run_training(make_retriever, tmp_path, steps=150, measure=rising())
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert losses[-1] < 0.3 * losses[0]
    assert [hits[0].doc_id for hits in retriever.search_many(WORDS, k=1)] == [f"d{i}" for i in range(6)]
    assert list((tmp_path / "log").glob("events*"))


@pytest.mark.slow
@pytest.mark.parametrize(("step", "experts"), [(3, False), (7, True), (10, True)])
def test_an_interrupted_training_resumes_with_identical_results(make_retriever, tmp_path, monkeypatch, step, experts):
    """The dev measure is an arbitrary function of the weights, so early stopping and best weights are tested too."""
    arguments = {"steps": 40, "measure": arbitrary, "patience": 2, "experts": experts}
    whole, log = run_training(make_retriever, tmp_path / "whole", **arguments)
    with monkeypatch.context() as patch:
        patch.setattr(ShowProgress, "on_step_end", stop_at(step))
        with pytest.raises(KeyboardInterrupt):
            run_training(make_retriever, tmp_path / "cut", **arguments)
    resumed, again = run_training(make_retriever, tmp_path / "cut", **arguments)
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name
    assert [(e["step"], e["eval_RR@10"]) for e in again if "eval_RR@10" in e] == [
        (e["step"], e["eval_RR@10"]) for e in log if "eval_RR@10" in e
    ]


@pytest.fixture(scope="module")
def interrupted(make_retriever, tmp_path_factory):
    """The weights of a finished training, and the folder of the same training when it has been interrupted."""
    folder = tmp_path_factory.mktemp("interrupted")
    whole, _ = run_training(make_retriever, folder / "whole", steps=16, measure=arbitrary)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ShowProgress, "on_step_end", stop_at(9))
        with pytest.raises(KeyboardInterrupt):
            run_training(make_retriever, folder / "cut", steps=16, measure=arbitrary)
    return weights(whole), folder / "cut"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("optimizer.pt", "missing"),
        ("scheduler.pt", "missing"),
        ("optimizer.pt", "damaged"),
        ("model.safetensors", "damaged"),
    ],
)
def test_a_training_resumes_before_a_damaged_checkpoint_with_identical_results(
    make_retriever, interrupted, tmp_path, capsys, name, damage
):
    whole, cut = interrupted
    folder = shutil.copytree(cut, tmp_path / "cut")
    file = folder / "checkpoints" / "checkpoint-8" / name
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-10])
    resumed, _ = run_training(make_retriever, folder, steps=16, measure=arbitrary)
    assert f"checkpoint-8: {name} is {damage}" in capsys.readouterr().out
    for weight, value in whole.items():
        assert torch.equal(value, weights(resumed)[weight]), weight


def arbitrary(retriever):
    """Return a value that depends on the weights in an arbitrary way."""
    return float(retriever.model.t5.shared.weight.detach().double().abs().sum() * 10 % 1)


@pytest.mark.slow
def test_a_full_disk_is_an_error_and_leaves_the_checkpoint_before_usable(make_retriever, tmp_path):
    measure = rising()

    def fill(retriever):
        value = measure(retriever)
        if value == 0.02:  # before the second checkpoint is written
            (tmp_path / "checkpoints" / "checkpoint-8").mkdir()
            (tmp_path / "checkpoints" / "checkpoint-8" / "optimizer.pt").symlink_to("/dev/full")
        return value

    with pytest.raises(GenirError, match="checkpoints: no space left on the disk"):
        run_training(make_retriever, tmp_path, measure=fill)
    assert find_last_checkpoint(tmp_path / "checkpoints") == str(tmp_path / "checkpoints" / "checkpoint-4")


@pytest.mark.slow
def test_training_does_not_resume_from_an_incomplete_checkpoint(make_retriever, tmp_path, monkeypatch):
    monkeypatch.setattr(ShowProgress, "on_step_end", stop_at(9))
    with pytest.raises(KeyboardInterrupt):
        run_training(make_retriever, tmp_path, measure=rising())
    folder = tmp_path / "checkpoints"
    assert find_last_checkpoint(folder) == str(folder / "checkpoint-8")
    (folder / "checkpoint-8" / "manifest.json").unlink()
    assert find_last_checkpoint(folder) == str(folder / "checkpoint-4")
    assert not (folder / "checkpoint-8").exists()


@pytest.mark.slow
def test_training_stops_after_patience_and_keeps_the_best_weights(make_retriever, tmp_path):
    values = iter([0.1, 0.9, 0.8, 0.7, 0.6, 0.5])
    stopped, log = run_training(
        make_retriever, tmp_path / "a", steps=40, measure=lambda retriever: next(values), patience=2
    )
    assert max(entry["step"] for entry in log) == 12
    state = stopped.model.t5.state_dict()
    kept = load_file(tmp_path / "a" / "checkpoints" / "checkpoint-4" / "model.safetensors")
    for name, value in kept.items():
        assert torch.equal(state[name], value), name


@pytest.mark.slow
def test_the_last_step_is_evaluated_and_can_be_the_best(make_retriever, tmp_path):
    retriever, log = run_training(make_retriever, tmp_path, steps=10, measure=rising())
    assert [entry["step"] for entry in log if "eval_RR@10" in entry] == [0, 4, 8, 10]
    last = load_file(tmp_path / "checkpoints" / "checkpoint-10" / "model.safetensors")
    assert all(torch.equal(retriever.model.t5.state_dict()[name], value) for name, value in last.items())


@pytest.mark.slow
def test_gradients_of_micro_batches_add_up_to_those_of_the_batch(make_retriever, tmp_path):
    whole, divided = (
        run_training(make_retriever, tmp_path / str(size), steps=4, measure=rising(), micro_batch=size)[0]
        for size in (None, 3)  # the largest divisor of 8 that is at most 3 is 2
    )
    found = weights(divided)
    assert max((found[name] - value).abs().max().item() for name, value in weights(whole).items()) < 1e-4


@pytest.mark.parametrize("experts", [False, True])
def test_the_loss_of_a_text_is_the_negative_score_of_its_document(make_retriever, experts):
    retriever = make_retriever(CODES, (2, 3))
    if experts:
        retriever = with_bm25(retriever, DOCUMENTS)
    batch = Collator(retriever, 16)([Example(word, i) for i, word in enumerate(WORDS[:3])])
    with torch.no_grad():
        loss = supervised_loss(score_in_groups(retriever, batch), batch)
    scores = [{hit.doc_id: hit.score for hit in hits} for hits in retriever.search_many(WORDS[:3], k=6)]
    assert loss.tolist() == pytest.approx([-scores[i][f"d{i}"] for i in range(3)], abs=1e-5)


@pytest.mark.slow
def test_training_with_one_docid_for_all_documents_changes_nothing(make_retriever, tmp_path):
    """The model then has no choice to make, so that no weight has a gradient."""
    retriever, job = make_job(make_retriever, tmp_path, steps=10, measure=rising(), codes=np.zeros((6, 2), int))
    before = weights(retriever)
    log = train(job)
    assert [entry["loss"] for entry in log if "loss" in entry] == [pytest.approx(math.log(6), abs=1e-4)]
    assert all(torch.equal(before[name], value) for name, value in weights(retriever).items())


@pytest.mark.slow
def test_a_finished_phase_is_loaded_instead_of_trained_again(make_retriever, tmp_path):
    retriever, job = make_job(make_retriever, tmp_path, measure=rising())
    log = run_phase(1, tmp_path, retriever, lambda: job)
    assert {entry["phase"] for entry in log} == {1}
    assert retriever.model.t5 is not job.scorer.t5
    trained = weights(retriever)
    assert all(torch.equal(trained[name], value) for name, value in job.scorer.t5.state_dict().items())
    other = make_retriever(CODES, (2, 3), seed=7)
    assert run_phase(1, tmp_path, other, lambda: pytest.fail("trained again")) == log
    assert all(torch.equal(trained[name], value) for name, value in weights(other).items())


@pytest.mark.slow
def test_embeddings_and_head_learn_at_a_multiple_of_the_learning_rate(make_retriever, tmp_path):
    def first_step(multiplier):
        retriever, job = make_job(make_retriever, tmp_path / str(multiplier), steps=1, measure=rising())
        before = weights(retriever)
        train(
            dataclasses.replace(job, settings=job.settings.model_copy(update={"embedding_lr_multiplier": multiplier}))
        )
        return {name: (value - before[name]).abs().max().item() for name, value in weights(retriever).items()}

    once, thrice = first_step(1.0), first_step(3.0)
    for name, change in once.items():
        wanted = 3 if name in ("shared.weight", "lm_head.weight") or "embed_tokens" in name else 1
        assert thrice[name] == pytest.approx(wanted * change, rel=1e-3), name
