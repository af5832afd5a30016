"""embed: one vector for each document, for the docid builders that need vectors."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from genir.command import run_stage
from genir.config import Config
from genir.console import console, progress
from genir.docids import BUILDERS
from genir.errors import GenirError
from genir.files import atomic_file
from genir.prepared import DocumentFile
from genir.stage import Stage


def main(config: Config) -> None:
    """Write embeddings.npy [N, D] float32, with vectors of length 1.

    embed.method: tfidf (TF-IDF and SVD, needs nothing), a .npy file of one's own, or the name or folder of a
    sentence-transformers model (extra: embed). An empty file stands for builders that need no vectors.
    """
    documents = DocumentFile(config.run / "collection" / "corpus.jsonl")
    method = config.embed.method
    if BUILDERS[config.docids.builder].needs != "vectors":
        vectors = np.zeros((len(documents), 0), np.float32)
    elif method == "tfidf":
        vectors = tfidf_vectors(documents, config.embed.dimension, config.seed)
    elif method.endswith(".npy"):
        vectors = own_vectors(Path(method), len(documents))
    else:
        vectors = model_vectors(documents, method, config.embed.batch_size)
    with atomic_file(config.run / "embeddings.npy", "wb") as handle:
        np.save(handle, vectors, allow_pickle=False)
    console.print(f"{method}: {vectors.shape[0]:,} vectors of {vectors.shape[1]}")


def tfidf_vectors(documents: DocumentFile, dimension: int, seed: int) -> NDArray[np.float32]:
    """Latent semantic vectors [N, at most dimension]: sublinear TF-IDF, then a truncated SVD, then length 1."""
    texts = (document.body for document in documents)
    try:
        weights = TfidfVectorizer(sublinear_tf=True, strip_accents="unicode", stop_words="english").fit_transform(texts)
    except ValueError as error:
        raise GenirError(f"{documents.path}: no words to embed ({error})") from None
    size = min(dimension, min(weights.shape) - 1)
    if size < 1:
        raise GenirError(f"{documents.path}: {weights.shape[0]} documents are too few to embed; use builder: atomic")
    vectors = TruncatedSVD(size, random_state=seed).fit_transform(weights)
    result: NDArray[np.float32] = normalize(vectors).astype(np.float32)
    return result


def own_vectors(path: Path, count: int) -> NDArray[np.float32]:
    """Vectors from a .npy file [N, D] in the order of the corpus."""
    try:
        vectors = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise GenirError(f"{path}: no such file (embed.method)") from None
    except ValueError as error:
        raise GenirError(f"{path}: not a plain .npy array: {error}") from None
    if vectors.ndim != 2 or len(vectors) != count:
        raise GenirError(f"{path}: has shape {vectors.shape}; one row for each of the {count} documents is needed")
    bad = np.flatnonzero(~np.isfinite(vectors).all(1))
    if len(bad):
        raise GenirError(f"{path}: row {bad[0]} holds a value that is not finite ({len(bad)} such rows)")
    return np.ascontiguousarray(vectors, dtype=np.float32)


def model_vectors(documents: DocumentFile, name: str, batch_size: int) -> NDArray[np.float32]:
    """Vectors of a sentence-transformers model."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise GenirError(f"embed.method {name}: pip install genir[embed], or use tfidf or a .npy file") from None
    try:
        model = SentenceTransformer(name)
    except (OSError, ValueError) as error:
        raise GenirError(f"embed.method {name}: cannot be loaded: {str(error).splitlines()[0]}") from None
    parts = []
    with progress() as bar:
        task = bar.add_task("embedding", total=len(documents), note="")
        for start in range(0, len(documents), batch_size):
            texts = [document.body for document in documents[start : start + batch_size]]
            parts.append(model.encode(texts, batch_size=batch_size, show_progress_bar=False, normalize_embeddings=True))
            bar.advance(task, len(texts))
    return np.concatenate(parts).astype(np.float32)


STAGE = Stage(
    "embed",
    settings=("embed", "docids.builder"),
    external=("embed.method",),
    reads=("collection",),
    writes=("embeddings.npy",),
)

if __name__ == "__main__":
    run_stage(STAGE, main)
