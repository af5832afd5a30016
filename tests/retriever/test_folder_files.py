"""The files of retriever folders: earlier formats, and errors for missing, damaged, edited and foreign files."""

import hashlib
import json

import numpy as np
import pytest
import torch

from genir import Retriever
from genir.embedders import fit_tfidf
from genir.errors import GenirError
from genir.records import Document
from genir.retriever.folder import FORMAT
from tests.helpers.processes import ROOT, run_genir
from tests.helpers.retrievers import find_all, growing_retriever, make_documents, with_bm25


@pytest.fixture
def retriever(make_retriever):
    return make_retriever(np.array([[0, 1], [2, 0], [1, 1], [2, 0], [0, 0]]), (3, 2))


def edit_json(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def renew_checksum(content):
    del content["checksum"]
    content["checksum"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@pytest.mark.slow
def test_a_folder_of_format_1_gives_the_same_hits_and_can_be_extended(tokenizer, tmp_path):
    """It called softmax_over normalize, docids.codebook_size codes, and docids.encoder_beam beam."""
    retriever, documents, vectors = growing_retriever(tokenizer)
    retriever.model.softmax_over = "full"
    retriever.save_pretrained(tmp_path / "r")

    def rename(content, **names):
        for new, old in names.items():
            content[old] = content.pop(new)

    edit_json(tmp_path / "r" / "genir.json", lambda x: rename(x, softmax_over="normalize") or x.update(format=1))
    edit_json(
        tmp_path / "r" / "docids" / "docids.json",
        lambda x: rename(x["docids"], codebook_size="codes", encoder_beam="beam"),
    )
    loaded = Retriever.from_pretrained(tmp_path / "r")
    assert find_all(loaded) == pytest.approx(find_all(retriever))
    for x in (retriever, loaded):
        x.add(documents[30:], vectors[30:])
    assert find_all(loaded) == pytest.approx(find_all(retriever))
    loaded.save_pretrained(tmp_path / "r")
    settings = json.loads((tmp_path / "r" / "genir.json").read_text())
    assert settings["format"] == FORMAT
    assert settings["softmax_over"] == "full"
    assert find_all(Retriever.from_pretrained(tmp_path / "r")) == pytest.approx(find_all(retriever))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_folder_with_a_softmax_over_codebooks_is_refused_in_one_line(retriever, tmp_path, number):
    """Up to format 3, the default was a softmax over the codebook of a level, with which the weights were trained."""
    retriever.save_pretrained(tmp_path / "r")

    def make_old(content):
        content["format"] = number
        content["normalize" if number == 1 else "softmax_over"] = "level"
        if number < 3:
            del content["files"], content["checksum"]
        else:
            renew_checksum(content)

    edit_json(tmp_path / "r" / "genir.json", make_old)
    with pytest.raises(GenirError, match=r"genir\.json: trained with a softmax over each level's codebook") as error:
        Retriever.from_pretrained(tmp_path / "r")
    assert str(error.value).endswith("train the retriever again")
    assert "\n" not in str(error.value)


def test_a_folder_of_format_4_is_read_unless_it_has_experts(retriever, tmp_path):
    """Their index had the documents in the order of the collection."""
    for name, old in (("without", retriever), ("with", with_bm25(retriever, make_documents(5)))):
        old.save_pretrained(tmp_path / name)
        edit_json(tmp_path / name / "genir.json", lambda x: x.update(format=4) or renew_checksum(x))
    assert find_all(Retriever.from_pretrained(tmp_path / "without")) == pytest.approx(find_all(retriever))
    with pytest.raises(GenirError, match=r"genir\.json: the index of the experts has .* order of the coll") as error:
        Retriever.from_pretrained(tmp_path / "with")
    assert str(error.value).endswith("train the retriever again")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("number", [0, FORMAT + 1, "2"])
def test_a_folder_of_an_unknown_format_is_an_error_that_names_the_format(retriever, tmp_path, number):
    retriever.save_pretrained(tmp_path / "r")
    edit_json(tmp_path / "r" / "genir.json", lambda x: x.update(format=number))
    with pytest.raises(GenirError, match=rf"has format {number}; this version reads formats 1 to {FORMAT}"):
        Retriever.from_pretrained(tmp_path / "r")


FILES = [
    "genir.json",
    "model.safetensors",
    "docids/docids.json",
    "docids/documents.tsv",
    "docids/codes.safetensors",
    "docids/codebooks.safetensors",
    "docids/trie.safetensors",
    "docids/embedder/embedder.json",
    "docids/embedder/vocabulary.json",
    "docids/embedder/tfidf.safetensors",
    "tokenizer.json",
    "experts/experts.json",
    "experts/text/lexical.json",
    "experts/text/postings.safetensors",
]


@pytest.fixture
def saved(retriever, tmp_path):
    """The folder of a retriever with all files that one can have."""
    retriever = with_bm25(retriever, make_documents(5))
    retriever.embedder = fit_tfidf([Document(str(i), word, "") for i, word in enumerate(("owls", "tea"))], 1, 0, "x")
    retriever.save_pretrained(tmp_path / "r")
    return tmp_path / "r"


def flip_bit(content):
    return content[:-1] + bytes([content[-1] ^ 4])


DAMAGES = {
    "missing": None,
    "empty": lambda content: b"",
    "other JSON": lambda content: b"{}",
    "not UTF-8": lambda content: b"\xff\xfe",
    "half": lambda content: content[: len(content) // 2],
    "one bit": flip_bit,
}


@pytest.mark.parametrize(("number", "damage"), [*((FORMAT, damage) for damage in DAMAGES), (2, "missing"), (2, "half")])
@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_damaged_file_is_a_one_line_error_that_names_it(saved, name, damage, number):
    edit_json(saved / "genir.json", lambda x: x.update(format=number))
    path = saved / name
    whole = path.read_bytes()
    path.unlink()
    if DAMAGES[damage] is not None:
        path.write_bytes(DAMAGES[damage](whole))
    with pytest.raises(GenirError) as error:
        Retriever.from_pretrained(saved)
    text = str(error.value)
    assert "\n" not in text
    assert str(saved) in text
    if number == FORMAT or (name != "tokenizer.json" and "documents and codes" not in text):
        assert path.name in text


@pytest.mark.parametrize(
    "name",
    [
        "genir.json",
        "model.safetensors",
        "docids/codes.safetensors",
        "docids/trie.safetensors",
        "experts/experts.json",
        "experts/text/postings.safetensors",
    ],
)
def test_a_file_of_another_retriever_is_refused(saved, make_retriever, tmp_path, name):
    other = make_retriever(np.array([[0, 1], [2, 0], [1, 1], [0, 0], [2, 0]]), (3, 2))
    other = with_bm25(other, make_documents(5, seed=1), 2.0)
    with torch.no_grad():
        other.model.t5.shared.weight += 1
    other.save_pretrained(tmp_path / "other")
    whole = (saved / name).read_bytes()
    (saved / name).write_bytes((tmp_path / "other" / name).read_bytes())
    assert (saved / name).read_bytes() != whole
    with pytest.raises(GenirError, match=r"is damaged, or from another retriever|genir\.json: damaged"):
        Retriever.from_pretrained(saved)


@pytest.mark.slow
def test_a_damaged_expert_index_is_one_line_and_exit_status_1_on_the_command_line(saved):
    path = saved / "experts" / "text" / "postings.safetensors"
    path.write_bytes(flip_bit(path.read_bytes()))
    done = run_genir("search", saved, "--query", "owls", cwd=ROOT, status=1)
    assert "postings.safetensors: is damaged" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_settings_that_were_edited_by_hand_are_refused(saved):
    edit_json(saved / "genir.json", lambda x: x.update(max_tokens=3))
    with pytest.raises(GenirError, match=r"genir\.json: damaged, or edited after genir wrote it"):
        Retriever.from_pretrained(saved)


def test_other_files_in_the_folder_are_ignored(saved):
    (saved / "README.md").write_text("a model card")
    assert len(Retriever.from_pretrained(saved).table) == 5


def test_a_folder_of_format_2_is_read_without_its_hashes(saved):
    edit_json(saved / "genir.json", lambda x: (x.update(format=2), x.pop("files"), x.pop("checksum")))
    assert len(Retriever.from_pretrained(saved).table) == 5
