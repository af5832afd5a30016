import json

import numpy as np
import pytest

from genir.collection.prepared import DocumentFile
from genir.config import load_config
from genir.embedders import ModelEmbedder, load_embedder
from genir.files.manifest import write_manifest
from genir.records import Document
from genir.scoring.sentence_vectors import SentenceVectors
from indexing import embed_documents, prepare_collection
from indexing.embed_documents import embed_shards, write_vectors
from tests.helpers.sentence_model import save_random_model


@pytest.fixture
def documents(beir):
    return DocumentFile(beir / "corpus.jsonl")


@pytest.fixture
def embed(tmp_path, beir):
    """A function that runs the stages prepare and embed with overrides, and returns the run folder."""
    (tmp_path / "c.yaml").write_text(f"collection: {{path: '{beir}'}}\nruns_dir: {tmp_path / 'runs'}\n")

    def run(*overrides):
        config = load_config(tmp_path / "c.yaml", overrides)
        prepare_collection.main(config)
        embed_documents.main(config)
        return config.run_folder

    return run


def test_tfidf_vectors_are_written_with_the_embedder_that_made_them(embed):
    run = embed("embed.dimension=6")
    vectors = np.load(run / "embeddings.npy")
    assert vectors.dtype == np.float32
    documents = DocumentFile(run / "collection" / "corpus.jsonl")
    np.testing.assert_allclose(load_embedder(run / "embedder").embed(documents), vectors, atol=1e-6)


def test_vectors_of_a_file_are_copied_without_an_embedder(embed, tmp_path):
    vectors = np.random.default_rng(0).normal(size=(12, 3))
    np.save(tmp_path / "v.npy", vectors)
    run = embed(f"embed.method={tmp_path / 'v.npy'}")
    assert (np.load(run / "embeddings.npy") == vectors.astype(np.float32)).all()
    assert not (run / "embedder").exists()


def test_builders_without_vectors_get_vectors_of_dimension_zero(embed):
    run = embed()
    assert (run / "embedder").exists()
    embed("docids={builder: atomic}")
    assert np.load(run / "embeddings.npy").shape == (12, 0)
    assert not (run / "embedder").exists()


class CountingEmbedder:
    """Replaces a model: the vector of a document is its number; raises an error from document `broken_from` on."""

    name = "counting"
    probe = np.array([1.0, 0.0])
    broken_from = 10**9

    def embed(self, documents):
        numbers = [int(document.id[1:]) for document in documents]
        if max(numbers) >= self.broken_from:
            raise KeyboardInterrupt
        return np.array([[number, 1] for number in numbers], np.float32)


def test_an_interrupted_run_continues_after_its_last_shard(documents, tmp_path, monkeypatch):
    monkeypatch.setattr(embed_documents, "SHARD_SIZE", 5)
    embedder = CountingEmbedder()
    embedder.broken_from = 7
    with pytest.raises(KeyboardInterrupt):
        embed_shards(embedder, documents, documents.path, tmp_path / "shards")
    assert [path.name for path in sorted((tmp_path / "shards").glob("0*"))] == ["0000000000"]
    shard = tmp_path / "shards" / "0000000000"
    np.save(shard / "vectors.npy", np.full((5, 2), 7, np.float32))
    write_manifest(shard)  # to see that it is kept
    embedder.broken_from = 10**9
    paths = embed_shards(embedder, documents, documents.path, tmp_path / "shards")
    write_vectors(tmp_path / "all.npy", 12, 2, (np.load(path) for path in paths))
    vectors = np.load(tmp_path / "all.npy")
    assert (vectors[:5] == 7).all()
    assert vectors[5:, 0].tolist() == list(range(5, 12))


