"""Sets of BEIR, made by the prepare stage from their zip files."""

import os
import zipfile

import pytest

from genir.collection.published import find_published
from genir.errors import GenirError
from tests.helpers.beir import left_behind, write_beir


@pytest.fixture
def zipped(tmp_path):
    """The zip of a BEIR set, with its folder inside."""
    folder = write_beir(
        tmp_path / "nfcorpus",
        [{"_id": f"d{i}", "title": "t", "text": "x"} for i in range(3)],
        [{"_id": f"q{i}", "text": "x"} for i in range(9)],
        {"train": [(f"q{i}", "d0", 1) for i in range(8)], "test": [("q8", "d1", 2)]},
    )
    (tmp_path / "raw").mkdir()
    with zipfile.ZipFile(tmp_path / "raw" / "nfcorpus.zip", "w") as archive:
        for file in folder.rglob("*"):
            archive.write(file, file.relative_to(tmp_path))
    return tmp_path / "raw" / "nfcorpus.zip"


def test_a_beir_zip_reads_like_its_folder_and_its_counts_are_those_of_the_catalogue(prepare, zipped, tmp_path):
    packed = prepare("beir/nfcorpus")
    documents, judgments = list(packed.documents), packed.judgments("test")
    assert [d.id for d in documents] == ["d0", "d1", "d2"]
    assert os.listdir(tmp_path / "raw") == ["nfcorpus.zip"]  # as it was, else the stage would run again
    zipfile.ZipFile(zipped).extractall(tmp_path / "raw")
    zipped.unlink()
    unpacked = prepare("beir/nfcorpus")
    assert (list(unpacked.documents), unpacked.judgments("test")) == (documents, judgments)
    with pytest.raises(GenirError, match=r"3 documents instead of 3,633.* 1 test judgments instead of 12,334"):
        prepare("beir/nfcorpus", expect=True)


def test_a_damaged_zip_is_named_and_nothing_is_left_behind(prepare, zipped, tmp_path):
    whole = zipped.read_bytes()
    zipped.write_bytes(whole[:-40])
    with pytest.raises(GenirError, match=r"nfcorpus\.zip: damaged or cut short"):
        prepare("beir/nfcorpus")
    zipped.write_bytes(whole.replace(b"nfcorpus/", b"scidocs_/"))
    with pytest.raises(GenirError, match=r"no nfcorpus/corpus\.jsonl in this zip"):
        prepare("beir/nfcorpus")
    zipped.write_bytes(whole.replace(b'"title": "t"', b'"title": "u"'))
    with pytest.raises(GenirError, match=r"nfcorpus\.zip/nfcorpus/corpus\.jsonl:\d: the zip file is damaged"):
        prepare("beir/nfcorpus")
    assert left_behind(tmp_path) == []


def test_a_set_that_has_no_train_split_says_so(prepare, zipped, tmp_path):
    zipfile.ZipFile(zipped).extractall(tmp_path / "raw")
    (tmp_path / "raw" / "nfcorpus" / "qrels" / "train.tsv").unlink()
    with pytest.raises(GenirError, match="no split 'train' to train on; there are: test"):
        prepare("beir/nfcorpus")


def test_every_beir_set_of_the_catalogue_is_a_build_with_counts():
    for name in ("nfcorpus", "arguana", "quora", "cqadupstack/android", "webis-touche2020/v2", "msmarco"):
        build = find_published(f"beir/{name}")
        assert build.counts.documents > 1000
        assert "test" in build.counts.splits
