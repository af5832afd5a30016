"""Shared small collections and models. Every test runs offline, on one thread."""

import os
from collections.abc import Callable
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import hypothesis
import numpy as np
import pytest
import torch

from genir.collection.prepared import PreparedCollection
from genir.config import load_config
from genir.docids.table import Codes, DocidTable
from genir.model import DocidModel
from genir.retriever import Retriever
from genir.tokenizer import train_tokenizer
from indexing import prepare_collection
from tests.helpers.beir import SUBJECTS, small_beir
from tests.helpers.models import make_model

torch.set_num_threads(1)
hypothesis.settings.register_profile("no deadline", deadline=None)  # a busy machine is no fault
hypothesis.settings.load_profile("no deadline")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session", name="make_model")
def make_model_fixture() -> Callable[..., DocidModel]:
    return make_model


@pytest.fixture(scope="session")
def tokenizer():
    return train_tokenizer([" ".join(SUBJECTS), "one two three four"] * 3, 300)


@pytest.fixture(scope="session")
def make_retriever(make_model, tokenizer) -> Callable[..., Retriever]:
    """A retriever over random codes [N, L]."""

    def make(codes: np.ndarray, sizes: tuple[int, ...], **kwargs) -> Retriever:
        model = make_model(sizes, base=len(tokenizer), **kwargs)
        names = [f"d{i}" for i in range(len(codes))]
        titles = [f"Title {i}" for i in range(len(codes))]
        table = DocidTable.from_codes(Codes(codes.astype(np.int32), sizes), doc_ids=names, titles=titles)
        return Retriever(model, tokenizer, table)

    return make


@pytest.fixture
def beir(tmp_path) -> Path:
    return small_beir(tmp_path / "beir")


@pytest.fixture
def prepare(tmp_path) -> Callable[..., PreparedCollection]:
    """Run the prepare stage for a published collection on a sample of its raw files, by default those in tmp_path/raw.

    expect: whether the published counts are required.
    """

    def run(
        name: str, *overrides: str, path: Path | str = tmp_path / "raw", expect: bool = False
    ) -> PreparedCollection:
        (tmp_path / "c.yaml").write_text(
            f"collection: {{path: '{path}', published: {name}, dev_fraction: 0.4, expect_counts: {expect}}}\n"
            f"runs_dir: {tmp_path / 'runs'}\n"
        )
        config = load_config(tmp_path / "c.yaml", overrides)
        prepare_collection.main(config)
        return PreparedCollection(config.run_folder / "collection")

    return run
