import hashlib
import json
import os

import pytest

from genir.errors import GenirError
from genir.files.hashing import content_hash, find_damage, hash_files


def test_the_hash_of_a_file_is_the_sha256_of_its_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"owls hunt at night")
    assert content_hash(tmp_path / "a") == hashlib.sha256(b"owls hunt at night").hexdigest()


def test_the_hash_of_a_folder_changes_with_the_names_and_contents_of_its_files(tmp_path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "a").write_text("1")
    cache: dict = {}
    first = content_hash(tmp_path / "f", cache)
    assert content_hash(tmp_path / "f", cache) == first == content_hash(tmp_path / "f")
    (tmp_path / "f" / "a").write_text("22")
    second = content_hash(tmp_path / "f", cache)
    (tmp_path / "f" / "a").rename(tmp_path / "f" / "b")
    assert len({first, second, content_hash(tmp_path / "f", cache)}) == 3


def test_the_hash_of_a_folder_does_not_depend_on_where_it_is(tmp_path):
    for place in ("x", "y"):
        (tmp_path / place / "sub").mkdir(parents=True)
        (tmp_path / place / "sub" / "a").write_text("1")
    assert content_hash(tmp_path / "x") == content_hash(tmp_path / "y")


def test_only_the_model_card_of_a_retriever_is_left_out(tmp_path):
    (tmp_path / "README.md").write_text("one")
    as_folder = content_hash(tmp_path)
    (tmp_path / "genir.json").write_text("{}")
    as_retriever = content_hash(tmp_path)
    (tmp_path / "README.md").write_text("another")
    assert content_hash(tmp_path) == as_retriever
    (tmp_path / "genir.json").unlink()
    assert content_hash(tmp_path) != as_folder


def test_a_file_is_read_again_only_if_its_size_or_modification_time_changed(tmp_path):
    path = tmp_path / "a"
    path.write_text("one")
    cache: dict = {}
    first = content_hash(path, cache)
    cache = json.loads(json.dumps(cache))  # the cache survives being saved as JSON
    stat = path.stat()
    path.write_text("two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert content_hash(path, cache) == first
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert content_hash(path, cache) == hashlib.sha256(b"two").hexdigest()


def test_the_hash_of_a_folder_changes_with_files_behind_linked_folders(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_text("1")
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "linked").symlink_to(tmp_path / "real")
    first = content_hash(tmp_path / "f")
    (tmp_path / "real" / "a").write_text("2")
    assert content_hash(tmp_path / "f") != first
    (tmp_path / "copy" / "linked").mkdir(parents=True)
    (tmp_path / "copy" / "linked" / "a").write_text("2")
    assert content_hash(tmp_path / "f") == content_hash(tmp_path / "copy")


def test_a_link_to_a_parent_folder_is_not_followed(tmp_path):
    (tmp_path / "f" / "sub").mkdir(parents=True)
    (tmp_path / "f" / "sub" / "a").write_text("1")
    first = content_hash(tmp_path / "f")
    (tmp_path / "f" / "sub" / "up").symlink_to(tmp_path / "f")
    assert content_hash(tmp_path / "f") == first


def test_the_list_of_hashes_finds_missing_and_changed_files_and_ignores_new_ones(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("list.json", "a", "sub/b"):
        (tmp_path / name).write_text(name)
    hashes = hash_files(tmp_path, "list.json")
    assert hashes == {name: hashlib.sha256(name.encode()).hexdigest() for name in ("a", "sub/b")}
    (tmp_path / "new").touch()
    (tmp_path / "list.json").write_text("{}")
    assert find_damage(tmp_path, hashes) is None
    (tmp_path / "sub" / "b").write_text("sub/c")
    assert find_damage(tmp_path, hashes) == (tmp_path / "sub" / "b", "is damaged")
    (tmp_path / "a").unlink()
    assert find_damage(tmp_path, hashes) == (tmp_path / "a", "is missing")


def test_a_pipe_has_no_hash(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(GenirError, match=r"pipe: cannot be read \(it is a pipe or a device\)"):
        content_hash(tmp_path / "pipe")
    assert content_hash(tmp_path) == content_hash(tmp_path, {})  # as in a folder without files
