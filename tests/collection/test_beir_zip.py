import os
import zipfile

import pytest

from genir.collection.beir_zip import open_beir_set, zip_name
from genir.errors import GenirError
from tests.helpers.beir import left_behind, write_beir


@pytest.fixture
def zipped(tmp_path):
    """The zip file of a BEIR set in the folder `raw`."""
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


def test_a_zip_file_reads_the_same_as_the_folder_that_it_unpacks_to(zipped):
    def read():
        source = open_beir_set(zipped.parent, "nfcorpus")
        judgments = [judgment for split in source.splits for _, judgment in source.judgments(split)]
        return source.splits, list(source.documents()), list(source.queries()), judgments

    packed = read()
    assert packed[0] == ["test", "train"]
    assert [document.id for document in packed[1]] == ["d0", "d1", "d2"]
    assert os.listdir(zipped.parent) == ["nfcorpus.zip"]  # if the input changed, the stage would run again
    with zipfile.ZipFile(zipped) as archive:
        archive.extractall(zipped.parent)
    zipped.unlink()
    assert read() == packed


def test_a_sample_of_a_beir_set_is_prepared_only_if_the_published_counts_are_not_expected(prepare, zipped):
    data = prepare("beir/nfcorpus")
    assert [document.id for document in data.documents] == ["d0", "d1", "d2"]
    with pytest.raises(GenirError, match=r"3 documents instead of 3,633.* 1 test judgments instead of 12,334"):
        prepare("beir/nfcorpus", expect=True)


def test_a_damaged_zip_file_is_reported_and_the_stage_leaves_no_files(prepare, zipped, tmp_path):
    whole = zipped.read_bytes()
    zipped.write_bytes(whole[:-40])
    with pytest.raises(GenirError, match=r"nfcorpus\.zip: damaged or incomplete"):
        prepare("beir/nfcorpus")
    zipped.write_bytes(whole.replace(b"nfcorpus/", b"scidocs_/"))
    with pytest.raises(GenirError, match=r"this zip file does not contain nfcorpus/corpus\.jsonl"):
        prepare("beir/nfcorpus")
    zipped.write_bytes(whole.replace(b'"title": "t"', b'"title": "u"'))
    with pytest.raises(GenirError, match=r"nfcorpus\.zip/nfcorpus/corpus\.jsonl:\d: the zip file is damaged"):
        prepare("beir/nfcorpus")
    assert left_behind(tmp_path) == []


def test_the_zip_file_of_a_set_is_found_by_name_and_an_unknown_set_is_reported():
    assert zip_name("nfcorpus") == "nfcorpus.zip"
    assert zip_name("cqadupstack/android") == "cqadupstack.zip"
    assert zip_name("webis-touche2020/v2") == "webis-touche2020.zip"
    with pytest.raises(GenirError, match="beir/lunch: BEIR has no such data set; there are: "):
        zip_name("lunch")
