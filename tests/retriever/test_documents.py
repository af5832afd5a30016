"""Adding documents to a retriever and removing them, without training."""

import math
import sys
import threading

import numpy as np
import pytest
import torch

from genir import Retriever
from genir.config import TextConfig
from genir.docids import BuilderInput, DocidTable
from genir.docids.assign import build_docids
from genir.docids.table import CodeLayout, Codes
from genir.errors import GenirError
from genir.files import folder_lock
from genir.model import DocidModel
from genir.records import Document
from genir.retriever.documents import load_documents
from genir.tokenizer import tokenize
from indexing import build_docids as build_docids_stage
from tests.helpers.models import make_model
from tests.helpers.retrievers import clear_head, find_all, growing_retriever, with_bm25


@pytest.fixture
def frequent_switches():
    """Let threads take turns often: with Python's 5 ms, a busy thread would hold up each operation of the other."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def growing(tokenizer):
    return growing_retriever(tokenizer)


def rebuild(retriever, documents):
    """A retriever with the model, the docids and the weights of another one, built anew of its documents."""
    table = retriever.table
    codes = Codes(np.array(table.codes), table.sizes)
    table = DocidTable.from_codes(codes, doc_ids=table.doc_ids, titles=table.titles, text=table.text)
    rebuilt = Retriever(retriever.model, retriever.tokenizer, table)
    if retriever.experts is None:
        return rebuilt
    by_id = {document.id: document for document in documents}
    return with_bm25(rebuilt, [by_id[doc_id] for doc_id in table.doc_ids], retriever.experts.weights["text"])


@pytest.mark.slow
@pytest.mark.parametrize("weight", [None, 1.5])
def test_documents_are_added_and_removed_without_training_as_if_the_retriever_were_built_of_them(
    tmp_path, tokenizer, weight
):
    retriever, documents, vectors = growing_retriever(tokenizer, weight)
    before = dict(find_all(retriever).keys())
    with pytest.raises(GenirError, match="must be a numpy array, got a list"):
        retriever.add(documents[30:], vectors[30:].tolist())
    with pytest.raises(GenirError, match="give the vectors of the new documents too"):
        retriever.add(documents[30:])
    with pytest.raises(GenirError, match="document 'd3' exists already"):
        retriever.add(documents[3:4], vectors[3:4])
    retriever.add(documents[30:], vectors[30:])
    retriever.remove(["d0", "d35"])
    retriever.save_pretrained(tmp_path / "r")
    for one in (retriever, Retriever.from_pretrained(tmp_path / "r")):
        after = dict(find_all(one).keys())
        assert after.keys() == {f"d{i}" for i in range(40)} - {"d0", "d35"}
        assert all(after[doc_id] == docid for doc_id, docid in before.items() if doc_id != "d0")
        rebuilt = rebuild(one, documents)
        for query in ("owls", "glaciers carve tea", "title", "nothing known"):
            assert find_all(one, query) == pytest.approx(find_all(rebuilt, query), abs=1e-5)
    with pytest.raises(GenirError, match="no document 'd0'"):
        retriever.remove(["d0"])


@pytest.mark.parametrize("weight", [None, 1.5])
def test_the_documents_of_a_folder_are_those_of_its_retriever(tmp_path, tokenizer, weight):
    retriever, _, _ = growing_retriever(tokenizer, weight)
    retriever.save_pretrained(tmp_path / "r")
    index = load_documents(tmp_path / "r")
    assert index.table.doc_ids == retriever.table.doc_ids
    assert index.trie.codes.equal(retriever.trie.codes)
    assert index.trie.doc_indices.equal(retriever.trie.doc_indices)
    assert (index.experts is None) == (weight is None)
    if weight is not None:
        (loaded,), (wanted,) = (experts.rank_many(["owls hunt"], 30) for experts in (index.experts, retriever.experts))
        assert loaded == wanted != []


def test_a_new_document_is_found_by_its_words_at_once_and_a_removed_one_has_no_mass(tokenizer):
    """The head is zero, so that all that is known of a document is what BM25 knows."""
    retriever, _, vectors = growing_retriever(tokenizer, 2.0)
    clear_head(retriever)
    before = find_all(retriever, "owls meet aardvarks")
    retriever.add([Document("new", "Aardvarks", "where aardvarks sleep")], vectors[30:31])
    best = retriever.search("owls meet aardvarks")[0]
    assert best.doc_id == "new"
    assert best.score > max(before.values())
    retriever.remove(["new"])
    assert find_all(retriever, "owls meet aardvarks") == pytest.approx(before, abs=1e-5)


@pytest.mark.slow
def test_with_a_softmax_over_the_whole_vocabulary_changes_leave_the_scores_of_the_other_documents(growing):
    retriever, documents, vectors = growing
    retriever.model.softmax_over = "full"
    before = find_all(retriever)
    retriever.add(documents[30:], vectors[30:])
    retriever.remove(["d0", "d35"])
    after = find_all(retriever)
    kept = {key: score for key, score in before.items() if key[0] != "d0"}
    assert {key: after[key] for key in kept} == pytest.approx(kept, rel=1e-5)


def test_the_build_docids_program_adds_and_removes_documents_of_a_run(tmp_path, growing, capsys):
    retriever, documents, vectors = growing
    retriever.save_pretrained(tmp_path / "run" / "retriever")
    titles = ["x", *["owls"] * 9]
    lines = [f'{{"_id": "d{30 + i}", "title": "{title}", "text": ""}}\n' for i, title in enumerate(titles)]
    (tmp_path / "new.jsonl").write_text("".join(lines))
    (tmp_path / "old.txt").write_text("d0\nd7\n")
    np.save(tmp_path / "new.npy", vectors[30:])
    changes = {"add": tmp_path / "new.jsonl", "vectors": tmp_path / "new.npy", "remove": tmp_path / "old.txt"}
    folder = str(tmp_path / "run")
    with folder_lock(tmp_path / "run"), pytest.raises(GenirError, match="run: another process is using"):
        build_docids_stage.command(folder, **changes)
    assert Retriever.from_pretrained(folder).table.doc_ids == retriever.table.doc_ids
    build_docids_stage.command(folder, **changes)
    assert "1 of the 10 new documents have no words" in " ".join(capsys.readouterr().out.split())
    assert set(Retriever.from_pretrained(folder).table.doc_ids) == {d.id for d in documents} - {"d0", "d7"}
    with pytest.raises(GenirError, match=r"old\.txt:1: no document 'd0' among the 38 of this retriever"):
        build_docids_stage.command(folder, **changes)
    (tmp_path / "twice.txt").write_text("d1\n\nd1\n")
    with pytest.raises(GenirError, match=r"twice\.txt:3: document 'd1' stands in line 1 already"):
        build_docids_stage.command(folder, remove=tmp_path / "twice.txt")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(GenirError, match=r"empty\.txt: contains no doc_ids"):
        build_docids_stage.command(folder, remove=tmp_path / "empty.txt")
    with pytest.raises(GenirError, match=r"--vectors .*new\.npy: .*name their file with --add FILE"):
        build_docids_stage.command(folder, vectors=tmp_path / "new.npy")
    with pytest.raises(GenirError, match="seed=3: --add and --remove change a trained retriever"):
        build_docids_stage.command(folder, ["seed=3"], **changes)
    for option in ("add", "remove"):
        with pytest.raises(GenirError, match=r"none\.txt: cannot be read"):
            build_docids_stage.command(folder, **{option: tmp_path / "none.txt"})
    assert len(Retriever.from_pretrained(folder).table) == 38


@pytest.mark.parametrize("field", ["title", "text", "url"])
@pytest.mark.parametrize("value", [None, 7, b"owls", "\ud800"])
def test_fields_that_are_not_text_are_refused_before_anything_changes(growing, field, value):
    retriever, documents, vectors = growing
    with pytest.raises(GenirError, match=f"the {field} of document 'd31'"):
        retriever.add([documents[30], documents[31]._replace(**{field: value})], vectors[30:32])
    assert len(retriever.table) == 30


@pytest.mark.slow
@pytest.mark.parametrize("doc_id", ["a b", "a\tb", "a\rb", "\ud800", "", 7])
def test_a_doc_id_that_cannot_be_stored_in_files_is_refused(growing, doc_id):
    retriever, documents, vectors = growing
    with pytest.raises(GenirError, match="doc_id must be a string without white space"):
        retriever.add([documents[30], Document(doc_id, "", "")], vectors[30:32])
    assert len(retriever.table) == 30


def test_documents_without_their_vectors_or_with_repeated_doc_ids_are_refused(growing):
    retriever, documents, vectors = growing
    for bad, problem in ((vectors[31:], "for each of the 10"), (vectors[30:] * np.nan, "not finite")):
        with pytest.raises(GenirError, match=f"the vectors of the new documents: .*{problem}"):
            retriever.add(documents[30:], bad)
    with pytest.raises(GenirError, match="dimension"):
        retriever.add(documents[30:], vectors[30:, :-1])
    with pytest.raises(GenirError, match="document 'd30' appears 2 times among the new documents"):
        retriever.add([documents[30]] * 2, vectors[:2])
    retriever.add([], vectors[:0])
    assert len(retriever.table) == 30


def text_retriever(tokenizer, softmax_over="full"):
    """A retriever whose docids are the titles of four documents."""
    documents = [Document(f"d{i}", title, "") for i, title in enumerate(("owls", "tea", "mice", "ice"))]
    config = TextConfig(source="title")
    _, built = build_docids(BuilderInput(documents, np.zeros((4, 0), np.float32), tokenizer), config, 0)
    names = [document.id for document in documents]
    table = DocidTable.from_codes(
        built, doc_ids=names, titles=names, settings={"docids": config.model_dump()}, text=True
    )
    t5 = make_model((9,), base=len(tokenizer)).t5
    return Retriever(DocidModel(t5, CodeLayout(0, built.sizes, True), softmax_over), tokenizer, table)


def test_a_new_text_docid_may_be_longer_than_all_others(tmp_path, tokenizer):
    retriever = text_retriever(tokenizer)
    names, levels = retriever.table.doc_ids, len(retriever.table.sizes)
    before = {hit.doc_id: hit.score for hit in retriever.search("owls", exact=True)}
    retriever.add([Document("long", "glaciers carve valleys while bridges carry trains and owls hunt mice", "")])
    assert len(retriever.table.sizes) > levels + 5
    retriever.save_pretrained(tmp_path / "r")
    for one in (retriever, Retriever.from_pretrained(tmp_path / "r")):
        after = {hit.doc_id: hit.score for hit in one.search("owls", exact=True)}
        inputs = tokenize(tokenizer, ["owls"], 64)
        with torch.no_grad():
            codes = torch.from_numpy(retriever.table.codes).long().unsqueeze(0)
            expected = one.model.sequence_logps(one.model.encode(**inputs), codes)[0].tolist()
        assert after == pytest.approx(dict(zip(retriever.table.doc_ids, expected, strict=True)), abs=1e-4)
        assert {name: after[name] for name in names} == pytest.approx(before, abs=1e-5)


def test_the_last_document_cannot_be_removed(make_retriever):
    retriever = make_retriever(np.array([[0, 1], [2, 0]]), (3, 2))
    retriever.remove(["d1"])
    assert [hit.doc_id for hit in retriever.search("owls")] == ["d0"]
    with pytest.raises(GenirError, match="needs at least one"):
        retriever.remove(["d0"])
    assert len(retriever.table) == 1


def test_a_longer_text_docid_is_ranked_among_the_children_of_the_trie(tokenizer):
    retriever = text_retriever(tokenizer, "trie")
    retriever.add([Document("long", "glaciers carve valleys while bridges carry trains and owls hunt mice", "")])
    found = find_all(retriever)
    assert math.fsum(math.exp(score) for score in found.values()) == pytest.approx(1, abs=1e-5)
    assert found == pytest.approx(find_all(rebuild(retriever, [])), abs=1e-5)


@pytest.mark.slow
def test_a_search_beside_changes_of_other_threads_sees_one_state_of_the_documents(make_retriever, frequent_switches):
    """The hits have the docids and scores of all documents, or those of the documents that are left."""
    codes = np.stack(np.unravel_index(np.arange(60), (3, 4, 5)), 1)
    retriever = make_retriever(codes, (3, 4, 5))
    some = [f"d{i}" for i in range(0, 60, 2)]
    states = [find_all(retriever)]
    full = retriever._index
    retriever.remove(some)
    states.append(find_all(retriever))
    retriever._index = full
    stopped = threading.Event()

    def change():
        while not stopped.is_set():
            retriever.remove(some)
            retriever._index = full  # as if the documents were added again with the same docids

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(15):
            found = {(hit.doc_id, hit.docid): hit.score for hit in retriever.search("owls", k=10, beams=20)}
            assert any(
                found == pytest.approx({key: state.get(key) for key in found}, abs=1e-4)
                for state in states
                if found.keys() <= state.keys()
            )
    finally:
        stopped.set()
        thread.join()


@pytest.mark.slow
def test_searches_beside_additions_of_text_docids_keep_their_scores(tokenizer, frequent_switches):
    """Both use the tokenizer, a search with another truncation than an addition."""
    retriever = text_retriever(tokenizer)
    query = "glaciers carve valleys while bridges carry trains and owls hunt mice at night"
    expected = {hit.doc_id: hit.score for hit in retriever.search(query, exact=True)}
    stopped = threading.Event()

    def change():
        while not stopped.is_set():
            retriever.add([Document("new", "ice and tea", "")])
            retriever.remove(["new"])

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(15):
            found = {hit.doc_id: hit.score for hit in retriever.search(query, exact=True)}
            assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-4)
    finally:
        stopped.set()
        thread.join()
