import gzip
import io
import json
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from genir.errors import GenirError
from genir.files.reading import (
    MAX_LINE_BYTES,
    list_folder,
    numbered_lines,
    parse_json_line,
    read_json,
    read_text,
    reading_own_file,
)


def test_lines_are_the_same_with_lf_or_crlf_compressed_or_not_and_with_a_byte_order_mark(tmp_path):
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


def test_files_in_tar_and_zip_archives_are_read_by_their_path(tmp_path):
    content = b"first\nsecond\n"
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("./docs.tsv")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as zipped:
        zipped.writestr("scifact/qrels/test.tsv", content)
    wanted = [(1, "first"), (2, "second")]
    assert list(numbered_lines(tmp_path / "x.tar.gz" / "docs.tsv")) == wanted
    assert list(numbered_lines(tmp_path / "x.zip" / "scifact" / "qrels" / "test.tsv")) == wanted
    for name in ("x.tar.gz", "x.zip"):
        with pytest.raises(GenirError, match=rf"{name}: the archive has no file other\.tsv"):
            list(numbered_lines(tmp_path / name / "other.tsv"))


def test_a_truncated_gzip_file_is_an_error_that_names_the_file_and_line(tmp_path):
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(os.urandom(5000).hex().encode())[:-20])
    with pytest.raises(GenirError, match=r"x\.jsonl\.gz:1: the gzip file is damaged or truncated"):
        list(numbered_lines(path))
    path.write_bytes(b"not gzip")
    with pytest.raises(GenirError, match="damaged"):
        list(numbered_lines(path))


def test_a_damaged_zip_file_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"not zip")
    with pytest.raises(GenirError, match=r"a\.txt:1: the zip file is damaged or truncated"):
        list(numbered_lines(tmp_path / "x.zip" / "a.txt"))


def test_bytes_that_are_not_utf8_are_an_error_that_names_the_line(tmp_path):
    (tmp_path / "x").write_bytes(b"fine\n\xff\xfe\n")
    with pytest.raises(GenirError, match="x:2: not UTF-8"):
        list(numbered_lines(tmp_path / "x"))


def test_a_path_that_is_not_a_readable_file_is_a_one_line_error(tmp_path):
    for path in (tmp_path / "none.jsonl", tmp_path / "none.jsonl.gz", tmp_path):
        with pytest.raises(GenirError, match="cannot be read") as error:
            list(numbered_lines(path))
        assert str(path) in str(error.value)


def test_malformed_json_is_an_error_that_names_the_line(tmp_path):
    (tmp_path / "x.json").write_text('{\n"a": }')
    with pytest.raises(GenirError, match=r"x\.json:2"):
        read_json(tmp_path / "x.json")
    with pytest.raises(GenirError, match="no such file"):
        read_json(tmp_path / "y.json")
    for text in ("[" * 100_000, '{"a":' * 100_000, "9" * 5000):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(GenirError, match=r"x\.json: JSON that exceeds the limits of Python's parser"):
            read_json(tmp_path / "x.json")
    (tmp_path / "z.json").write_bytes(b'"\xff"')
    with pytest.raises(GenirError, match=r"z\.json: not UTF-8"):
        read_json(tmp_path / "z.json")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": }', r"x\.jsonl:7: not valid JSON: .* \(column 7\)"),
        ("9" * 5000, r"x\.jsonl:7: JSON that exceeds the limits of Python's parser: Exceeds the limit"),
        ('{"a": 1, "b": {"c": 2, "c": 2}}', r"x\.jsonl:7: not valid JSON: the key 'c' is given twice"),
        ('{"a": NaN}', r"x\.jsonl:7: not valid JSON: NaN is not a number"),
        ("-Infinity", r"x\.jsonl:7: not valid JSON: -Infinity is not a number"),
        ("[" * 200_000, r"x\.jsonl:7: JSON that exceeds the limits of Python's parser: maximum recursion"),
    ],
)
def test_a_line_that_is_not_readable_json_is_an_error_that_names_it(tmp_path, text, words):
    with pytest.raises(GenirError, match=words):
        parse_json_line(text, tmp_path / "x.jsonl", 7)


