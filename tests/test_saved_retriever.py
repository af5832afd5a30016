"""Retriever folders: what they may replace, and what is said of a missing or damaged file."""

import numpy as np
import pytest

from genir.errors import GenirError


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
