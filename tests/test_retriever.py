import numpy as np
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from genir import Retriever
from genir.config import RQConfig, TextConfig
from genir.docids import DocidTable, Source
from genir.docids.assign import build_docids
from genir.docids.table import CodeLayout
from genir.errors import GenirError
from genir.files import folder_lock
from genir.model import DocidModel
from genir.records import Document
from genir.tokenizer import tokenize
from indexing import build_docids as build_docids_stage

CODES = np.array([[0, 1], [2, 0], [1, 1], [2, 0], [0, 0]])


@pytest.fixture
def retriever(make_retriever):
    return make_retriever(CODES, (3, 2))


def test_hits_are_ranked_scored_and_carry_their_docid_and_title(retriever):
    hits = retriever.search("owls hunt mice", k=5)
    assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5]
    assert sorted(hit.doc_id for hit in hits) == [f"d{i}" for i in range(5)]
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    for hit in hits:
        row = int(hit.doc_id[1:])
        assert hit.docid == tuple(CODES[row])
        assert hit.title == f"Title {row}"
    together = [hit.doc_id for hit in hits if hit.docid == (2, 0)]
    assert together == ["d1", "d3"]  # a shared docid: the collection's order


def test_search_many_is_search_for_each_at_any_batch_size(retriever):
    queries = ["owls hunt", "tea", "glaciers carve valleys and trains", "mice"]
    single = [retriever.search(query, k=3) for query in queries]
    for batch_size in (1, 3, 32):
        many = retriever.search_many(queries, k=3, batch_size=batch_size)
        assert [[hit.doc_id for hit in hits] for hits in many] == [[hit.doc_id for hit in hits] for hits in single]
        np.testing.assert_allclose(
            [[hit.score for hit in hits] for hits in many], [[hit.score for hit in hits] for hits in single], atol=1e-5
        )
    assert retriever.search_many([]) == []


def test_a_saved_retriever_answers_the_same_and_is_a_hugging_face_folder(retriever, tmp_path):
    retriever.save_pretrained(tmp_path / "r")
    loaded = Retriever.from_pretrained(tmp_path / "r")
    before, after = (x.search("owls hunt mice", k=5) for x in (retriever, loaded))
    assert [hit._replace(score=0) for hit in after] == [hit._replace(score=0) for hit in before]
    np.testing.assert_allclose([hit.score for hit in after], [hit.score for hit in before], rtol=1e-5)
    half = Retriever.from_pretrained(tmp_path / "r", dtype=torch.bfloat16).search("owls hunt mice", k=5)
    assert {hit.doc_id: hit.score for hit in half} == pytest.approx(
        {h.doc_id: h.score for h in before}, rel=0.05, abs=0.1
    )
    t5 = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "r")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "r")
    assert torch.equal(t5.lm_head.weight, retriever.model.t5.lm_head.weight)
    assert tokenizer("owls hunt")["input_ids"] == retriever.tokenizer("owls hunt")["input_ids"]
    assert not [path for path in (tmp_path / "r").rglob("*") if path.suffix in (".bin", ".pt", ".pkl", ".npy")]


def test_saving_twice_replaces_the_folder(retriever, tmp_path):
    retriever.save_pretrained(tmp_path / "r")
    retriever.save_pretrained(tmp_path / "r")
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_a_search_among_allowed_documents_ranks_as_if_there_were_no_others(retriever):
    everything = retriever.search("owls hunt mice", k=100, beams=100)
    for step in (1, 2, 3):
        some = {hit.doc_id for hit in everything[::step]}
        found = retriever.search("owls hunt mice", k=100, beams=100, allowed=some)
        wanted = [hit for hit in everything if hit.doc_id in some]
        assert [hit.doc_id for hit in found] == [hit.doc_id for hit in wanted]
        assert [hit.score for hit in found] == pytest.approx([hit.score for hit in wanted], abs=1e-5)
    assert len(retriever.search("owls", allowed=[])) == 0
    with pytest.raises(GenirError, match="no document 'nowhere'"):
        retriever.search("owls", allowed=["nowhere"])


@pytest.mark.parametrize("share", [False, True])
def test_an_exact_search_finds_what_a_search_with_all_beams_finds(make_retriever, share):
    """With one beam, at any batch size, among some documents or all, and where documents share docids."""
    codes = np.random.default_rng(0).integers(0, 3 if share else 8, (60, 3))
    retriever = make_retriever(codes, (8, 8, 8))
    questions = ["owls hunt mice", "tea leaves wither in the sun", "glaciers", "bridges carry trains"]
    some = {f"d{i}" for i in range(0, 60, 2)}
    for allowed in (None, some):
        wanted = retriever.search_many(questions, k=7, beams=1000, allowed=allowed)
        assert all(hits.exact and len(hits) == 7 for hits in wanted)
        narrow = retriever.search_many(questions, k=7, beams=1, allowed=allowed)
        assert not any(hits.exact for hits in narrow)
        for batch_size in (1, 3):
            found = retriever.search_many(questions, 7, 1, allowed, batch_size, exact=True)
            assert all(hits.exact for hits in found)
            assert [[hit.doc_id for hit in hits] for hits in found] == [[hit.doc_id for hit in hits] for hits in wanted]


