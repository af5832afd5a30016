"""Retriever folders: saving, loading, what they may replace, and where they are found."""

import ctypes
import json
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from genir import Retriever
from genir.errors import GenirError
from genir.retriever import find_retriever
from tests.helpers.processes import ROOT, run_python
from tests.helpers.retrievers import find_all, make_documents, with_bm25


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


def test_saving_again_replaces_the_folder(retriever, tmp_path):
    retriever.save_pretrained(tmp_path / "r")
    retriever.save_pretrained(tmp_path / "r")
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


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


def test_a_used_tokenizer_is_saved_as_a_new_one_is(retriever, tmp_path):
    """The tokenizers of transformers remember the truncation and padding of their last call."""
    retriever.save_pretrained(tmp_path / "r")
    retriever.search("owls")
    retriever.save_pretrained(tmp_path / "used")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "used" / name).read_bytes() == (tmp_path / "r" / name).read_bytes()
        assert b'max_length": 64' not in (tmp_path / "r" / name).read_bytes()


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
    with pytest.raises(GenirError, match="nobody/nothing: no such folder, and the hub cannot be reached: ") as error:
        find_retriever("nobody/nothing")
    assert "\n" not in str(error.value)
    with pytest.raises(GenirError, match="a retriever is named by a string or a Path, got None"):
        find_retriever(None)


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_not_the_current_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "genir.json").write_text("{}")
    with pytest.raises(GenirError, match="the name of the retriever is empty; give a folder, or USER/NAME"):
        find_retriever(name)
