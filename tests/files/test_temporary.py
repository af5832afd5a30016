"""Temporary files and folders: leftovers of killed processes, locks, links, and how a folder is replaced."""

import ctypes
import errno
import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from genir.files import atomic_file, atomic_folder, remove_folder, remove_leftovers, restore_replaced

BEGIN_TO_WRITE = """
import sys
from pathlib import Path
from genir.files import atomic_file, atomic_folder
with atomic_folder(Path(sys.argv[1]) / "f") as new, atomic_file(Path(sys.argv[1]) / "a") as handle:
    (new / "x").write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["exchange", "two renames"])
def way(request, monkeypatch):
    """How folders are replaced: with Linux's renameat2, or as on systems that lack it."""
    if request.param == "two renames":
        monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    return request.param


def names_in(folder):
    return sorted(os.listdir(folder))


def write(folder, text):
    with atomic_folder(folder) as new:
        (new / "x").write_text(text)


def test_leftovers_of_a_killed_process_are_deleted_and_those_of_a_running_one_are_kept(tmp_path):
    command = [sys.executable, "-c", BEGIN_TO_WRITE, tmp_path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"writing\n"
        assert len(names_in(tmp_path)) == 2
        write(tmp_path / "f", "whole")
        with atomic_file(tmp_path / "a") as handle:
            handle.write("whole")
        remove_leftovers(tmp_path)
        assert len(names_in(tmp_path)) == 4
        writer.kill()
    with atomic_file(tmp_path / "a") as handle:
        handle.write("new")
    assert len(names_in(tmp_path)) == 3
    remove_leftovers(tmp_path)
    assert names_in(tmp_path) == ["a", "f"]
    assert (tmp_path / "f" / "x").read_text() == "whole"


def test_other_hidden_files_and_the_files_of_other_names_are_kept(tmp_path):
    for name in (
        ".f.tmp",
        ".lock",
        ".f.0123456789abcdef.tmp.gz",
        ".f.2024.tmp",
        ".f.0123456789ABCDEF.tmp",
        ".f.notes.tmp",
        "f.0123456789abcdef.tmp",
        ".g.0123456789abcdef.tmp",
    ):
        (tmp_path / name).touch()
    before = names_in(tmp_path)
    remove_leftovers(tmp_path, "f")
    write(tmp_path / "f", "x")
    assert names_in(tmp_path) == sorted([*before, "f"])


def test_a_link_that_looks_like_a_temporary_file_is_not_followed(tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "x").write_text("mine")
    (tmp_path / ".f.0123456789abcdef.tmp").symlink_to(tmp_path / "secret")
    write(tmp_path / "f", "new")
    assert (tmp_path / "secret" / "x").read_text() == "mine"


def test_a_folder_is_replaced_and_nothing_is_left(tmp_path, way):
    for text in ("old", "new"):
        write(tmp_path / "f", text)
    assert (tmp_path / "f" / "x").read_text() == "new"
    assert names_in(tmp_path) == ["f"]


def test_the_link_to_a_folder_is_replaced_and_its_target_is_kept(tmp_path, way):
    write(tmp_path / "target", "old")
    (tmp_path / "f").symlink_to(tmp_path / "target")
    write(tmp_path / "f", "new")
    assert (tmp_path / "target" / "x").read_text() == "old"
    assert (tmp_path / "f" / "x").read_text() == "new"
    assert names_in(tmp_path) == ["f", "target"]


def test_a_folder_that_cannot_be_replaced_keeps_its_content(tmp_path, monkeypatch):
    write(tmp_path / "f", "old")
    replace = os.replace

    def fail_on_new(source, target):
        if str(source).endswith(".tmp"):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        replace(source, target)

    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    monkeypatch.setattr(os, "replace", fail_on_new)
    with pytest.raises(OSError, match="busy"):
        write(tmp_path / "f", "new")
    assert [path.read_text() for path in tmp_path.glob("*/x")] == ["old"]
    assert names_in(tmp_path) == ["f"]


def test_a_folder_is_restored_if_the_process_was_killed_between_the_two_renames(tmp_path):
    write(tmp_path / "f", "old")
    (tmp_path / "f").rename(tmp_path / ".f.0123456789abcdef.old")
    restore_replaced(tmp_path / "f")
    assert (tmp_path / "f" / "x").read_text() == "old"
    assert names_in(tmp_path) == ["f"]


def test_an_old_folder_that_was_replaced_is_a_leftover(tmp_path):
    write(tmp_path / "f", "new")
    write(tmp_path / ".f.0123456789abcdef.old", "old")
    remove_leftovers(tmp_path)
    assert (tmp_path / "f" / "x").read_text() == "new"
    assert names_in(tmp_path) == ["f"]


def test_removing_a_folder_removes_a_link_but_not_its_target(tmp_path):
    write(tmp_path / "target", "mine")
    write(tmp_path / "f", "x")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for name in ("f", "link", "missing"):
        remove_folder(tmp_path / name)
    assert names_in(tmp_path) == ["target"]
    assert (tmp_path / "target" / "x").read_text() == "mine"


def test_a_folder_can_be_replaced_beside_processes_that_look_for_leftovers(tmp_path, way):
    stopped = threading.Event()

    def sweep():
        while not stopped.is_set():
            remove_leftovers(tmp_path)

    thread = threading.Thread(target=sweep)
    thread.start()
    try:
        for number in range(30):
            write(tmp_path / "f", str(number))
            assert (tmp_path / "f" / "x").read_text() == str(number)
    finally:
        stopped.set()
        thread.join()
    assert names_in(tmp_path) == ["f"]
