import pytest

from genir.collection.sources import RawFile, download_name, find_raw_file, load_sources, require_raw_files
from genir.errors import GenirError


def test_every_listed_source_has_an_https_address_and_a_hash_of_the_length_of_its_algorithm():
    groups = load_sources()
    assert set(groups) == {"msmarco-doc", "msmarco-passage", "nq", "beir"}
    for group in groups.values():
        assert group.terms
        for name, source in group.files.items():
            assert source.url.startswith("https://")
            assert source.hash is None or len(source.hash[1]) == {"md5": 32, "sha256": 64}[source.hash[0]]
            assert source.size is None or source.size > 0
            assert name == source.name


def test_all_fields_of_a_sources_file_are_read(tmp_path):
    (tmp_path / "sources.yaml").write_text(
        "g:\n  terms: free\n  files:\n"
        "    a.gz: {url: 'https://x/a.gz', size: 7, sha256: ab, md5: cd, headers: {H: '1'}}\n"
        "    b: {url: 'https://x/b'}\n"
    )
    group = load_sources(tmp_path / "sources.yaml")["g"]
    assert (group.name, group.terms) == ("g", "free")
    assert group.files["a.gz"] == RawFile("a.gz", "https://x/a.gz", 7, ("sha256", "ab"), {"H": "1"})
    assert group.files["b"] == RawFile("b", "https://x/b")


@pytest.mark.parametrize(
    ("existing", "name", "found"),
    [
        ([], "a.tsv.gz", None),
        (["a.tsv.gz"], "a.tsv.gz", "a.tsv.gz"),
        (["a.tsv"], "a.tsv.gz", "a.tsv"),
        (["a.tsv", "a.tsv.gz"], "a.tsv.gz", "a.tsv.gz"),
        (["x.tar.gz"], "x.tar.gz/a.tsv", "x.tar.gz/a.tsv"),
        (["x.tar.gz", "a.tsv"], "x.tar.gz/a.tsv", "a.tsv"),
        (["a.tsv.gz"], "x.tar.gz/a.tsv", "a.tsv.gz"),
        ([], "x.tar.gz/a.tsv", None),
    ],
)
def test_a_raw_file_is_found_packed_or_unpacked(tmp_path, existing, name, found):
    for file in existing:
        (tmp_path / file).touch()
    assert find_raw_file(tmp_path, name) == (found and tmp_path / found)


def test_the_file_to_download_for_a_member_is_its_archive():
    assert download_name("x.tar.gz/a.tsv") == "x.tar.gz"
    assert download_name("a.tsv.gz") == "a.tsv.gz"


def test_missing_raw_files_are_listed_with_their_size_and_how_to_get_them(tmp_path):
    names = ["simplified-nq-train.jsonl.gz", "nq-dev-all.jsonl.gz", "vocab.txt"]
    (tmp_path / "nq-dev-all.jsonl").touch()
    with pytest.raises(GenirError) as error:
        require_raw_files(tmp_path, names, "nq")
    assert "missing simplified-nq-train.jsonl.gz, vocab.txt; copy them into this folder" in str(error.value)
    assert "nq-dev-all" not in str(error.value)
    assert "genir prepare CONFIG --download" in str(error.value)
    with pytest.raises(GenirError, match=r"missing collectionandqueries\.tar\.gz; .* \(1,058 MB\)"):
        require_raw_files(tmp_path / "nowhere", ["collectionandqueries.tar.gz/collection.tsv"], "msmarco-passage")
