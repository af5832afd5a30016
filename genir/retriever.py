"""The thing a user holds: a folder with a model, its docids and their settings, that ranks documents for a query."""

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedTokenizerBase

from genir.checks import is_valid_id, require_list, require_positive_int, require_texts
from genir.console import track
from genir.decoding.beam import BeamResult, beam_search
from genir.decoding.trie import Allowed, Trie
from genir.docids.assign import new_docids
from genir.docids.order import Array
from genir.docids.table import CodeLayout, DocidTable, Source
from genir.embedders import ModelEmbedder, TfidfEmbedder, load_embedder
from genir.errors import GenirError
from genir.files import atomic_folder, read_json, reading_own_file, write_json
from genir.model import DocidModel
from genir.records import Document, Hit, Hits
from genir.t5.loading import load_t5, silence_transformers
from genir.tokenizer import load_tokenizer, tokenize

FORMAT = 1


class Retriever:
    """Ranks documents by writing their docids.

    retriever = Retriever.from_pretrained("runs/quickstart/retriever")
    hits = retriever.search("who invented the names for types of clouds", k=10)
    hits[0].doc_id, hits[0].score
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
            raise GenirError(f"the model's codebooks are {model.layout.sizes}, the docid table's {table.sizes}")
        self.model = model
        self.tokenizer = tokenizer
        self.table = table
        self.max_tokens = max_tokens
        self.embedder = embedder
        self.trie = trie or Trie.from_codes(table.codes)
        self._copy: tuple[Trie, Trie] | None = None

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, device: str | torch.device | None = None, dtype: torch.dtype = torch.float32
    ) -> "Retriever":
        """Load a retriever folder, or one of the Hugging Face hub by its name.

        device: where to put it; default CUDA where there is one, else the CPU. dtype: of the weights; torch.bfloat16
        is for GPUs.
        """
        path = retriever_folder(folder)
        with reading_own_file(path / "genir.json") as file:
            about = read_json(file)
            if about["format"] != FORMAT:
                raise GenirError(f"{path}: has format {about['format']}; this genir reads {FORMAT}")
            base, normalize, max_tokens = about["base"], about["normalize"], about["max_tokens"]
        table = DocidTable.load(path / "docids")
        layout = CodeLayout(base, table.sizes, table.text)
        model = DocidModel(load_t5(str(path), device), layout, normalize)
        nn.Module.to(model.t5, dtype=dtype)
        trie = Trie.load(path / "docids" / "trie.safetensors")
        embedder = load_embedder(path / "docids" / "embedder")
        return cls(model, load_tokenizer(str(path)), table, max_tokens, trie, embedder)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the folder, whole or not at all; it is a plain Hugging Face model folder too.

        An older retriever there is replaced; GenirError where something else is.
        """
        require_replaceable(folder)
        with atomic_folder(Path(folder)) as new, silence_transformers():
            self.model.t5.save_pretrained(new)
            self.tokenizer.save_pretrained(new)
            self.table.save(new / "docids")
            self.trie.save(new / "docids" / "trie.safetensors")
            if self.embedder is not None:
                self.embedder.save(new / "docids" / "embedder")
            layout = self.model.layout
            about = {"format": FORMAT, "normalize": self.model.normalize, "base": layout.base}
            write_json(new / "genir.json", about | {"max_tokens": self.max_tokens})

    def add(self, documents: Sequence[Document], vectors: NDArray[np.float32] | None = None) -> None:
        """Give new documents docids by the saved codebooks and make them findable, without any training.

        vectors [n, D]: needed where the first documents' vectors were given as a file. No docid of the others changes.
        Raises GenirError for a doc_id that is there already, or holds white space, and when no free docid is left.
        """
        ids = [document.id for document in documents]
        for doc_id, times in Counter(ids).items():
            if not is_valid_id(doc_id):
                raise GenirError(f"a doc_id must be a string without white space, not {doc_id!r}")
            if times > 1:
                raise GenirError(f"document {doc_id!r} is there {times} times among the new ones")
            if doc_id in self.table.doc_indices:
                raise GenirError(f"document {doc_id!r} is there already; remove it first to change it")
        if vectors is not None and len(vectors) != len(documents):
            raise GenirError(f"there are {len(vectors):,} vectors for {len(documents):,} new documents")
        if not documents:
            return
        if "docids" not in self.table.settings:
            raise GenirError("this docid table was imported without its codebooks, so no document can be added to it")
        if self.table.text:
            vectors = np.zeros((len(documents), 0), np.float32)
        elif vectors is None:
            if self.embedder is None:
                raise GenirError(
                    "no embedder was kept, since the first documents' vectors were given as a file: give those of the "
                    "new ones too (--vectors)"
                )
            vectors = self.embedder.embed(documents)
        codes = new_docids(Source(documents, vectors, self.tokenizer if self.table.text else None), self.table)
        self.table = self.table.extended(ids, [document.title for document in documents], codes)
        if self.table.text:
            self.model.layout = self.model.layout._replace(sizes=self.table.sizes)  # of the longest docid now
        self.trie = Trie.from_codes(self.table.codes)

    def remove(self, doc_ids: Collection[str]) -> None:
        """Make documents unfindable; their docids become free. GenirError for a doc_id that is not there."""
        gone = {self.table.doc_index(doc_id) for doc_id in require_list("doc_ids", doc_ids)}
        if len(gone) == len(self.table):
            raise GenirError("a retriever needs at least one document; these would be all")
        self.table = self.table.subset(np.delete(np.arange(len(self.table)), sorted(gone)))
        self.trie = Trie.from_codes(self.table.codes)

    def search(
        self,
        query: str,
        k: int = 10,
        beams: int | None = None,
        allowed: Collection[str] | None = None,
        exact: bool = False,
    ) -> Hits:
        """The k best documents for a query; see `search_many`."""
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
        """The k best documents for each query.

        beams: docids followed at once; default k, at least 10. allowed: search among these doc_ids only (a tenant, a
        range of dates), as if there were no others. exact: go on until the hits are provably the best of all documents
        by the model's score, however long it takes; without it, each `Hits.exact` tells whether they are. Scores are
        natural log-probabilities of docids. Raises GenirError for an empty query, an allowed document that does not
        exist, or scores that are no numbers.
        """
        k, batch_size = (
            min(require_positive_int("k", k), len(self.table)),
            require_positive_int("batch_size", batch_size),
        )
        beams = max(k, 10) if beams is None else min(require_positive_int("beams", beams), len(self.table))
        queries = require_texts(queries)
        rows = None
        if allowed is not None:
            rows = np.unique([self.table.doc_index(doc_id) for doc_id in require_list("allowed", allowed)]).astype(
                np.int64
            )
        among = None if rows is None else self.trie.allow(rows).to(self.model.device)
        starts = range(0, len(queries), batch_size)
        hits: list[Hits] = []
        for start in track(starts, "searching") if show_progress else starts:
            batch = queries[start : start + batch_size]
            result = self._decode(batch, beams, k, among, exact)
            for query, leaves, scores, proven in zip(batch, *(x.tolist() for x in result), strict=True):
                hits.append(Hits(query, self._hits(leaves, scores, k, rows), proven))
        return hits

    @torch.inference_mode()
    def _decode(self, queries: Sequence[str], beams: int, k: int, among: Allowed | None, exact: bool) -> BeamResult:
        inputs = tokenize(self.tokenizer, queries, self.max_tokens)
        training = self.model.t5.training
        self.model.t5.train(False)  # a policy that is being trained is searched without dropout
        try:
            encoded = self.model.encode(**{name: tensor.to(self.model.device) for name, tensor in inputs.items()})
            return beam_search(self.model, self._trie_beside_the_model(), encoded, beams, k, among, exact, True)
        finally:
            self.model.t5.train(training)

    def _trie_beside_the_model(self) -> Trie:
        """The trie on the model's device; on a GPU a copy, made once."""
        if self._copy is None or self._copy[0] is not self.trie or self._copy[1].codes.device != self.model.device:
            self._copy = self.trie, self.trie.to(self.model.device)
        return self._copy[1]

    def _hits(self, leaves: Sequence[int], scores: Sequence[float], k: int, allowed: Array | None) -> list[Hit]:
        """Docids -> documents; those that share a docid stand in the collection's order."""
        found = [
            (int(row), score)
            for leaf, score in zip(leaves, scores, strict=True)
            if leaf >= 0
            for row in self.trie.documents(leaf)
            if allowed is None or row in allowed
        ][:k]
        table = self.table
        return [
            Hit(rank, table.doc_ids[row], score, table.docid_of(row), table.titles[row])
            for rank, (row, score) in enumerate(found, 1)
        ]


def require_replaceable(folder: str | Path) -> None:
    """Raise unless a retriever may take this place: nothing is there, an empty folder, or another retriever."""
    path = Path(folder)
    if path.exists() and not (path / "genir.json").is_file() and (not path.is_dir() or any(path.iterdir())):
        raise GenirError(f"{path}: holds something that is no retriever and would be lost; choose another folder")


def retriever_folder(folder: str | Path) -> Path:
    """The folder itself, the one of a run, or one of the hub by its name."""
    path = Path(folder)
    if (path / "genir.json").is_file():
        return path
    if (path / "retriever" / "genir.json").is_file():
        return path / "retriever"
    if path.exists():
        raise GenirError(f"{folder}: not a retriever (no genir.json there); a finished run has one in its retriever/")
    if str(folder).count("/") != 1 or path.is_absolute() or path.parent.is_dir() or path.parts[0] in ("..", "~"):
        raise GenirError(f"{folder}: no such folder")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(folder)))
    except Exception as error:  # the hub raises a dozen kinds
        raise GenirError(f"{folder}: no such folder, and the hub gave none: {str(error).splitlines()[0]}") from None
