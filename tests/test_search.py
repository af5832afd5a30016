"""The search stage: its run files and certificates against the retriever's own hits; and the hits that it prints."""

import io
import json

import numpy as np
import pytest

from genir import search
from genir.bm25 import BM25sIndex
from genir.collection.prepared import PreparedCollection
from genir.config import BaselineConfig, load_config
from genir.docids.table import Codes, DocidTable
from genir.errors import GenirError
from genir.evaluation.trec import read_run
from genir.retriever import Retriever
from indexing import prepare_collection
from tests.helpers.beir import beir_of_own_queries
from tests.helpers.retrievers import with_bm25


@pytest.fixture
def run(tmp_path, beir, make_retriever):
    """A run folder with a collection and a random retriever as its sft; returns the config for some overrides."""
    (tmp_path / "c.yaml").write_text(
        f"collection: {{path: {beir}}}\nruns_dir: {tmp_path / 'runs'}\n"
        "search: {k: 3, beams: 3, splits: [dev, test]}\nevaluate: {measures: [RR@3]}\nsft: {metric: RR@3}\n"
    )

    def load(*overrides):
        return load_config(tmp_path / "c.yaml", overrides)

    prepare_collection.main(load())
    codes = np.stack(np.unravel_index(np.arange(12), (2, 2, 3)), 1)
    make_retriever(codes, (2, 2, 3)).save_pretrained(load().run_folder / "sft")
    return load


@pytest.mark.slow
def test_run_files_and_certificates_are_those_of_the_retriever(run):
    config = run()
    search.main(config)
    retriever = Retriever.from_pretrained(config.run_folder / "sft")
    for split in ("dev", "test"):
        found = read_run(config.run_folder / "runs" / f"sft.{split}.trec")
        proven = json.loads((config.run_folder / "runs" / f"sft.{split}.certified.json").read_text())
        lines = (config.run_folder / "collection" / "queries.jsonl").read_text().splitlines()
        texts = {row["_id"]: row["text"] for row in map(json.loads, lines)}
        assert set(found) == set(proven) == {f"q{number}-{split}" for number in range(12)}
        for query_id, scores in found.items():
            hits = retriever.search(texts[query_id], k=3, beams=3)
            assert list(scores) == [hit.doc_id for hit in hits]
            assert list(scores.values()) == pytest.approx([hit.score for hit in hits], abs=1e-4)
            assert proven[query_id] == hits.num_proven


@pytest.mark.slow
def test_the_ranking_by_the_experts_alone_is_that_of_bm25(run):
    config = run()
    data = PreparedCollection(config.run_folder / "collection")
    retriever = with_bm25(Retriever.from_pretrained(config.run_folder / "sft"), data.documents, 1.5)
    retriever.save_pretrained(config.run_folder / "sft")
    search.main(config)
    queries = data.queries("test")
    expected = BM25sIndex(data.documents, BaselineConfig()).search_many([query.text for query in queries], 12)
    found = read_run(config.run_folder / "runs" / "experts.test.trec")
    for query, hits in zip(queries, expected, strict=True):
        scores = dict(hits)
        assert list(found[query.id].values()) == pytest.approx([1.5 * score for _, score in hits[:3]], rel=1e-3)
        assert [scores[doc_id] for doc_id in found[query.id]] == pytest.approx([s for _, s in hits[:3]], rel=1e-3)


def test_an_exact_search_proves_every_hit(run):
    config = run("search.exact=true")
    search.main(config)
    proven = json.loads((config.run_folder / "runs" / "sft.test.certified.json").read_text())
    assert set(proven.values()) == {3}


def test_a_stage_that_has_not_been_trained_is_named(run):
    with pytest.raises(GenirError, match="ddro has not been trained yet; run: genir train"):
        search.main(run("ddro={metric: RR@3}"))


@pytest.mark.slow
def test_documents_with_the_id_of_the_query_are_left_out_and_cut_queries_are_counted(run, beir, capsys):
    beir_of_own_queries(beir)
    config = run("collection.ignore_identical_ids=true", "search.beams=12")
    prepare_collection.main(config)
    retriever = Retriever.from_pretrained(config.run_folder / "sft")
    retriever.max_tokens = 5
    data = PreparedCollection(config.run_folder / "collection")
    search.search_split(config, retriever, data, "sft", "test")
    assert "4 queries of test are longer than 5 tokens and were cut" in " ".join(capsys.readouterr().out.split())
    found = read_run(config.run_folder / "runs" / "sft.test.trec")
    proven = json.loads((config.run_folder / "runs" / "sft.test.certified.json").read_text())
    for query in data.queries("test"):
        hits = retriever.search(query.text, k=12, beams=12)
        assert list(found[query.id]) == [hit.doc_id for hit in hits if hit.doc_id != query.id][:3]
        assert proven[query.id] == 3  # 12 beams are all documents


