"""The `Retriever`: a model and its docids, loaded from a folder, that ranks documents for queries."""

import threading
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedTokenizerBase

from genir.checks import is_valid_id, require_documents, require_list, require_positive_int, require_texts
from genir.config import SoftmaxOver
from genir.console import track
from genir.decoding.beam import BeamResult, beam_search
from genir.decoding.index import DocumentIndex
from genir.decoding.trie import AllowedDocids, Trie
from genir.docids.assign import assign_new_docids
from genir.docids.table import BuilderInput, CodeLayout, DocidTable
from genir.embedders import ModelEmbedder, TfidfEmbedder, load_embedder
from genir.errors import GenirError
from genir.files import atomic_folder, read_json, reading_own_file, write_json
from genir.model import DocidModel
from genir.records import Document, Hits
from genir.t5.loading import load_t5, silence_transformers
from genir.tokenizer import load_tokenizer, tokenize

FORMAT = 2
"""Format of genir.json. Format 1, which called softmax_over "normalize", is read too."""


class Retriever:
    """Ranks documents for a query by generating their docids.

        retriever = Retriever.from_pretrained("runs/quickstart/retriever")
        hits = retriever.search("who invented the names for types of clouds", k=10)
        hits[0].doc_id, hits[0].score

    model: the T5 with the docid vocabulary. table: the documents and their docids. max_tokens: length in tokens to
    which queries are truncated. trie: the docids as a prefix tree, built from the table if it is not given. embedder:
    computes the vectors of documents that are added later; None if docids do not need vectors, or if they were read
    from a file.

    Raises GenirError if the model and the table have codebooks of different sizes.
    """

    def __init__(
        self,
        model: DocidModel,
        tokenizer: PreTrainedTokenizerBase,
        table: DocidTable,
        max_tokens: int = 64,
        trie: Trie | None = None,
        embedder: TfidfEmbedder | ModelEmbedder | None = None,
    ) -> None:
        if model.layout.sizes != table.sizes:
            raise GenirError(f"the model has codebooks of {model.layout.sizes} codes, the docid table {table.sizes}")
        self.model = model
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.embedder = embedder
        self._index = DocumentIndex(table, trie or Trie.from_codes(table.codes))
        self._edit_lock = threading.Lock()

    @property
    def table(self) -> DocidTable:
        """The documents and their docids."""
        return self._index.table

    @property
    def trie(self) -> Trie:
        """The docids as a prefix tree."""
        return self._index.trie

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, device: str | torch.device | None = None, dtype: torch.dtype = torch.float32
    ) -> "Retriever":
        """Load a retriever from its own folder, from a run folder, or from the Hugging Face hub by name.

        device: device of the model; by default CUDA if there is a GPU, else the CPU. dtype: type of the weights;
        torch.bfloat16 is meant for GPUs. Raises GenirError if there is no retriever, or if it is damaged.
        """
        path = find_retriever(folder)
        base, softmax_over, max_tokens = _read_settings(path / "genir.json")
        table = DocidTable.load(path / "docids")
        layout = CodeLayout(base, table.sizes, table.text)
        model = DocidModel(load_t5(str(path), device), layout, softmax_over)
        nn.Module.to(model.t5, dtype=dtype)
        trie = Trie.load(path / "docids" / "trie.safetensors")
        embedder = load_embedder(path / "docids" / "embedder")
        return cls(model, load_tokenizer(str(path)), table, max_tokens, trie, embedder)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the retriever folder, completely or not at all; Hugging Face can load its model and tokenizer too.

        A retriever that the folder already holds is replaced. Raises GenirError if the folder holds anything else.
        """
        require_replaceable(folder)
        index = self._index
        with atomic_folder(Path(folder)) as new, silence_transformers():
            self.model.t5.save_pretrained(new)
            self.tokenizer.save_pretrained(new)
            index.table.save(new / "docids")
            index.trie.save(new / "docids" / "trie.safetensors")
            if self.embedder is not None:
                self.embedder.save(new / "docids" / "embedder")
            settings = {"softmax_over": self.model.softmax_over, "base": self.model.layout.base}
            write_json(new / "genir.json", {"format": FORMAT, **settings, "max_tokens": self.max_tokens})

    def add(self, documents: Sequence[Document], vectors: NDArray[np.float32] | None = None) -> None:
        """Assign docids to new documents with the stored codebooks and make them searchable, without any training.

        The docids of the other documents do not change, and searches that run in other threads finish with the
        documents they started with. vectors [n, D]: the vectors of the new documents; they are needed if the vectors of
        the first documents came from a file.
        Raises GenirError for anything but a list of documents, for a doc_id that exists already or contains white
        space, for missing vectors or a wrong number of them, if the docid table was imported without codebooks, and if
        no docid is free.
        """
        documents = require_documents(documents)
        with self._edit_lock:
            self._require_new(documents)
            if vectors is not None and len(vectors) != len(documents):
                raise GenirError(f"got {len(vectors):,} vectors for {len(documents):,} new documents")
            if not documents:
                return
            table = self.table
            if "docids" not in table.settings:
                raise GenirError("documents cannot be added: this docid table was imported without its codebooks")
            vectors = self._vectors_for(documents, vectors)
            inputs = BuilderInput(documents, vectors, self.tokenizer if table.text else None)
            codes = assign_new_docids(inputs, table)
            ids, titles = [document.id for document in documents], [document.title for document in documents]
            table = table.extended(ids, titles, codes)
            if table.text:  # a new docid may be longer than all others; searches of the old index can use it too
                self.model.layout = self.model.layout._replace(sizes=table.sizes)
            self._index = DocumentIndex(table, Trie.from_codes(table.codes))

    def _require_new(self, documents: Sequence[Document]) -> None:
        for doc_id, times in Counter(document.id for document in documents).items():
            if not is_valid_id(doc_id):
                raise GenirError(f"doc_id must be a string without white space and control characters, got {doc_id!r}")
            if times > 1:
                raise GenirError(f"document {doc_id!r} appears {times} times among the new documents")
            if doc_id in self.table.doc_indices:
                raise GenirError(f"document {doc_id!r} exists already; remove it first to change it")

    def _vectors_for(self, documents: Sequence[Document], given: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """The given vectors [n, D] of new documents, or those of the embedder; text docids need none (D = 0)."""
        if self.table.text:
            return np.zeros((len(documents), 0), np.float32)
        if given is not None:
            return given
        if self.embedder is None:
            raise GenirError(
                "the retriever has no embedder, because the vectors of its first documents came from a file; give the "
                "vectors of the new documents too (--vectors)"
            )
        return self.embedder.embed(documents)

    def remove(self, doc_ids: Collection[str]) -> None:
        """Remove documents from the retriever; documents that are added later can get their docids.

        Raises GenirError for an unknown doc_id, and if no document would be left.
        """
        with self._edit_lock:
            table = self.table
            removed = {table.doc_index(doc_id) for doc_id in require_list("doc_ids", doc_ids)}
            if len(removed) == len(table):
                raise GenirError("cannot remove all documents; a retriever needs at least one")
            table = table.subset(np.delete(np.arange(len(table)), sorted(removed)))
            self._index = DocumentIndex(table, Trie.from_codes(table.codes))

    def search(
        self,
        query: str,
        k: int = 10,
        beams: int | None = None,
        allowed: Collection[str] | None = None,
        exact: bool = False,
    ) -> Hits:
        """Find the k best documents for a query; see `search_many`."""
        return self.search_many([query], k, beams, allowed, exact=exact)[0]

    def search_many(
        self,
        queries: Sequence[str],
        k: int = 10,
        beams: int | None = None,
        allowed: Collection[str] | None = None,
        batch_size: int = 32,
        show_progress: bool = False,
        exact: bool = False,
    ) -> list[Hits]:
        """Find the k best documents for each query. A score is the natural log-probability of a document's docid.

        beams: beam size; by default the larger of k and 10. allowed: doc_ids of the documents to search among, such as
        those of one tenant; the result is the same as if there were no other documents. exact: continue until the hits
        are proven to be the model's best, however long it takes; otherwise `Hits.exact` says whether they are.
        batch_size: queries that are searched at once.
        Raises GenirError for an empty query, an allowed document that does not exist, or NaN scores.
        """
        index = self._index  # documents that other threads add or remove meanwhile do not change this search
        k = min(require_positive_int("k", k), len(index.table))
        batch_size = require_positive_int("batch_size", batch_size)
        beams = max(k, 10) if beams is None else min(require_positive_int("beams", beams), len(index.table))
        queries = require_texts(queries)
        doc_indices = None
        if allowed is not None:
            found = [index.table.doc_index(doc_id) for doc_id in require_list("allowed", allowed)]
            doc_indices = np.unique(found).astype(np.int64)
        among = None if doc_indices is None else index.trie.allowed_docids(doc_indices).to(self.model.device)
        starts = range(0, len(queries), batch_size)
        results: list[Hits] = []
        for start in track(starts, "searching") if show_progress else starts:
            batch = queries[start : start + batch_size]
            result = self._decode(index, batch, beams, k, among, exact)
            for query, leaves, scores, is_exact, bound in zip(batch, *(x.tolist() for x in result), strict=True):
                hits = index.list_hits(leaves, scores, k, doc_indices)
                proven = len(hits) if is_exact else sum(hit.score > bound for hit in hits)
                results.append(Hits(query, hits, is_exact, proven))
        return results

    @torch.inference_mode()
    def _decode(
        self, index: DocumentIndex, queries: Sequence[str], beams: int, k: int, among: AllowedDocids | None, exact: bool
    ) -> BeamResult:
        """Tokenise and encode a batch of queries, and search the trie."""
        inputs = tokenize(self.tokenizer, queries, self.max_tokens)
        training = self.model.t5.training
        self.model.t5.train(False)  # a model that is being trained is also searched without dropout
        try:
            encoded = self.model.encode(**{name: tensor.to(self.model.device) for name, tensor in inputs.items()})
            trie = index.trie_on(self.model.device)
            return beam_search(self.model, trie, encoded, beams, k, among, exact, count_documents=True)
        finally:
            self.model.t5.train(training)


def _read_settings(path: Path) -> tuple[int, SoftmaxOver, int]:
    """Read the settings base, softmax_over and max_tokens of a genir.json."""
    with reading_own_file(path) as file:
        settings = read_json(file)
        if settings["format"] not in (1, FORMAT):
            raise GenirError(f"{path}: has format {settings['format']}; this version reads formats 1 and {FORMAT}")
        softmax_over: SoftmaxOver = settings["normalize" if settings["format"] == 1 else "softmax_over"]
        return settings["base"], softmax_over, settings["max_tokens"]


def require_replaceable(folder: str | Path) -> None:
    """Raise GenirError unless `folder` does not exist yet, is empty, or holds a retriever, which may be replaced."""
    path = Path(folder)
    if path.exists() and not (path / "genir.json").is_file() and (not path.is_dir() or any(path.iterdir())):
        raise GenirError(f"{path}: holds something that is not a retriever and would be lost; choose another folder")


def find_retriever(folder: str | Path) -> Path:
    """Return the path of a retriever folder: `folder` itself, RUN/retriever of a run, or a download from the hub.

    Raises GenirError if none of these is a retriever.
    """
    path = Path(folder)
    if (path / "genir.json").is_file():
        return path
    if (path / "retriever" / "genir.json").is_file():
        return path / "retriever"
    if path.exists():
        raise GenirError(f"{folder}: not a retriever (it has no genir.json); a finished run has one in its retriever/")
    if str(folder).count("/") != 1 or path.is_absolute() or path.parent.is_dir() or path.parts[0] in ("..", "~"):
        raise GenirError(f"{folder}: no such folder")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(folder)))
    except Exception as error:  # the hub raises a dozen unrelated types
        raise GenirError(f"{folder}: no such folder, and not on the hub: {str(error).splitlines()[0]}") from None
