"""Model cards: their metadata, and that they have the measures of a run only if these belong to the retriever."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard

from eval import evaluate
from genir import Document, Retriever, search
from genir.config import load_config
from genir.files import read_json
from genir.pipeline.stage import execute
from genir.retriever.folder import read_settings
from indexing import prepare_collection
from tests.helpers.evaluated_run import make_evaluated_run
from tests.helpers.retrievers import growing_retriever


def read_card(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    return yaml.safe_load(text.split("---")[1]), text


def test_a_card_says_what_the_retriever_ranks_and_may_be_edited(tokenizer, tmp_path):
    retriever, _, _ = growing_retriever(tokenizer, weight=1.5)
    retriever.save_pretrained(tmp_path / "r")
    metadata, text = read_card(tmp_path / "r")
    assert metadata == {
        "library_name": "genir", "pipeline_tag": "text-ranking", "tags": ["genir", "generative-retrieval"]
    }  # fmt: skip
    assert ModelCard.load(tmp_path / "r" / "README.md").data.library_name == "genir"  # as the hub reads it
    assert "ranks 30 documents, whose rq docids have at most " in text
    assert "text (weight 1.5)" in text
    (tmp_path / "r" / "README.md").write_text("my own card")
    read_settings(tmp_path / "r")
    assert "README.md" not in read_json(tmp_path / "r" / "genir.json")["files"]


@pytest.fixture
def run(beir, tmp_path, make_retriever, monkeypatch):
    """An evaluated run with a random retriever in its folders sft and retriever."""
    config = make_evaluated_run(beir, tmp_path, "owls", "collection.published=null", "search.k=10", "search.beams=12")
    codes = np.stack(np.unravel_index(np.arange(12), (2, 2, 3)), 1)
    make_retriever(codes, (2, 2, 3)).save_pretrained(config.run_folder / "sft")
    shutil.copytree(config.run_folder / "sft", config.run_folder / "retriever")
    return config


@pytest.mark.slow
def test_a_card_has_the_measures_of_the_run_as_long_as_they_belong_to_the_retriever(run, tmp_path):
    folder = run.run_folder
    execute(prepare_collection.STAGE, prepare_collection.main, run)
    execute(search.STAGE, search.main, run)
    execute(evaluate.STAGE, evaluate.main, run)

    def save(**changes):
        retriever = Retriever.from_pretrained(folder / "sft")
        if "removed" in changes:
            retriever.remove(changes["removed"])
        if "added" in changes:
            next(retriever.model.t5.parameters()).data += changes["added"]
        retriever.save_pretrained(tmp_path / "saved")
        return read_card(tmp_path / "saved")[1]

    interval = read_json(folder / "evaluation" / "measures.json")["test"]["sft"]["RR@10"]["all"]
    shown = " ".join(f"{interval[name]:.3f}"[1:] for name in ("mean", "low", "high"))
    row = next(line for line in save().splitlines() if line.startswith("| test | SFT |"))
    assert row.split("|")[3].replace("[", "").replace("]", "").replace(",", "").strip() == shown
    assert "| test | 12 | 24 |" in save()
    assert str(tmp_path) not in save()  # paths of this machine are nobody's business
    assert "## Measures" not in save(removed=["d3"])
    assert "## Measures" not in save(added=0.01)
    (folder / "runs" / "sft.test.trec").write_text("q0-test Q0 d1 1 1.0 x\n")
    assert "## Measures" not in save()


def test_the_base_model_and_the_data_set_are_named_if_they_are_public(tokenizer, tmp_path):
    retriever, _, _ = growing_retriever(tokenizer)
    for path, dataset, base in (("hf:mteb/owls", ["mteb/owls"], "google/t5-v1_1-small"), ("somewhere", None, None)):
        (tmp_path / "config.yaml").write_text(
            f"name: x\ncollection: {{path: '{path}'}}\nmodel: {{pretrained: {base or tmp_path}}}\n"
        )
        load_config(tmp_path)
        retriever.save_pretrained(tmp_path / "sft")
        Retriever.from_pretrained(tmp_path / "sft").save_pretrained(Path(tmp_path / "again"))
        metadata, text = read_card(tmp_path / "again")
        assert (metadata.get("datasets"), metadata.get("base_model")) == (dataset, base)
        assert str(tmp_path) not in text


def test_documents_that_were_added_are_counted(tokenizer, tmp_path):
    retriever, _, vectors = growing_retriever(tokenizer)
    retriever.add([Document("new", "owl", "an owl")], vectors[:1])
    retriever.save_pretrained(tmp_path / "r")
    assert "ranks 31 documents" in read_card(tmp_path / "r")[1]
