"""Retriever folders: saving, loading, formats, what they may replace, and errors for missing or damaged files."""

import ctypes
import hashlib
import json
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from genir import Retriever
from genir.embedders import fit_tfidf
from genir.errors import GenirError
from genir.records import Document
from genir.retriever import find_retriever
from tests.helpers.quickstart import ROOT, run_python
from tests.helpers.retrievers import find_all, growing_retriever, make_documents, with_bm25


@pytest.fixture
def retriever(make_retriever):
    return make_retriever(np.array([[0, 1], [2, 0], [1, 1], [2, 0], [0, 0]]), (3, 2))


def test_a_saved_retriever_gives_the_same_hits_and_is_a_hugging_face_folder(retriever, tmp_path):
    retriever.save_pretrained(tmp_path / "r")
    loaded = Retriever.from_pretrained(tmp_path / "r")
    before, after = (x.search("owls hunt mice", k=5) for x in (retriever, loaded))
    assert [hit._replace(score=0) for hit in after] == [hit._replace(score=0) for hit in before]
    np.testing.assert_allclose([hit.score for hit in after], [hit.score for hit in before], rtol=1e-5)
    half = Retriever.from_pretrained(tmp_path / "r", dtype=torch.bfloat16).search("owls hunt mice", k=5)
    assert {hit.doc_id: hit.score for hit in half} == pytest.approx(
        {hit.doc_id: hit.score for hit in before}, rel=0.05, abs=0.1
    )
    t5 = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "r")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "r")
    assert torch.equal(t5.lm_head.weight, retriever.model.t5.lm_head.weight)
    assert tokenizer("owls hunt")["input_ids"] == retriever.tokenizer("owls hunt")["input_ids"]
    assert not [path for path in (tmp_path / "r").rglob("*") if path.suffix in (".bin", ".pt", ".pkl", ".npy")]


@pytest.mark.slow
def test_two_processes_that_load_a_folder_with_experts_compute_the_same_scores(retriever, tmp_path):
    with_bm25(retriever, make_documents(5), 1.5).save_pretrained(tmp_path / "r")
    queries = ["owls hunt mice", "tea", "nothing known", "glaciers glaciers carry"]
    code = (
        "import json, sys, torch; from genir import Retriever; torch.set_num_threads(1);"
        "found = Retriever.from_pretrained(sys.argv[1]).search_many(json.loads(sys.argv[2]), k=5);"
        "print(json.dumps([[[hit.doc_id, hit.score] for hit in hits] for hits in found]))"
    )
    done = run_python(["-c", code, str(tmp_path / "r"), json.dumps(queries)], ROOT)
    assert done.returncode == 0, done.stderr
    here = Retriever.from_pretrained(tmp_path / "r").search_many(queries, k=5)
    assert json.loads(done.stdout) == [[[hit.doc_id, hit.score] for hit in hits] for hits in here]


@pytest.mark.slow
def test_a_damaged_expert_index_is_one_line_and_exit_status_1_on_the_command_line(saved):
    path = saved / "experts" / "text" / "postings.safetensors"
    path.write_bytes(flip_bit(path.read_bytes()))
    done = run_python(["-m", "genir", "search", str(saved), "--query", "owls"], ROOT)
    assert done.returncode == 1
    assert "postings.safetensors: is damaged" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_saving_again_replaces_the_folder(retriever, tmp_path):
    retriever.save_pretrained(tmp_path / "r")
    retriever.save_pretrained(tmp_path / "r")
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


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
    assert settings["format"] == 5
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


@pytest.mark.parametrize("number", [0, 6, "2"])
def test_a_folder_of_an_unknown_format_is_an_error_that_names_the_format(retriever, tmp_path, number):
    retriever.save_pretrained(tmp_path / "r")
    edit_json(tmp_path / "r" / "genir.json", lambda x: x.update(format=number))
    with pytest.raises(GenirError, match=rf"genir\.json: has format {number}; this version reads formats 1 to 5"):
        Retriever.from_pretrained(tmp_path / "r")


def test_a_retriever_never_replaces_anything_but_a_retriever(retriever, tmp_path):
    (tmp_path / "precious").mkdir()
    retriever.save_pretrained(tmp_path / "precious")  # an empty folder may be replaced
    (tmp_path / "precious" / "genir.json").rename(tmp_path / "file")
    for name in ("precious", "file"):
        with pytest.raises(GenirError, match=f"{name}: holds something that is not a retriever"):
            retriever.save_pretrained(tmp_path / name)
    assert (tmp_path / "precious" / "model.safetensors").exists()
    assert "format" in (tmp_path / "file").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "precious"]


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


@pytest.mark.parametrize(("number", "damage"), [*((5, damage) for damage in DAMAGES), (2, "missing"), (2, "half")])
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
    if number == 5 or (name != "tokenizer.json" and "documents and codes" not in text):
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


def test_a_used_tokenizer_is_saved_as_a_new_one_is(retriever, tmp_path):
    """The tokenizers of transformers remember the truncation and padding of their last call."""
    retriever.save_pretrained(tmp_path / "r")
    retriever.search("owls")
    retriever.save_pretrained(tmp_path / "used")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "used" / name).read_bytes() == (tmp_path / "r" / name).read_bytes()
        assert b'max_length": 64' not in (tmp_path / "r" / name).read_bytes()


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


@pytest.mark.slow
@pytest.mark.parametrize("exchange", [True, False])
def test_readers_of_a_folder_that_is_replaced_get_the_old_or_the_new_retriever(
    make_retriever, tmp_path, exchange, monkeypatch
):
    """Without renameat2, the folder is missing for a moment each time it is replaced."""
    if not exchange:
        monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    codes = np.array([[0, 1], [2, 0], [1, 1], [2, 0], [0, 0]])
    retrievers = [make_retriever(codes[order], (3, 2)) for order in ([0, 1, 2, 3, 4], [4, 3, 2, 0, 1])]
    expected = [find_all(retriever) for retriever in retrievers]
    assert expected[0] != pytest.approx(expected[1])
    retrievers[0].save_pretrained(tmp_path / "r")
    finished = threading.Event()

    def replace_often():
        for number in range(8):
            retrievers[number % 2].save_pretrained(tmp_path / "r")
        finished.set()

    writer = threading.Thread(target=replace_often)
    writer.start()
    loaded = []
    while not finished.is_set() or not loaded:
        loaded.append(find_all(Retriever.from_pretrained(tmp_path / "r")))
    writer.join()
    for found in loaded:
        assert found in (pytest.approx(expected[0]), pytest.approx(expected[1]))


def test_a_retriever_is_found_in_its_folder_and_in_that_of_its_run(retriever, tmp_path):
    retriever.save_pretrained(tmp_path / "run" / "retriever")
    for folder in (tmp_path / "run", tmp_path / "run" / "retriever", str(tmp_path / "run")):
        assert find_retriever(folder) == tmp_path / "run" / "retriever"


def test_a_folder_or_name_without_a_retriever_is_an_error(tmp_path):
    with pytest.raises(GenirError, match=r"not a retriever \(it has no genir\.json\)"):
        find_retriever(tmp_path)
    for name in (tmp_path / "none", "none", "a/b/c", "../none"):
        with pytest.raises(GenirError, match=r"(none|c): no such folder$"):
            find_retriever(name)
    with pytest.raises(GenirError, match="nobody/nothing: no such folder, and not on the hub: ") as error:
        find_retriever("nobody/nothing")
    assert "\n" not in str(error.value)
