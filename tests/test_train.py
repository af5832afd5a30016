"""genir train: the sequence of training stages, and the retriever folder that it writes."""

import json
import math
import shutil

import pytest
import torch
import typer
from typer.testing import CliRunner

import genir.train
from genir.config import load_config
from genir.errors import GenirError
from genir.pipeline.staleness import wanted_state
from genir.pipeline.status import stage_states
from genir.retriever import Retriever
from genir.t5.loading import load_t5
from genir.training import refine, sft
from indexing import build_docids
from tests.helpers.beir import small_beir
from tests.helpers.training import copy_run, make_trained_run

SFT_ONLY = ("ddro=null", "irpo=null")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return make_trained_run(small_beir(folder / "beir"), folder)


@pytest.fixture
def config(trained, tmp_path):
    return copy_run(trained, tmp_path)


@pytest.mark.parametrize(("gpus", "processes", "is_noted"), [(8, 1, True), (8, 8, False), (1, 1, False), (0, 1, False)])
def test_several_gpus_of_which_one_is_used_are_noted(monkeypatch, capsys, gpus, processes, is_noted):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    genir.train.note_unused_gpus()
    assert ("torchrun --nproc-per-node 8 -m genir run CONFIG" in capsys.readouterr().out) == is_noted


def run_train(config, *overrides):
    app = typer.Typer()
    app.command()(genir.train.command)
    return CliRunner().invoke(app, [str(config.run_folder), *overrides])


@pytest.mark.slow
def test_each_stage_starts_from_the_one_before_and_the_last_one_becomes_the_retriever(config):
    assert run_train(config).exit_code == 0
    for name in ("ddro", "irpo"):
        log = json.loads((config.run_folder / name / "log.json").read_text())
        evaluations = [entry for entry in log if "eval_RR@10" in entry]
        assert [entry["step"] for entry in evaluations] == [0, 3, 6]
        assert evaluations[0]["eval_margin"] == pytest.approx(0, abs=1e-4)  # policy and reference are equal at first
        for key in ("positive_logp", "negative_logp", "accuracy", "ches"):
            assert math.isfinite(evaluations[-1][f"eval_{key}"])
    last, delivered = (load_t5(str(config.run_folder / name)).state_dict() for name in ("irpo", "retriever"))
    assert all(torch.equal(last[name], delivered[name]) for name in last)
    assert not (config.run_folder / "retriever" / "log.json").exists()
    assert run_train(config).output.count("up to date") == 4


@pytest.mark.slow
def test_an_edited_retriever_is_kept_and_never_overwritten(config):
    """The edit is one that `genir docids --remove` makes."""
    assert run_train(config, *SFT_ONLY).exit_code == 0
    folder = config.run_folder / "retriever"
    for card in (folder / "README.md", config.run_folder / "sft" / "README.md"):
        card.write_text("a card that its owner edited")
    assert run_train(config, *SFT_ONLY).output.count("up to date") == 2
    retriever = Retriever.from_pretrained(folder)
    retriever.remove(["d3"])
    retriever.save_pretrained(folder)
    for _ in range(2):
        again = run_train(config, *SFT_ONLY)
        assert again.exit_code == 0
        assert "edited after training, so it is kept" in " ".join(again.output.split())
        assert len(Retriever.from_pretrained(folder).table) == 11
    trained = run_train(config, *SFT_ONLY, "sft.phases.0.steps=5")
    assert isinstance(trained.exception, GenirError)
    assert "the newly trained retriever in sft would replace it" in str(trained.exception)
    assert len(Retriever.from_pretrained(folder).table) == 11
    shutil.rmtree(folder)
    after = run_train(config, *SFT_ONLY, "sft.phases.0.steps=5")
    assert after.output.count("up to date") == 1  # no stage is trained again
    assert len(Retriever.from_pretrained(folder).table) == 12


@pytest.mark.slow
def test_an_incomplete_or_damaged_retriever_is_copied_again(config):
    assert run_train(config, *SFT_ONLY).exit_code == 0
    folder, before = config.run_folder / "retriever", json.loads((config.run_folder / "stage.json").read_text())
    weights = (folder / "model.safetensors").read_bytes()
    for damaged in (None, weights[:-1] + bytes([weights[-1] ^ 1])):
        (folder / "model.safetensors").unlink()
        if damaged is not None:
            (folder / "model.safetensors").write_bytes(damaged)
        assert {x.name: x.state for x in stage_states(config)}["retriever"] == "stale"
        assert run_train(config, *SFT_ONLY).exit_code == 0
        assert (folder / "model.safetensors").read_bytes() == weights
    assert run_train(config, *SFT_ONLY, "sft.phases.0.steps=5").exit_code == 0
    records = json.loads((config.run_folder / "stage.json").read_text())
    # Simulates a process that was killed after it had copied the retriever and before it wrote the record.
    (config.run_folder / "stage.json").write_text(json.dumps(records | {"retriever": before["retriever"]}))
    (config.run_folder / ".hashes.json").write_text("[")
    again = run_train(config, *SFT_ONLY, "sft.phases.0.steps=5")
    assert again.exit_code == 0
    assert "kept" not in again.output


@pytest.mark.parametrize(
    ("stage", "setting"),
    [
        (sft.STAGE, "model.pretrained"),
        (sft.STAGE, "model.tokenizer"),
        (refine.make_refinement_stage("ddro", "sft"), "ddro.teacher"),
        (build_docids.STAGE, "model.pretrained"),
        (build_docids.STAGE, "model.tokenizer"),
    ],
)
def test_a_stage_depends_on_the_contents_of_local_files_that_its_settings_name(tmp_path, stage, setting):
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "file").write_text("one")
    (tmp_path / "c.yaml").write_text("collection: {path: x}")
    config = load_config(tmp_path / "c.yaml", [f"{setting}={tmp_path / 'local'}"])

    def inputs():
        return wanted_state(config, stage.settings, (), stage.external, {})["inputs"]

    first = inputs()
    assert inputs() == first
    (tmp_path / "local" / "file").write_text("two")
    assert inputs().keys() == first.keys() == {setting}
    assert inputs() != first
