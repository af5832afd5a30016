import json

import numpy as np
import pytest

from eval import certify
from genir.config import load_config
from genir.retriever import Retriever
from indexing import prepare_collection


@pytest.fixture
def config(beir, tmp_path, make_retriever):
    """A run folder with 12 documents and a retriever with random weights."""
    (tmp_path / "c.yaml").write_text(f"collection: {{path: {beir}}}\nruns_dir: {tmp_path / 'runs'}\n")
    config = load_config(tmp_path / "c.yaml")
    prepare_collection.main(config)
    codes = np.stack(np.unravel_index(np.random.default_rng(0).permutation(27)[:12], (3, 3, 3)), 1)
    make_retriever(codes, (3, 3, 3)).save_pretrained(config.run_folder / "retriever")
    return config


def test_the_shares_are_those_of_separate_searches(config):
    """With 12 beams for 12 documents, the search is exhaustive and its hits are the model's best."""
    narrow, wide, exact = certify.certify(config, "dev", 3, [3, 12], compare=True)
    assert (narrow["beams"], wide["beams"], exact["beams"]) == (3, 12, "exact")
    for row in (wide, exact):
        assert row["certified"] == row["same"] == row["found"] == 1
    retriever = Retriever.from_pretrained(config.run_folder)
    queries = [
        json.loads(line) for line in (config.run_folder / "collection" / "queries.jsonl").read_text().splitlines()
    ]
    texts = [query["text"] for query in queries if query["_id"].endswith("-dev")]
    found = [{hit.doc_id for hit in retriever.search(text, 3, beams=3)} for text in texts]
    best = [{hit.doc_id for hit in retriever.search(text, 3, beams=12)} for text in texts]
    assert narrow["same"] == pytest.approx(np.mean([a == b for a, b in zip(found, best, strict=True)]))
    assert narrow["found"] == pytest.approx(np.mean([len(a & b) / 3 for a, b in zip(found, best, strict=True)]))
    assert narrow["certified"] <= narrow["same"]


def test_without_an_exact_search_only_certified_shares_and_times_are_given(config):
    (row,) = certify.certify(config, "dev", 3, [12], compare=False)
    assert row.keys() == {"beams", "certified", "ms"}
    assert row["certified"] == 1


def test_the_command_writes_the_rows_and_a_figure_and_prints_a_table(config, tmp_path, capsys):
    certify.command(str(tmp_path / "c.yaml"), split="dev", k=2, beams=[12, 3], compare=True)
    folder = config.run_folder / "certificates"
    assert [row["beams"] for row in json.loads((folder / "dev.json").read_text())] == [3, 12, "exact"]
    assert (folder / "dev.png").read_bytes().startswith(b"\x89PNG")
    assert "100.0%" in capsys.readouterr().out