def test_a_line_of_json_gives_its_value(tmp_path):
    assert parse_json_line('{"a": [1, null]}', tmp_path / "x.jsonl", 1) == {"a": [1, None]}


@pytest.mark.parametrize("read", ["json", "key", "tensors"])
def test_a_damaged_file_that_genir_wrote_is_an_error_that_names_it(tmp_path, read):
    path = tmp_path / "own"
    save_file({"codes": torch.zeros(3)}, path)
    path.write_bytes({"json": b"{", "key": b"{}", "tensors": path.read_bytes()[:-1]}[read])
    with pytest.raises(GenirError, match="own: damaged"), reading_own_file(path):
        if read == "tensors":
            load_file(path)
        else:
            json.loads(path.read_text())["format"]


def test_a_missing_file_that_genir_wrote_is_an_error_that_names_it(tmp_path):
    with (
        pytest.raises(GenirError, match="own: no such file; copy the complete folder again"),
        reading_own_file(tmp_path / "own") as path,
    ):
        path.read_text()


def read_lines(path):
    return list(numbered_lines(path))


@pytest.mark.parametrize("read", [read_lines, read_json, read_text])
def test_pipes_devices_folders_and_names_that_are_too_long_are_errors_and_nothing_waits(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.gz")
    for path, words in (
        (tmp_path / "pipe", r"it is a pipe or a device"),
        (tmp_path / "pipe.gz", r"it is a pipe or a device"),
        (Path("/dev/zero"), r"it is a pipe or a device"),
        (tmp_path, r"it is a folder"),
        (tmp_path / ("x" * 300), r"File name too long"),
        (tmp_path / "pipe" / "x", r"Not a directory"),
    ):
        with pytest.raises(GenirError, match=rf"cannot be read \({words}\); give the path of a readable file") as error:
            read(path)
        assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize("read", [read_lines, read_json, read_text])
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_file_of_another_user_is_an_error(tmp_path, read):
    (tmp_path / "x").write_text("[]")
    (tmp_path / "x").chmod(0o600)
    os.seteuid(65534)
    try:
        with pytest.raises(GenirError, match=r"x: cannot be read \(Permission denied\)"):
            read(tmp_path / "x")
    finally:
        os.seteuid(0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.zip/x.jsonl"])
def test_a_line_that_is_too_long_is_an_error_before_all_of_it_is_read(tmp_path, name):
    content = b"short\n" + bytes(MAX_LINE_BYTES + 1)
    if name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress(content, 1))
    elif "/" in name:
        with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zipped:
            zipped.writestr("x.jsonl", content)
    else:
        (tmp_path / name).write_bytes(content)
        os.truncate(tmp_path / name, 10**12)  # as a sparse file: a terabyte in one line
    lines = numbered_lines(tmp_path / name)
    assert next(lines) == (1, "short")
    with pytest.raises(GenirError, match=r"x\.jsonl(\.gz)?:2: the line is longer than 100,000,000 bytes"):
        next(lines)


def test_an_encrypted_member_of_a_zip_file_is_an_error(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as zipped:
        zipped.writestr("a.txt", b"text")
    content = bytearray((tmp_path / "x.zip").read_bytes())
    content[6] |= 1  # the flag in the header of the member, and the one in the directory of the archive
    content[content.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(GenirError, match=r"a\.txt: cannot be read \(.*encrypted"):
        read_lines(tmp_path / "x.zip" / "a.txt")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_that_cannot_be_listed_is_an_error_and_a_missing_one_is_empty(tmp_path):
    (tmp_path / "b").touch()
    (tmp_path / "a").mkdir()
    assert list_folder(tmp_path) == ["a", "b"]
    assert list_folder(tmp_path / "none") == []
    with pytest.raises(GenirError, match=r"b: cannot be listed \(Not a directory\)"):
        list_folder(tmp_path / "b")
    (tmp_path / "a").chmod(0)
    os.seteuid(65534)
    try:
        with pytest.raises(GenirError, match=r"cannot be listed \(Permission denied\)"):
            list_folder(tmp_path / "a")
    finally:
        os.seteuid(0)
