import json

import numpy as np
import pytest

from genir.errors import GenirError
from genir.prepared import DocumentFile
from indexing.embed_documents import model_vectors, own_vectors, tfidf_vectors


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


def test_a_sentence_transformers_model_gives_its_own_vectors(documents, tmp_path):
    """A tiny random BERT in the library's folder layout."""
    library = pytest.importorskip("sentence_transformers", reason="the extra embed is not installed")
    from sentence_transformers.models import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = sorted({word for document in documents for word in document.body.lower().split()})
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "bert")
    config = BertConfig(
        vocab_size=len(words) + 5,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    BertModel(config).save_pretrained(tmp_path / "bert")
    words_in = Transformer(str(tmp_path / "bert"))
    model = library.SentenceTransformer(modules=[words_in, Pooling(16)], device="cpu")
    model.save(str(tmp_path / "model"))
    vectors = model_vectors(documents, str(tmp_path / "model"), batch_size=5)
    assert vectors.dtype == np.float32
    wanted = model.encode([document.body for document in documents], normalize_embeddings=True)
    np.testing.assert_allclose(vectors, wanted, atol=1e-5)


def test_a_model_that_is_not_there_is_one_line(documents, tmp_path):
    pytest.importorskip("sentence_transformers", reason="the extra embed is not installed")
    with pytest.raises(GenirError, match=r"embed\.method .*nothing: cannot be loaded"):
        model_vectors(documents, str(tmp_path / "nothing"), 5)


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
