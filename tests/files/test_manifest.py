"""Manifests find every kind of damage to the files of a checkpoint."""

import pytest

from genir.files.manifest import can_reuse, claim_work_folder, describe_damage, is_complete, write_manifest


@pytest.fixture
def checkpoint(tmp_path):
    (tmp_path / "optimizer.pt").write_bytes(b"state")
    (tmp_path / "empty").touch()
    write_manifest(tmp_path)
    return tmp_path


def test_a_checkpoint_with_a_manifest_is_complete_and_intact(checkpoint):
    assert is_complete(checkpoint)
    assert describe_damage(checkpoint) is None
    (checkpoint / "manifest.json").unlink()
    assert not is_complete(checkpoint)


@pytest.mark.parametrize(
    ("content", "damage"),
    [(None, "missing"), (b"", "damaged"), (b"stat", "damaged"), (b"statf", "damaged"), (b"state ", "damaged")],
)
def test_a_missing_truncated_or_changed_file_is_named(checkpoint, content, damage):
    (checkpoint / "optimizer.pt").unlink()
    if content is not None:
        (checkpoint / "optimizer.pt").write_bytes(content)
    assert describe_damage(checkpoint) == f"optimizer.pt is {damage}"


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff"])
def test_a_damaged_manifest_is_damage(checkpoint, content):
    (checkpoint / "manifest.json").write_bytes(content)
    assert describe_damage(checkpoint) == "manifest.json is damaged"


@pytest.mark.parametrize("name", ["optimizer.pt", "manifest.json"])
def test_a_damaged_or_incomplete_folder_is_deleted_with_a_note(checkpoint, name, capsys):
    assert can_reuse(checkpoint)
    assert capsys.readouterr().out == ""
    (checkpoint / name).unlink()
    assert not can_reuse(checkpoint)
    assert f"{name} is missing; it is computed again" in " ".join(capsys.readouterr().out.split())
    assert not checkpoint.exists()
    assert not can_reuse(checkpoint)
    assert capsys.readouterr().out == ""


def test_a_work_folder_is_kept_for_the_same_experiment_and_emptied_for_another_one(tmp_path):
    def is_kept(experiment):
        folder = claim_work_folder(tmp_path / "work", experiment)
        kept = (folder / "file").exists()
        (folder / "file").touch()
        return kept

    assert not is_kept([{"steps": 5, "size": 2}, 1])
    assert is_kept([{"size": 2, "steps": 5}, 1])
    assert not is_kept([{"steps": 5, "size": 2}, 2])
    (tmp_path / "work" / "belongs_to").write_bytes(b"")
    assert not is_kept([{"steps": 5, "size": 2}, 2])
    assert is_kept([{"steps": 5, "size": 2}, 2])
