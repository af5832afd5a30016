import gzip
import io
import json
import os
import tarfile
import zipfile

import pytest
import torch
from safetensors.torch import load_file, save_file

from genir.errors import GenirError
from genir.files.reading import numbered_lines, parse_json_line, read_json, reading_own_file


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
    (tmp_path / "z.json").write_bytes(b'"\xff"')
    with pytest.raises(GenirError, match=r"z\.json: not UTF-8"):
        read_json(tmp_path / "z.json")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": }', r"x\.jsonl:7: not valid JSON: .* \(column 7\)"),
        ("9" * 5000, r"x\.jsonl:7: JSON that exceeds the limits of Python's parser: Exceeds the limit"),
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
