"""A stage is skipped if nothing has changed, and recorded when it runs."""

import json
import signal

import pytest
import torch

from genir.config import load_config
from genir.errors import GenirError
from genir.pipeline.interrupts import Interrupted
from genir.pipeline.stage import Stage, execute

STAGE = Stage("copy", settings=("baseline",), external=("collection.path",), reads=("in.txt",), writes=("out.txt",))


@pytest.fixture
def run(tmp_path):
    """Return a function that executes the stage with some overrides and returns whether it ran."""
    calls = []
    source = tmp_path / "source.txt"
    source.write_text("source")
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "in.txt").write_text("one")
    (tmp_path / "r.yaml").write_text(f"collection: {{path: {source}}}\nruns_dir: {tmp_path}\n")

    def main(config):
        calls.append(config)
        (config.run_folder / "out.txt").write_text((config.run_folder / "in.txt").read_text().upper())

    def go(*overrides, force=False):
        before = len(calls)
        execute(STAGE, main, load_config(tmp_path / "r.yaml", overrides), force)
        return len(calls) > before

    return go


def test_a_stage_runs_again_only_when_something_it_uses_changed(run, tmp_path):
    assert run()
    assert not run()
    assert not run("threads=1")  # results depend on it, but a change of machine must not repeat a run
    assert not run("search.batch_size=7")  # a setting it does not use
    assert run("baseline.k1=1.2")
    assert run()
    (tmp_path / "r" / "in.txt").write_text("two")
    assert run()
    assert (tmp_path / "r" / "out.txt").read_text() == "TWO"
    (tmp_path / "source.txt").write_text("another source")
    assert run()
    (tmp_path / "r" / "out.txt").write_text("edited by hand")
    assert run()
    (tmp_path / "r" / "out.txt").unlink()
    assert run()
    assert run("seed=2")
    assert run("seed=2", force=True)
    assert not run("seed=2")


def test_the_record_holds_settings_hashes_and_versions(run, tmp_path):
    run()
    record = json.loads((tmp_path / "r" / "stage.json").read_text())["copy"]
    assert record["settings"] == {"baseline": {"backend": "bm25s", "k1": 0.9, "b": 0.4, "stemmer": "english"}}
    assert record["inputs"].keys() == {"in.txt", "collection.path"}
    assert record["outputs"].keys() == {"out.txt"}
    assert record["seconds"] >= 0
    assert record["threads"] == torch.get_num_threads()
    assert 1 < record["peak_memory_mb"] < 20_000
    assert record["versions"].keys() >= {"genir", "torch", "python"}
    assert load_config(tmp_path / "r").baseline.k1 == 0.9


@pytest.mark.parametrize(
    "damage", [b"\xff\xfe", b"{", b"[]", b'{"copy": 3}', b'{"copy": {"inputs": 3}}', b"[" * 200_000]
)
def test_a_damaged_record_is_a_clear_error_and_damaged_hashes_are_recomputed(run, tmp_path, damage):
    run()
    (tmp_path / "r" / ".hashes.json").write_bytes(damage)
    assert not run()
    (tmp_path / "r" / "stage.json").write_bytes(damage)
    with pytest.raises(GenirError, match=r"stage\.json: damaged; .* delete it"):
        run()
    (tmp_path / "r" / "stage.json").unlink()
    assert run()


def test_a_missing_input_is_an_error_that_says_what_to_run(run, tmp_path):
    (tmp_path / "r" / "in.txt").unlink()
    with pytest.raises(GenirError, match=r"in\.txt: missing; run the stages before this one first"):
        run()


def test_an_interrupted_stage_is_not_recorded(tmp_path, run):
    config = load_config(tmp_path / "r.yaml")

    def stop(config):
        raise Interrupted(signal.SIGTERM)

    with pytest.raises(Interrupted) as interrupted:
        execute(STAGE, stop, config)
    assert "the same command continues" in interrupted.value.__notes__[0]
    assert not (tmp_path / "r" / "stage.json").exists()


def test_a_stage_that_runs_again_prints_the_reason(run, capsys):
    run()
    assert "runs again" not in capsys.readouterr().out
    run("baseline.k1=1.2")
    assert "runs again: setting baseline.k1 changed from 0.9 to 1.2" in capsys.readouterr().out
    run("baseline.k1=1.2", force=True)
    assert "runs again: --force" in capsys.readouterr().out


def test_a_stage_warns_of_inputs_that_were_changed_after_the_stage_that_writes_them(run, tmp_path, capsys):
    (tmp_path / "r" / "in.txt").unlink()
    writer = Stage("writer", writes=("in.txt", "other.txt?"))
    config = load_config(tmp_path / "r.yaml")
    execute(writer, lambda config: (tmp_path / "r" / "in.txt").write_text("one"), config)
    assert run()
    assert "warning" not in capsys.readouterr().out
    (tmp_path / "r" / "in.txt").write_text("two")
    assert run()
    shown = " ".join(capsys.readouterr().out.split())
    assert "in.txt was changed after the stage writer wrote it; `genir run` writes it again" in shown
