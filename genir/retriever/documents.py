"""The documents of a retriever folder, and their changes: documents that are added or removed.

Shapes: n new documents, D dimensions of a vector.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from genir.checks import is_valid_id, require_list
from genir.config import SoftmaxOver, parse_docids
from genir.decoding.index import DocumentIndex
from genir.docids import BUILDERS
from genir.docids.assign import assign_new_docids
from genir.docids.table import BuilderInput, DocidTable
from genir.docids.trie import Trie
from genir.embedders import ModelEmbedder, TfidfEmbedder, require_finite_vectors
from genir.errors import GenirError
from genir.records import Document
from genir.scoring.experts import Experts


def load_documents(folder: Path) -> DocumentIndex:
    """Load the documents of a retriever folder without its model: the docid table, the trie and the experts.

    Raises GenirError if a file is missing or damaged; only `read_settings` compares the files with their hashes.
    """
    table = DocidTable.load(folder / "docids")
    trie = Trie.load(folder / "docids" / "trie.safetensors", table.codes)
    return DocumentIndex(table, trie, Experts.load(folder / "experts", len(table)))


def require_new(documents: Sequence[Document], table: DocidTable) -> None:
    """Raise GenirError if a new document has an invalid doc_id, one that is in the table, or one that another has."""
    for doc_id, times in Counter(document.id for document in documents).items():
        if not is_valid_id(doc_id):
            raise GenirError(f"doc_id must be a string without white space and control characters, got {doc_id!r}")
        if times > 1:
            raise GenirError(f"document {doc_id!r} appears {times} times among the new documents")
        if doc_id in table.doc_indices:
            raise GenirError(f"document {doc_id!r} exists already; remove it first to change it")


def require_extensible(table: DocidTable, softmax_over: SoftmaxOver) -> None:
    """Raise GenirError if documents cannot be added to a retriever with this table and softmax."""
    if "docids" not in table.settings:
        raise GenirError("documents cannot be added: this docid table was imported without its codebooks")
    if softmax_over == "full" and table.settings["docids"]["builder"] == "atomic":
        raise GenirError(
            "documents cannot be added: the model has not learned codes for them, and with model.softmax_over=full "
            "nothing else ranks them; build the docids and train the model again"
        )


def vectors_for(
    documents: Sequence[Document],
    given: NDArray[np.float32] | None,
    table: DocidTable,
    embedder: TfidfEmbedder | ModelEmbedder | None,
) -> NDArray[np.float32]:
    """The given vectors [n, D] of new documents, or those of the embedder; D is 0 if the docids need none.

    Raises GenirError if the given vectors do not fit the documents or are not needed, and if they are missing.
    """
    builder = parse_docids(table.settings["docids"]).builder
    if BUILDERS[builder].needs != "vectors":
        if given is not None:
            raise GenirError(f"the docids of this retriever ({builder}) need no vectors; leave the vectors out")
        return np.zeros((len(documents), 0), np.float32)
    if given is not None:
        if not isinstance(given, np.ndarray):
            raise GenirError(f"the vectors of the new documents must be a numpy array, got a {type(given).__name__}")
        require_finite_vectors(given, len(documents), "the vectors of the new documents")
        return np.asarray(given, np.float32)
    if embedder is None:
        raise GenirError(
            "the retriever has no embedder, because the vectors of its first documents came from a file; give the "
            "vectors of the new documents too (--vectors)"
        )
    return embedder.embed(documents)


def add_documents(
    index: DocumentIndex,
    documents: Sequence[Document],
    vectors: NDArray[np.float32] | None,
    embedder: TfidfEmbedder | ModelEmbedder | None,
    tokenizer: PreTrainedTokenizerBase,
) -> DocumentIndex:
    """Return an index that also has new documents, with docids from the stored codebooks; the old one stays as it is.

    vectors: see `vectors_for`. Raises GenirError if no docid is free.
    """
    table = index.table
    inputs = BuilderInput(
        documents, vectors_for(documents, vectors, table, embedder), tokenizer if table.text else None
    )
    codes = assign_new_docids(inputs, table)
    table = table.extended([document.id for document in documents], [document.title for document in documents], codes)
    trie = Trie.from_codes(table.codes)
    experts = index.experts and index.experts.extended(documents, index.trie, trie)
    return DocumentIndex(table, trie, experts, index.labels)


def remove_documents(index: DocumentIndex, doc_ids: Collection[str]) -> DocumentIndex:
    """Return an index without some documents; raise GenirError for an unknown one, and if none would be left."""
    table = index.table
    removed = {table.doc_index(doc_id) for doc_id in require_list("doc_ids", doc_ids)}
    if len(removed) == len(table):
        raise GenirError("cannot remove all documents; a retriever needs at least one")
    kept = np.delete(np.arange(len(table)), sorted(removed))
    experts = index.experts and index.experts.subset(np.sort(index.trie.leaf_of[kept]))
    table = table.subset(kept)
    return DocumentIndex(table, Trie.from_codes(table.codes), experts, index.labels)
