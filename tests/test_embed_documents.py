import json

import numpy as np
import pytest

from genir.errors import GenirError
from genir.prepared import DocumentFile
from indexing.embed_documents import own_vectors, tfidf_vectors


@pytest.fixture
def documents(beir):
    rows = [json.loads(line) for line in (beir / "corpus.jsonl").read_text().splitlines()]
    (beir / "prepared.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DocumentFile(beir / "prepared.jsonl")


def test_tfidf_vectors_have_length_one_and_know_the_subjects(documents):
    vectors = tfidf_vectors(documents, 8, seed=0)
    assert vectors.shape == (12, 8)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    similar = vectors @ vectors.T
    same = np.equal.outer(np.arange(12) % 4, np.arange(12) % 4)
    assert similar[same].min() > similar[~same].max()
    assert (vectors == tfidf_vectors(documents, 8, seed=0)).all()


def test_one_s_own_vectors_are_checked(tmp_path):
    path = tmp_path / "v.npy"
    good = np.arange(12, dtype=np.float64).reshape(4, 3)
    np.save(path, good)
    assert own_vectors(path, 4).dtype == np.float32
    with pytest.raises(GenirError, match=r"has shape \(4, 3\); one row for each of the 5"):
        own_vectors(path, 5)
    good[2, 1] = np.nan
    np.save(path, good)
    with pytest.raises(GenirError, match="row 2 holds a value that is not finite"):
        own_vectors(path, 4)
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(GenirError, match="not a plain"):
        own_vectors(path, 1)
    with pytest.raises(GenirError, match="no such file"):
        own_vectors(tmp_path / "none.npy", 1)
