"""Shared small collections and models. Every test runs offline, on one thread."""

import json
import os
from collections.abc import Callable
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from genir.config import load_config
from genir.docids.table import CodeLayout, DocidTable
from genir.model import DocidModel, untie
from genir.prepared import PreparedCollection
from genir.retriever import Retriever
from genir.tokenizer import train_tokenizer
from indexing import prepare_collection

torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parent.parent
SUBJECTS = ("owls hunt mice", "tea leaves wither", "glaciers carve valleys", "bridges carry trains")


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture
def make_model() -> Callable[..., DocidModel]:
    """A small random T5; v10: the original shape (ReLU, tied and scaled head), else v1.1."""

    def make(
        sizes: tuple[int, ...],
        normalize: str = "level",
        v10: bool = False,
        seed: int = 0,
        base: int = 20,
        width: int = 16,
    ) -> DocidModel:
        torch.manual_seed(seed)
        layout = CodeLayout(base, sizes)
        config = T5Config(
            vocab_size=layout.vocabulary,
            d_model=width,
            d_kv=8,
            d_ff=24,
            num_layers=2,
            num_heads=2,
            feed_forward_proj="relu" if v10 else "gated-gelu",
            tie_word_embeddings=v10,
            decoder_start_token_id=0,
            dropout_rate=0.0,
        )
        t5 = T5ForConditionalGeneration(config)
        if not v10:
            untie(t5, torch.randn_like(t5.shared.weight))
        return DocidModel(t5.eval(), layout, normalize)

    return make


@pytest.fixture(scope="session")
def tokenizer():
    return train_tokenizer([" ".join(SUBJECTS), "one two three four"] * 3, 300)


@pytest.fixture
def make_retriever(make_model, tokenizer) -> Callable[..., Retriever]:
    """A retriever over random codes [N, L]."""

    def make(codes: np.ndarray, sizes: tuple[int, ...], **kwargs) -> Retriever:
        model = make_model(sizes, base=len(tokenizer), **kwargs)
        names = [f"d{i}" for i in range(len(codes))]
        table = DocidTable(names, [f"Title {i}" for i in range(len(codes))], codes.astype(np.int32), sizes)
        return Retriever(model, tokenizer, table)

    return make


def write_beir(folder: Path, documents, queries, qrels) -> Path:
    """Write a BEIR folder from rows; qrels: split -> (query, document, grade) rows."""
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    for name, rows in (("corpus", documents), ("queries", queries)):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    for split, rows in qrels.items():
        text = "query-id\tcorpus-id\tscore\n" + "".join("\t".join(map(str, row)) + "\n" for row in rows)
        (folder / "qrels" / f"{split}.tsv").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def beir(tmp_path) -> Path:
    """Twelve documents over four subjects; three queries each: train, dev, test."""
    documents, queries, qrels = [], [], {"train": [], "dev": [], "test": []}
    for number in range(12):
        words = SUBJECTS[number % 4]
        text = f"{words} in place number{number} while the keyword{number} grows"
        documents.append({"_id": f"d{number}", "title": f"About {words}", "text": text, "url": f"/x/{number}"})
        for split in qrels:
            queries.append({"_id": f"q{number}-{split}", "text": f"where do {words} with keyword{number} {split}"})
            qrels[split].append((f"q{number}-{split}", f"d{number}", 2))
            qrels[split].append((f"q{number}-{split}", f"d{(number + 4) % 12}", 1))
    return write_beir(tmp_path / "beir", documents, queries, qrels)


@pytest.fixture
def prepare(tmp_path) -> Callable[..., PreparedCollection]:
    """The prepare stage on FOLDER/raw, as a sample of a build."""

    def run(build: str, *overrides: str, path: Path = tmp_path / "raw", expect: bool = False) -> PreparedCollection:
        (tmp_path / "c.yaml").write_text(
            f"collection: {{path: '{path}', build: {build}, dev_fraction: 0.4, expect_counts: {expect}}}\n"
            f"folder: {tmp_path / 'runs'}\n"
        )
        config = load_config(tmp_path / "c.yaml", overrides)
        prepare_collection.main(config)
        return PreparedCollection(config.run / "collection")

    return run


def left_behind(tmp_path: Path) -> list[str]:
    """What the prepare stage has left in its run folder."""
    run = tmp_path / "runs" / "c"
    return os.listdir(run) if run.exists() else []