@pytest.fixture
def growing(make_model, tokenizer):
    """A retriever of 30 documents; those, 10 more, and the vectors of all."""
    vectors = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    documents = [Document(f"d{i}", f"Title {i}", "") for i in range(40)]
    config = RQConfig(levels=2, codebook_size=4)
    _, built = build_docids(Source(documents[:30], vectors[:30]), config, 0)
    names = [document.id for document in documents[:30]]
    table = DocidTable.from_codes(built, doc_ids=names, titles=names, settings={"docids": config.model_dump()})
    return Retriever(make_model(built.sizes, base=len(tokenizer)), tokenizer, table), documents, vectors


def test_documents_come_and_go_without_training(tmp_path, growing):
    """The others keep their docids and scores; what is added is found, what is removed is not, also once saved."""
    retriever, documents, vectors = growing
    before = {hit.doc_id: (hit.docid, hit.score) for hit in retriever.search("owls", k=99, beams=99)}
    with pytest.raises(GenirError, match="vectors were given as a file"):
        retriever.add(documents[30:])
    with pytest.raises(GenirError, match="document 'd3' is there already"):
        retriever.add(documents[3:4], vectors[3:4])
    retriever.add(documents[30:], vectors[30:])
    retriever.remove(["d0", "d35"])
    retriever.save_pretrained(tmp_path / "r")
    for found in (retriever, Retriever.from_pretrained(tmp_path / "r")):
        after = {hit.doc_id: (hit.docid, hit.score) for hit in found.search("owls", k=99, beams=99)}
        assert set(after) == {f"d{i}" for i in range(40)} - {"d0", "d35"}
        for doc_id in set(before) & set(after):
            assert after[doc_id][0] == before[doc_id][0]
            assert after[doc_id][1] == pytest.approx(before[doc_id][1], rel=1e-5)
    with pytest.raises(GenirError, match="no document 'd0'"):
        retriever.remove(["d0"])


def test_the_command_changes_a_run_s_retriever_alone_in_its_folder(tmp_path, growing):
    retriever, documents, vectors = growing
    retriever.save_pretrained(tmp_path / "run" / "retriever")
    (tmp_path / "new.jsonl").write_text(
        "".join(f'{{"_id": "{d.id}", "title": "x", "text": ""}}\n' for d in documents[30:])
    )
    (tmp_path / "old.txt").write_text("d0\nd7\n")
    np.save(tmp_path / "new.npy", vectors[30:])
    changed = {"add": tmp_path / "new.jsonl", "vectors": tmp_path / "new.npy", "remove": tmp_path / "old.txt"}
    folder = str(tmp_path / "run")
    with folder_lock(tmp_path / "run"), pytest.raises(GenirError, match="run: another process is using"):
        build_docids_stage.command(folder, **changed)
    assert Retriever.from_pretrained(folder).table.doc_ids == retriever.table.doc_ids
    build_docids_stage.command(folder, **changed)
    assert set(Retriever.from_pretrained(folder).table.doc_ids) == {d.id for d in documents} - {"d0", "d7"}
    with pytest.raises(GenirError, match="no document 'd0'"):
        build_docids_stage.command(folder, **changed)
    with pytest.raises(GenirError, match="seed=3: --add and --remove change a trained retriever"):
        build_docids_stage.command(folder, ["seed=3"], **changed)
    for option in ("add", "remove"):
        with pytest.raises(GenirError, match=r"none\.txt: cannot be read"):
            build_docids_stage.command(folder, **{option: tmp_path / "none.txt"})
    assert len(Retriever.from_pretrained(folder).table) == 38


@pytest.mark.parametrize("doc_id", ["a b", "a\tb", "a\rb", "\ud800", "", 7])
def test_a_doc_id_that_no_file_could_hold_is_refused(growing, doc_id):
    retriever, documents, vectors = growing
    with pytest.raises(GenirError, match="a doc_id must be a string without white space"):
        retriever.add([documents[30], Document(doc_id, "", "")], vectors[30:32])
    assert len(retriever.table) == 30


def test_what_does_not_fit_together_is_not_added(growing):
    retriever, documents, vectors = growing
    with pytest.raises(GenirError, match="there are 9 vectors for 10 new documents"):
        retriever.add(documents[30:], vectors[31:])
    with pytest.raises(GenirError, match="document 'd30' is there 2 times among the new ones"):
        retriever.add([documents[30]] * 2, vectors[:2])
    retriever.add([], vectors[:0])
    assert len(retriever.table) == 30


