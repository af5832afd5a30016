import errno
import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from genir.errors import GenirError
from genir.files.writing import atomic_file, atomic_folder, explain_os_errors, folder_lock, require_space, write_json


def test_a_failed_write_keeps_the_old_file_and_leaves_no_temporary_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(path) as handle:
        handle.write("half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_text_is_written_as_utf8_with_lf_line_ends_into_folders_that_are_created(tmp_path):
    with atomic_file(tmp_path / "new" / "folder" / "a.txt") as handle:
        handle.write("é\n")
    assert (tmp_path / "new" / "folder" / "a.txt").read_bytes() == b"\xc3\xa9\n"


def test_a_failed_folder_keeps_the_old_folder_and_leaves_no_temporary_folder(tmp_path):
    folder = tmp_path / "f"
    with atomic_folder(folder) as new:
        (new / "x").write_text("old")
    with pytest.raises(RuntimeError), atomic_folder(folder) as new:
        (new / "x").write_text("new")
        raise RuntimeError
    assert (folder / "x").read_text() == "old"
    with atomic_folder(folder) as new:
        (new / "y").write_text("new")
    assert [p.name for p in folder.iterdir()] == ["y"]
    assert os.listdir(tmp_path) == ["f"]


def test_a_folder_lock_is_exclusive_until_its_process_ends(tmp_path):
    code = "import sys; from pathlib import Path; from genir.files import folder_lock\n"
    code += "with folder_lock(Path(sys.argv[1])): print('mine', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, tmp_path / "new"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"mine\n"
        with (
            pytest.raises(GenirError, match="new: another process is using this folder"),
            folder_lock(tmp_path / "new"),
        ):
            pass
        other.kill()
    with folder_lock(tmp_path / "new"):
        pass


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "no space left"), (errno.EACCES, "cannot write"), (errno.EROFS, "cannot write")],
)
def test_a_full_or_read_only_disk_is_a_one_line_error(tmp_path, monkeypatch, number, words):
    def refuse(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(GenirError, match=words) as error, atomic_file(tmp_path / "a") as handle:
        handle.write("x")
    assert str(tmp_path / "a") in str(error.value)
    assert os.listdir(tmp_path) == []


FULL = "No space left on device (os error 28)"


@pytest.mark.parametrize(
    "error",
    [
        SafetensorError(f"Error while serializing: I/O error: {FULL}"),
        Exception(FULL),  # raised by tokenizers
        shutil.Error([("source", "target", "[Errno 28] No space left on device")]),  # raised by copytree
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
        RuntimeError("basic_ios::clear: iostream error"),
    ],
)
def test_a_full_disk_is_recognised_in_the_errors_of_libraries(tmp_path, error):
    with pytest.raises(GenirError, match="f: no space left on the disk"), atomic_folder(tmp_path / "f"):
        raise error
    assert os.listdir(tmp_path) == []


def test_torch_on_a_full_disk_is_a_one_line_error(tmp_path):
    (tmp_path / "full").symlink_to("/dev/full")
    for size in (1, 100_000):
        with pytest.raises(GenirError, match="no space left"), explain_os_errors(tmp_path):
            torch.save(torch.zeros(size), tmp_path / "full")


@pytest.mark.parametrize(
    "error", [SafetensorError("header too small"), RuntimeError("shapes differ"), ValueError("x"), OSError("x")]
)
def test_other_errors_are_raised_unchanged(tmp_path, error):
    with pytest.raises(type(error)) as found, atomic_folder(tmp_path / "f"):
        raise error
    assert found.value is error


@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_files_get_the_permissions_that_the_umask_allows(tmp_path, umask):
    """Without a correction, safetensors creates files that only their owner may read."""
    before = os.umask(umask)
    try:
        with atomic_file(tmp_path / "a.safetensors", "wb") as handle:
            save_file({"x": torch.zeros(3)}, handle.name)
        with atomic_folder(tmp_path / "f") as new:
            (new / "g").mkdir()
            save_file({"x": torch.zeros(3)}, new / "g" / "b.safetensors")
    finally:
        os.umask(before)
    for path in (tmp_path / "a.safetensors", tmp_path / "f" / "g" / "b.safetensors"):
        assert path.stat().st_mode & 0o777 == 0o666 & ~umask
        assert load_file(path)["x"].tolist() == [0, 0, 0]


def test_a_file_system_without_permissions_can_be_written_to(tmp_path, monkeypatch):
    def refuse(path, mode):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("pathlib.Path.chmod", refuse)
    with atomic_folder(tmp_path / "f") as new:
        save_file({"x": torch.zeros(3)}, new / "b.safetensors")
    assert load_file(tmp_path / "f" / "b.safetensors")["x"].tolist() == [0, 0, 0]


def test_the_target_of_a_symbolic_link_keeps_its_permissions(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    with atomic_folder(tmp_path / "f") as new:
        (new / "link").symlink_to(secret)
    assert secret.stat().st_mode & 0o777 == 0o600


def test_a_folder_never_replaces_a_file(tmp_path):
    (tmp_path / "f").write_text("mine")
    with pytest.raises(GenirError, match="f: a file is in the place of a folder"), atomic_folder(tmp_path / "f"):
        pass
    assert (tmp_path / "f").read_text() == "mine"
    assert os.listdir(tmp_path) == ["f"]


def test_a_file_in_the_place_of_a_parent_folder_is_a_one_line_error(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(GenirError, match="a file is in the place of a folder"), atomic_file(tmp_path / "runs" / "x"):
        pass


def test_too_little_disk_space_is_an_error_before_anything_is_written(tmp_path):
    require_space(tmp_path / "not" / "there", 1)
    with pytest.raises(GenirError, match="MB are needed, but only"):
        require_space(tmp_path / "not" / "there", 10**18)
    assert os.listdir(tmp_path) == []


def test_json_is_written_readably_and_reads_back_equal(tmp_path):
    value = {"title": "Café", "grades": [0, 1.5, None]}
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert "Café" in text
    assert text.endswith("}\n")
