"""The benchmark of training input, on a small retriever with BM25."""

import numpy as np
import pytest

from eval import benchmark_input
from genir.collection.prepared import PreparedCollection
from genir.config import load_config
from genir.files import read_json
from genir.retriever import Retriever
from indexing import prepare_collection
from tests.helpers.retrievers import with_bm25


@pytest.fixture
def run(beir, tmp_path, make_retriever):
    """A run folder with 12 documents, and a retriever with BM25 as an expert."""
    (tmp_path / "c.yaml").write_text(f"collection: {{path: {beir}}}\nruns_dir: {tmp_path / 'runs'}\n")
    config = load_config(tmp_path / "c.yaml")
    prepare_collection.main(config)
    documents = PreparedCollection(config.run_folder / "collection").documents
    retriever = with_bm25(make_retriever(np.arange(12)[:, None], (12,)), documents)
    retriever.save_pretrained(config.run_folder / "retriever")
    return config.run_folder


def test_all_kinds_of_spans_are_timed_and_written(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    benchmark_input.command(run, workers=1, batches=3)
    found = read_json(tmp_path / "runs" / "benchmark_input" / "results.json")
    kinds = [(entry["spans"], entry["experts"]) for entry in found]
    assert kinds == [("short", False), ("short", True), ("long", False), ("long", True)]
    assert all(entry["examples_per_second"] > 0 and entry["workers"] == 1 for entry in found)
    assert "padding" in capsys.readouterr().out


def test_tokens_and_padding_are_those_of_the_batches(run):
    retriever = Retriever.from_pretrained(run)
    data = PreparedCollection(run / "collection")
    loader = benchmark_input.make_loader(retriever, data, (3, 16), 6, 0, experts=False)
    found = benchmark_input.measure(loader, "spans")
    timed = [len(retriever.tokenizer(loader.dataset[i].text)["input_ids"]) for i in range(4 * 128, 6 * 128)]
    assert found["tokens_per_example"] == pytest.approx(np.mean(timed))
    assert 0 <= found["padding"] < 1 - np.mean(timed) / max(timed)