def test_a_text_docid_may_be_longer_than_all_before(tmp_path, make_model, tokenizer):
    documents = [Document(f"d{i}", title, "") for i, title in enumerate(("owls", "tea", "mice", "ice"))]
    config = TextConfig(source="title")
    _, built = build_docids(Source(documents, np.zeros((4, 0), np.float32), tokenizer), config, 0)
    names = [document.id for document in documents]
    table = DocidTable.from_codes(
        built, doc_ids=names, titles=names, settings={"docids": config.model_dump()}, text=True
    )
    t5 = make_model((9,), base=len(tokenizer)).t5
    layout = CodeLayout(0, built.sizes, True)
    retriever = Retriever(DocidModel(t5, layout, None), tokenizer, table)
    before = {hit.doc_id: hit.score for hit in retriever.search("owls", exact=True)}
    retriever.add([Document("long", "glaciers carve valleys while bridges carry trains and owls hunt mice", "")])
    assert len(retriever.table.sizes) > len(layout.sizes) + 5
    retriever.save_pretrained(tmp_path / "r")
    for found in (retriever, Retriever.from_pretrained(tmp_path / "r")):
        after = {hit.doc_id: hit.score for hit in found.search("owls", exact=True)}
        inputs = tokenize(tokenizer, ["owls"], 64)
        with torch.no_grad():
            codes = torch.from_numpy(retriever.table.codes).long().unsqueeze(0)
            wanted = found.model.sequence_logps(found.model.encode(**inputs), codes)[0].tolist()
        assert after == pytest.approx(dict(zip(retriever.table.doc_ids, wanted, strict=True)), abs=1e-4)
        assert {name: after[name] for name in names} == pytest.approx(before, abs=1e-5)


@pytest.mark.parametrize("value", [0, -1, 2.5, "3", None])
@pytest.mark.parametrize("name", ["k", "beams", "batch_size"])
def test_wrong_numbers_are_refused(retriever, name, value):
    if (name, value) == ("beams", None):
        return  # the default
    with pytest.raises(GenirError, match=f"{name} must be an integer of at least 1, got {value!r}"):
        retriever.search_many(["owls"], **{name: value})


def test_numbers_beyond_all_documents_ask_for_all(retriever):
    assert len(retriever.search("owls", k=10**30, beams=10**30)) == 5
    assert retriever.search("owls", k=np.int64(99)) == retriever.search("owls", k=5)


@pytest.mark.parametrize(
    ("queries", "words"),
    [
        (["owls", " \n"], "query 1 is empty"),
        (["owls", 7], "query 1 must be a string, got 7"),
        (["caf\udce9"], "query 0 is not valid UTF-8"),
        ("owls", "queries must be a list of strings, got 'owls'"),
        (None, "queries must be a list of strings"),
    ],
)
def test_a_wrong_query_is_named(retriever, queries, words):
    with pytest.raises(GenirError, match=words):
        retriever.search_many(queries)


def test_anything_iterable_is_several(retriever):
    wanted = retriever.search_many(["owls", "tea"], allowed=["d1", "d3"])
    assert retriever.search_many((q for q in ("owls", "tea")), allowed={"d1": 0, "d3": 0}.keys()) == wanted
    for call in (lambda: retriever.search("owls", allowed="d1"), lambda: retriever.remove("d1")):
        with pytest.raises(GenirError, match="must be a list of strings, got 'd1'"):
            call()


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("where", ["head", "code of the first level", "code of the last level", "encoder"])
def test_scores_that_are_no_numbers_are_an_error(make_retriever, where, exact):
    """And not fewer hits, called proven; the model is left as it was."""
    codes = np.random.default_rng(0).integers(0, 8, (60, 6))
    retriever = make_retriever(codes, (8,) * 6)
    t5, base = retriever.model.t5, retriever.model.layout.base
    damaged = {
        "head": t5.lm_head.weight[base:],
        "code of the first level": t5.shared.weight[base + codes[0, 0]],  # what is written after it has no score
        "code of the last level": t5.lm_head.weight[base + 47],  # where each docid is scored for itself
        "encoder": t5.encoder.final_layer_norm.weight,
    }
    damaged[where].data.fill_(torch.nan)
    t5.train(True)
    with pytest.raises(GenirError, match="scores that are no numbers"):
        retriever.search("owls hunt", k=60 if where.startswith("code of the first") else 5, exact=exact)
    assert t5.training


def test_a_query_of_unknown_signs_or_endless_words_still_ranks(retriever):
    assert len(retriever.search("日本語 ???", k=2)) == 2
    assert len(retriever.search("owls " * 5000, k=2)) == 2


def test_what_is_no_retriever_is_a_clear_error(tmp_path):
    with pytest.raises(GenirError, match=r"not a retriever \(no genir\.json there\)"):
        Retriever.from_pretrained(tmp_path)
    with pytest.raises(GenirError, match="the hub gave none"):
        Retriever.from_pretrained("nobody/nothing")


def test_hits_print_as_tables(retriever):
    hits = retriever.search("owls <b>", k=2)
    lines = repr(hits).splitlines()
    assert lines[0] == "'owls <b>': 2 hits, exact"
    assert lines[1].split() == ["rank", "score", "doc_id", "docid", "title"]
    assert len(lines) == 4
    assert hits[0].title in lines[2]
    assert hits._repr_html_().count("<tr>") == 3
    assert "owls &lt;b&gt;" in hits._repr_html_()
    assert hits[:1][0] == hits[0]


def test_searching_does_not_change_the_mode_of_a_model_in_training(retriever):
    retriever.model.t5.train()
    retriever.search("owls")
    assert retriever.model.t5.training