def test_the_documents_of_a_run_file_are_ranked_by_the_retriever(run, tmp_path):
    config = run()
    Retriever.from_pretrained(config.run_folder / "sft").save_pretrained(config.run_folder / "retriever")
    foreign = tmp_path / "theirs.v2.test.trec"
    foreign.write_text(
        "q1-test Q0 d3 1 9.0 x\nq1-test Q0 d1 2 8.0 x\nq1-test Q0 d7 3 7.0 x\n"
        "q2-test Q0 d2 1 1.0 x\nq2-test Q0 d4 2 0.5 x\n"
    )
    search.rerank_run(config, foreign)
    retriever = Retriever.from_pretrained(config.run_folder)
    texts = {query.id: query.text for query in PreparedCollection(config.run_folder / "collection").queries("test")}
    found = read_run(config.run_folder / "runs" / "theirs.v2-reranked.test.trec")
    for query_id, doc_ids in (("q1-test", ["d3", "d1", "d7"]), ("q2-test", ["d2", "d4"])):
        hits = retriever.search(texts[query_id], k=12, beams=12)
        assert list(found[query_id]) == [hit.doc_id for hit in hits if hit.doc_id in doc_ids]
    foreign.rename(tmp_path / "theirs.trec")
    with pytest.raises(GenirError, match=r"theirs\.trec: cannot tell which split it ranks"):
        search.rerank_run(config, tmp_path / "theirs.trec")
    (tmp_path / "other.test.trec").write_text("q1-dev Q0 d1 1 1.0 x\n")
    with pytest.raises(GenirError, match="query 'q1-dev' is not among the queries of the split test"):
        search.rerank_run(config, tmp_path / "other.test.trec")


HOSTILE = "<b>[bold]\x1b[31m\u202e:cat:\x9b1m[/]"
"""A text with HTML, rich markup, an emoji code, and characters that a terminal obeys."""


@pytest.fixture
def folder(make_retriever, tmp_path):
    """The folder of a retriever of four documents with a hostile title."""
    codes = np.array([[0], [1], [2], [3]])
    retriever = make_retriever(codes, (4,))
    names = ["a", "b", "c", "d"]
    table = DocidTable.from_codes(Codes(codes.astype(np.int32), (4,)), doc_ids=names, titles=[HOSTILE] * 4)
    Retriever(retriever.model, retriever.tokenizer, table).save_pretrained(tmp_path / "r")
    return str(tmp_path / "r")


def answer(monkeypatch, capsys, folder, text="", **options):
    """What `genir search` prints for some options, with `text` as its standard input."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode(errors="surrogateescape"))))
    search.command(folder, **options)
    return capsys.readouterr().out


def test_queries_from_stdin_are_answered_in_lines_of_json(monkeypatch, capsys, folder):
    queries = [f"owls hunt number{i}" for i in range(40)]  # more than one batch
    text = answer(monkeypatch, capsys, folder, "\n\n".join(queries), as_json=True, k=3)
    retriever = Retriever.from_pretrained(folder)
    found = [json.loads(line) for line in text.splitlines()]
    assert [row["query"] for row in found] == queries
    for row, hits in zip(found, retriever.search_many(queries, k=3), strict=True):
        assert (row["exact"], row["num_proven"]) == (hits.exact, hits.num_proven)
        assert [(hit["rank"], hit["doc_id"], hit["title"]) for hit in row["hits"]] == [
            (hit.rank, hit.doc_id, HOSTILE) for hit in hits
        ]
        assert [hit["score"] for hit in row["hits"]] == pytest.approx([hit.score for hit in hits], abs=1e-4)
    assert answer(monkeypatch, capsys, folder, "owls", query="-").startswith("'owls': 4 hits")
    assert answer(monkeypatch, capsys, folder, "owls", k=1).startswith("'owls': 1 hit")


def test_a_search_is_explained(monkeypatch, capsys, folder):
    text = answer(monkeypatch, capsys, folder, query="owls", k=2, explain=True)
    hits = Retriever.from_pretrained(folder).search("owls", k=2)
    explanation = text[text.index("'owls': 2 hits with") :]
    assert [f"1. {hits[0].doc_id}" in explanation, f"2. {hits[1].doc_id}" in explanation] == [True, True]
    row = json.loads(answer(monkeypatch, capsys, folder, query="owls", k=2, explain=True, as_json=True))
    assert [hit["doc_id"] for hit in row["explanation"]["hits"]] == [hit["doc_id"] for hit in row["hits"]]


def test_titles_and_queries_are_shown_as_text(monkeypatch, capsys, folder):
    for options in ({}, {"explain": True}, {"as_json": True}):
        text = answer(monkeypatch, capsys, folder, query=HOSTILE, **options)
        assert not {"\x1b", "\x9b", "\u202e"} & {*text}
        assert text.count("<b>[bold]") >= 5  # the query and four titles
        assert ":cat:" in text
    assert json.loads(text)["hits"][0]["title"] == HOSTILE


def test_what_a_search_lacks_is_named(monkeypatch, capsys, folder, run, tmp_path):
    for text, options, words in (
        ("tea\nx\udcff\n", {"as_json": True}, "stdin:2: not UTF-8 text"),
        ("", {"query": "owls", "overrides": ["search.k=3"]}, "search.k=3: settings do not apply"),
        ("", {"query": "owls", "exact": True, "explain": True}, "leave out --exact"),
        ("", {"query": "owls", "interactive": True}, "leave out --query and --json"),
        ("", {"as_json": True, "interactive": True}, "leave out --query and --json"),
        ("", {"rerank": tmp_path / "x.test.trec", "k": 3}, "leave out the options that print hits"),
    ):
        with pytest.raises(GenirError, match=words):
            answer(monkeypatch, capsys, folder, text, **options)
    monkeypatch.setattr("sys.stdin", None)  # closed
    with pytest.raises(GenirError, match="no query: give --query TEXT"):
        search.command(folder, as_json=True)
