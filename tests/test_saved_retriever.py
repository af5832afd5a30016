"""Retriever folders: what they may replace, and what is said of a missing or damaged file."""

import numpy as np
import pytest

from genir.embedders import fit_tfidf
from genir.errors import GenirError
from genir.records import Document
from genir.retriever import Retriever


@pytest.fixture
def retriever(make_retriever):
    return make_retriever(np.array([[0, 1], [2, 0], [1, 1], [2, 0], [0, 0]]), (3, 2))


def test_what_is_no_retriever_is_never_replaced_by_one(retriever, tmp_path):
    (tmp_path / "precious").mkdir()
    retriever.save_pretrained(tmp_path / "precious")  # an empty folder
    (tmp_path / "precious" / "genir.json").rename(tmp_path / "file")
    for name in ("precious", "file"):
        with pytest.raises(GenirError, match=f"{name}: holds something that is no retriever"):
            retriever.save_pretrained(tmp_path / name)
    assert (tmp_path / "precious" / "model.safetensors").exists()
    assert "format" in (tmp_path / "file").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "precious"]


FILES = [
    "genir.json",
    "model.safetensors",
    "docids/docids.json",
    "docids/documents.tsv",
    "docids/codes.safetensors",
    "docids/codebooks.safetensors",
    "docids/trie.safetensors",
    "docids/embedder/embedder.json",
    "docids/embedder/vocabulary.json",
    "docids/embedder/tfidf.safetensors",
    "tokenizer.json",
]


@pytest.fixture
def saved(retriever, tmp_path):
    """The folder of a retriever with all files that one can have."""
    retriever.embedder = fit_tfidf([Document(str(i), word, "") for i, word in enumerate(("owls", "tea"))], 1, 0, "x")
    retriever.save_pretrained(tmp_path / "r")
    return tmp_path / "r"


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[]", b"\xff\xfe", "half"])
@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_damaged_file_is_one_line(saved, name, content):
    """A half copied folder, a text where a JSON belongs, and the like."""
    path = saved / name
    whole = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    with pytest.raises(GenirError) as error:
        Retriever.from_pretrained(saved)
    text = str(error.value)
    assert "\n" not in text
    assert str(saved) in text
    if name != "tokenizer.json" and "documents, 5 docids" not in text:  # transformers, and a table of other lengths
        assert path.name in text