def test_a_damaged_shard_is_computed_again(documents, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(embed_documents, "SHARD_SIZE", 5)
    path = embed_shards(CountingEmbedder(), documents, documents.path, tmp_path / "shards")[1]
    np.save(path, np.full((5, 2), 7, np.float32))
    embed_shards(CountingEmbedder(), documents, documents.path, tmp_path / "shards")
    assert np.load(path)[:, 0].tolist() == list(range(5, 10))
    assert "vectors.npy is damaged; it is computed again" in " ".join(capsys.readouterr().out.split())


def test_shards_of_another_model_are_computed_again(documents, tmp_path, monkeypatch):
    monkeypatch.setattr(embed_documents, "SHARD_SIZE", 5)
    embedder = CountingEmbedder()
    first = embed_shards(embedder, documents, documents.path, tmp_path / "shards")[0]
    np.save(first, np.full((5, 2), 7, np.float32))
    write_manifest(first.parent)
    embedder.probe = np.array([0.0, 1.0])  # another model has the name now
    embed_shards(embedder, documents, documents.path, tmp_path / "shards")
    assert np.load(first)[:, 0].tolist() == list(range(5))


def test_a_model_also_embeds_the_sentences_of_the_documents(embed, beir, tmp_path, capsys):
    """Each sentence is embedded after the title of its document; parts of fewer than five words are no sentences."""
    corpus = beir / "corpus.jsonl"
    sentences = [(f"The first sentence number{i} is here.", "The last sentence of all.") for i in range(11)] + [()]
    texts = [" Short one. ".join(pair) for pair in sentences]
    rows = [{"_id": f"d{i}", "title": f"Title {i % 2}", "text": text} for i, text in enumerate(texts)]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    save_random_model(tmp_path / "model", [Document(row["_id"], row["title"], row["text"]) for row in rows])
    run = embed(f"embed.method={tmp_path / 'model'}")
    found = SentenceVectors.load(run / "sentences" / "sentences.safetensors", 12, 16)
    assert found.starts.tolist() == [*range(0, 23, 2), 22]
    wanted = [f"Title {i % 2} {sentence}" for i, pair in enumerate(sentences) for sentence in pair]
    embedder = ModelEmbedder(str(tmp_path / "model"), 4)
    np.testing.assert_allclose(found.vectors, embedder.embed_queries(wanted), atol=1e-5)
    assert not (run / "embedding_shards").exists()
    assert not (embed(f"embed.method={tmp_path / 'model'}", "embed.sentences=false") / "sentences").exists()


def test_sentences_of_a_large_collection_are_left_out_with_a_note(embed, beir, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(embed_documents, "MAX_SENTENCES", 11)
    save_random_model(tmp_path / "model", DocumentFile(beir / "corpus.jsonl"))
    run = embed(f"embed.method={tmp_path / 'model'}")
    assert [path.name for path in (run / "sentences").iterdir()] == ["left_out.json"]
    assert "note: the collection has 12 sentences, so their vectors are left out" in capsys.readouterr().out


def test_a_collection_without_sentences_has_no_vectors_of_them(embed, beir, tmp_path):
    rows = [{"_id": f"d{i}", "title": f"Title {i % 2}", "text": ""} for i in range(12)]
    (beir / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    save_random_model(tmp_path / "model", [Document(row["_id"], row["title"], "") for row in rows])
    run = embed(f"embed.method={tmp_path / 'model'}")
    found = SentenceVectors.load(run / "sentences" / "sentences.safetensors", 12, 16)
    assert found.vectors.shape == (0, 16)
    assert found.starts.tolist() == [0] * 13


def test_documents_without_a_term_for_tfidf_are_counted_in_a_warning(embed, beir, capsys):
    embed("embed.dimension=6")
    assert "warning" not in capsys.readouterr().out
    corpus = beir / "corpus.jsonl"
    lines = corpus.read_text().splitlines()
    lines[0] = '{"_id": "d0", "title": "", "text": "the"}'
    corpus.write_text("\n".join(lines) + "\n")
    run = embed("embed.dimension=6")
    assert "warning: 1 of 12 documents (8.3%) have no term for TF-IDF" in capsys.readouterr().out
    assert (np.load(run / "embeddings.npy").any(1) == ([False] + [True] * 11)).all()
