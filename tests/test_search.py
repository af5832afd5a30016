"""The search stage: its run files and certificates against the retriever's own hits."""

import json

import numpy as np
import pytest

from genir import search
from genir.collection.prepared import PreparedCollection
from genir.config import load_config
from genir.errors import GenirError
from genir.evaluation.trec import read_run
from genir.retriever import Retriever
from indexing import prepare_collection
from tests.helpers.beir import beir_of_own_queries


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
