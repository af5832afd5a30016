"""Manifests find every kind of damage to the files of a checkpoint."""

import pytest

from genir.training.manifest import find_damage, is_complete, write_manifest


@pytest.fixture
def checkpoint(tmp_path):
    (tmp_path / "optimizer.pt").write_bytes(b"state")
    (tmp_path / "empty").touch()
    write_manifest(tmp_path)
    return tmp_path


def test_a_checkpoint_with_a_manifest_is_complete_and_intact(checkpoint):
    assert is_complete(checkpoint)
    assert find_damage(checkpoint) is None
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
    assert find_damage(checkpoint) == f"optimizer.pt is {damage}"


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff"])
def test_a_damaged_manifest_is_damage(checkpoint, content):
    (checkpoint / "manifest.json").write_bytes(content)
    assert find_damage(checkpoint) == "manifest.json is damaged"
