import errno
import gzip
import os
import subprocess
import sys

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from genir.errors import GenirError
from genir.files import (
    atomic_file,
    atomic_folder,
    clear_os_errors,
    content_hash,
    folder_lock,
    numbered_lines,
    read_json,
    require_space,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(path) as handle:
        handle.write("half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_failed_folder_leaves_the_old_folder_and_nothing_else(tmp_path):
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


def test_a_folder_belongs_to_one_process_until_that_one_ends(tmp_path):
    code = "import sys; from pathlib import Path; from genir.files import sole_user\n"
    code += "with sole_user(Path(sys.argv[1])): print('mine', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, tmp_path / "new"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"mine\n"
        with pytest.raises(GenirError, match="new: another process is at work"), folder_lock(tmp_path / "new"):
            pass
        other.kill()
    with folder_lock(tmp_path / "new"):
        pass


def test_what_a_killed_process_left_is_cleared_away_and_what_a_living_one_writes_is_not(tmp_path):
    killed = subprocess.run(
        [sys.executable, "-c", "import os, sys; os.makedirs(f'{sys.argv[1]}/.f.{os.getpid()}.tmp/x')", tmp_path]
    )
    assert killed.returncode == 0
    (tmp_path / f".f.{os.getppid()}.tmp").mkdir()
    assert len(os.listdir(tmp_path)) == 2
    with atomic_folder(tmp_path / "f"):
        pass
    assert sorted(os.listdir(tmp_path)) == [f".f.{os.getppid()}.tmp", "f"]


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "no space left"), (errno.EACCES, "cannot write"), (errno.EROFS, "cannot write")],
)
def test_a_full_or_forbidden_disk_is_one_clear_line(tmp_path, monkeypatch, number, words):
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
        Exception(FULL),  # of tokenizers
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
        RuntimeError("basic_ios::clear: iostream error"),
    ],
)
def test_a_full_disk_is_known_from_libraries_that_have_no_os_error(tmp_path, error):
    with pytest.raises(GenirError, match="f: no space left on the disk"), atomic_folder(tmp_path / "f"):
        raise error
    assert os.listdir(tmp_path) == []


def test_torch_on_a_full_disk_is_one_clear_line(tmp_path):
    (tmp_path / "full").symlink_to("/dev/full")
    for size in (1, 100_000):
        with pytest.raises(GenirError, match="no space left"), clear_os_errors(tmp_path):
            torch.save(torch.zeros(size), tmp_path / "full")


@pytest.mark.parametrize(
    "error", [SafetensorError("header too small"), RuntimeError("shapes differ"), ValueError("x"), OSError("x")]
)
def test_other_errors_stay_what_they_are(tmp_path, error):
    with pytest.raises(type(error)) as found, atomic_folder(tmp_path / "f"):
        raise error
    assert found.value is error


@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_files_may_be_read_by_those_whom_the_umask_lets(tmp_path, umask):
    """safetensors itself lets the owner alone."""
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


def test_a_file_system_without_modes_is_written_to(tmp_path, monkeypatch):
    def refuse(path, mode):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("pathlib.Path.chmod", refuse)
    with atomic_folder(tmp_path / "f") as new:
        save_file({"x": torch.zeros(3)}, new / "b.safetensors")
    assert load_file(tmp_path / "f" / "b.safetensors")["x"].tolist() == [0, 0, 0]


def test_what_a_link_in_a_folder_leads_to_is_left_as_it_is(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    with atomic_folder(tmp_path / "f") as new:
        (new / "link").symlink_to(secret)
    assert secret.stat().st_mode & 0o777 == 0o600


def test_a_folder_never_takes_the_place_of_a_file(tmp_path):
    (tmp_path / "f").write_text("mine")
    with pytest.raises(GenirError, match="f: a file stands where a folder is needed"), atomic_folder(tmp_path / "f"):
        pass
    assert (tmp_path / "f").read_text() == "mine"
    assert os.listdir(tmp_path) == ["f"]


def test_a_file_in_the_place_of_a_folder_is_a_clear_error(tmp_path):
    (tmp_path / "runs").write_text("")
    with (
        pytest.raises(GenirError, match="a file stands where a folder is needed"),
        atomic_file(tmp_path / "runs" / "x"),
    ):
        pass


def test_lines_are_the_same_from_lf_crlf_gzip_and_with_a_byte_order_mark(tmp_path):
    wanted = [(1, "a\té"), (2, ""), (3, "c")]
    for name, content in (
        ("lf", "a\té\n\nc\n"),
        ("crlf", "a\té\r\n\r\nc\r\n"),
        ("no-end", "a\té\n\nc"),
        ("bom", "\ufeffa\té\n\nc\n"),
    ):
        (tmp_path / name).write_bytes(content.encode())
        assert list(numbered_lines(tmp_path / name)) == wanted
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content.encode()))
        assert list(numbered_lines(tmp_path / f"{name}.gz")) == wanted


def test_a_gzip_file_cut_short_names_the_file(tmp_path):
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(os.urandom(5000).hex().encode())[:-20])
    with pytest.raises(GenirError, match=r"x\.jsonl\.gz:1: .*cut short"):
        list(numbered_lines(path))
    path.write_bytes(b"not gzip")
    with pytest.raises(GenirError, match="damaged"):
        list(numbered_lines(path))


def test_bytes_that_are_not_utf8_name_the_line(tmp_path):
    (tmp_path / "x").write_bytes(b"fine\n\xff\xfe\n")
    with pytest.raises(GenirError, match="x:2: not UTF-8"):
        list(numbered_lines(tmp_path / "x"))


def test_lines_of_what_is_no_file_are_one_clear_line(tmp_path):
    for path in (tmp_path / "none.jsonl", tmp_path / "none.jsonl.gz", tmp_path):
        with pytest.raises(GenirError, match="cannot be read") as error:
            list(numbered_lines(path))
        assert str(path) in str(error.value)


def test_too_little_disk_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(GenirError, match="MB are needed"):
        require_space(tmp_path / "not" / "there", 10**18)
    assert os.listdir(tmp_path) == []


def test_malformed_json_names_the_line(tmp_path):
    (tmp_path / "x.json").write_text('{\n"a": }')
    with pytest.raises(GenirError, match=r"x\.json:2"):
        read_json(tmp_path / "x.json")
    with pytest.raises(GenirError, match="no such file"):
        read_json(tmp_path / "y.json")
    (tmp_path / "z.json").write_bytes(b'"\xff"')
    with pytest.raises(GenirError, match=r"z\.json: not UTF-8"):
        read_json(tmp_path / "z.json")


def test_a_folder_s_hash_changes_with_names_and_contents_and_is_remembered(tmp_path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "a").write_text("1")
    seen: dict = {}
    first = content_hash(tmp_path / "f", seen)
    assert content_hash(tmp_path / "f", seen) == first == content_hash(tmp_path / "f")
    (tmp_path / "f" / "a").write_text("22")
    second = content_hash(tmp_path / "f", seen)
    (tmp_path / "f" / "a").rename(tmp_path / "f" / "b")
    assert len({first, second, content_hash(tmp_path / "f", seen)}) == 3
