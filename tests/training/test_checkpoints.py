"""The work folder of a training stage: finding checkpoints, keeping them for equal settings and data, deleting them."""

import json

import numpy as np
import pytest

from genir.config import load_config
from genir.files.manifest import write_manifest
from genir.retriever import Retriever
from genir.training.checkpoints import (
    delete_work_folder,
    find_last_checkpoint,
    prepare_work_folder,
    save_trained_retriever,
)


@pytest.fixture
def config(tmp_path):
    (tmp_path / "c.yaml").write_text(f"collection: {{path: data}}\nruns_dir: {tmp_path / 'runs'}\n")
    loaded = load_config(tmp_path / "c.yaml")
    (loaded.run_folder / "docids").mkdir(parents=True)
    (loaded.run_folder / "docids" / "codes").write_text("1 2")
    return loaded


def test_the_complete_checkpoint_of_the_highest_step_is_found_and_incomplete_ones_are_deleted(tmp_path):
    assert find_last_checkpoint(tmp_path) is None
    for step in (8, 16, 100, 200):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
        if step < 200:
            write_manifest(tmp_path / f"checkpoint-{step}")
    assert find_last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-100")
    assert not (tmp_path / "checkpoint-200").exists()


def test_a_checkpoint_whose_best_weights_are_damaged_is_not_used(tmp_path, capsys):
    for step, best in ((4, 4), (8, 8), (12, 8)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "model.safetensors").write_text(f"weights of step {step}")
        state = {"best_model_checkpoint": str(tmp_path / f"checkpoint-{best}")}
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(json.dumps(state))
        write_manifest(tmp_path / f"checkpoint-{step}")
    assert find_last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-12")
    (tmp_path / "checkpoint-8" / "model.safetensors").write_text("weights of step 9")
    assert find_last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")
    assert "checkpoint-8: model.safetensors is damaged" in capsys.readouterr().out


def test_the_best_weights_are_found_again_after_the_run_folder_was_moved(tmp_path):
    (tmp_path / "old" / "checkpoint-4").mkdir(parents=True)
    state = {"best_model_checkpoint": str(tmp_path / "old" / "checkpoint-4"), "global_step": 4}
    (tmp_path / "old" / "checkpoint-4" / "trainer_state.json").write_text(json.dumps(state))
    write_manifest(tmp_path / "old" / "checkpoint-4")
    (tmp_path / "old").rename(tmp_path / "new")
    for _ in range(2):
        found = find_last_checkpoint(tmp_path / "new")
        assert found == str(tmp_path / "new" / "checkpoint-4")
        state = json.loads((tmp_path / "new" / "checkpoint-4" / "trainer_state.json").read_text())
        assert state == {"best_model_checkpoint": found, "global_step": 4}


def test_a_work_folder_is_kept_as_long_as_settings_seed_and_inputs_are_equal(config):
    def is_kept(settings, config=config):
        work = prepare_work_folder(config, "sft", settings, ["docids"])
        assert work == config.run_folder / "checkpoints" / "sft"
        kept = (work / "file").exists()
        (work / "file").touch()
        return kept

    assert not is_kept({"steps": 5})
    assert is_kept({"steps": 5})
    assert not is_kept({"steps": 6})
    (config.run_folder / "docids" / "codes").write_text("2 1")
    assert not is_kept({"steps": 6})
    assert is_kept({"steps": 6})
    assert not is_kept({"steps": 6}, config.model_copy(update={"seed": 7}))


def test_deleting_a_work_folder_leaves_those_of_other_stages(config):
    folders = [prepare_work_folder(config, name, {}, []) for name in ("sft", "ddro")]
    delete_work_folder(folders[0])
    assert folders[1].exists()
    delete_work_folder(folders[1])
    assert not (config.run_folder / "checkpoints").exists()


def test_the_work_folders_may_be_on_another_disk(config, tmp_path):
    (tmp_path / "disk").mkdir()
    (config.run_folder / "checkpoints").symlink_to(tmp_path / "disk")
    work = prepare_work_folder(config, "sft", {}, [])
    assert (tmp_path / "disk" / "sft").is_dir()
    delete_work_folder(work)
    assert not any((tmp_path / "disk").iterdir())
    assert (config.run_folder / "checkpoints").is_symlink()


def test_the_retriever_and_its_log_are_saved_and_the_best_dev_measure_is_printed(config, make_retriever, capsys):
    retriever = make_retriever(np.array([[0], [1]]), (2,))
    log = [{"step": 0, "eval_RR@10": 0.25}, {"loss": 2.0}, {"step": 5, "eval_RR@10": 0.75}]
    save_trained_retriever(config, "sft", retriever, log, prepare_work_folder(config, "sft", {}, []))
    assert json.loads((config.run_folder / "sft" / "log.json").read_text()) == log
    assert Retriever.from_pretrained(config.run_folder / "sft").table.doc_ids == ["d0", "d1"]
    assert not (config.run_folder / "checkpoints").exists()
    assert "sft: dev RR@10 0.750" in capsys.readouterr().out
