"""The `Retriever`: a model and its docids, loaded from a folder, that ranks documents for queries."""

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from genir.checks import require_documents, require_positive_int, require_texts
from genir.console import track
from genir.decoding.beam import beam_search
from genir.decoding.deadline import Deadline
from genir.decoding.index import DocumentIndex
from genir.docids.labels import DocidLabels
from genir.docids.table import DocidTable
from genir.docids.trie import AllowedLeaves, Trie
from genir.embedders import ModelEmbedder, TfidfEmbedder
from genir.errors import GenirError
from genir.model import DocidModel, Encoded
from genir.records import Document, Hits
from genir.retriever.documents import add_documents, remove_documents, require_extensible, require_new
from genir.retriever.folder import load_unmixed
from genir.retriever.search_explanation import SearchExplanation, explain_search
from genir.retriever.storage import RetrieverParts, push_parts, read_parts, write_parts
from genir.scoring.experts import Experts, compute_masses
from genir.scoring.explanation import Explanation, explain_document
from genir.scoring.logps import document_logps
from genir.scoring.masses import Masses
from genir.tokenizer import tokenize


class Retriever:
    """Ranks documents for a query by generating their docids.

        retriever = Retriever.from_pretrained("runs/quickstart/retriever")
        hits = retriever.search("who invented the names for types of clouds", k=10)
        hits[0].doc_id, hits[0].score

    model: the T5 with the docid vocabulary. table: the documents and their docids. max_tokens: length in tokens to
    which queries are truncated. trie: the docids as a prefix tree, built from the table if it is not given. embedder:
    computes the vectors of documents that are added later; None if docids do not need vectors, or if they were read
    from a file. experts: what scores the documents besides the model; None if nothing does.

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
        experts: Experts | None = None,
    ) -> None:
        if model.layout.sizes != table.sizes:
            raise GenirError(f"the model has codebooks of {model.layout.sizes} codes, the docid table {table.sizes}")
        self.model = model
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.embedder = embedder
        labels = DocidLabels(tokenizer if table.text else None)
        self._index = DocumentIndex(table, trie or Trie.from_codes(table.codes), experts, labels)
        self._edit_lock = threading.Lock()
        self._origin: Path | None = None  # the folder that it was loaded from, as long as its documents are those there

    def __repr__(self) -> str:
        return f"Retriever({len(self.table):,} documents, {self.model.device})"

    @property
    def table(self) -> DocidTable:
        """The documents and their docids."""
        return self._index.table

    @property
    def trie(self) -> Trie:
        """The docids as a prefix tree."""
        return self._index.trie

    @property
    def experts(self) -> Experts | None:
        """What scores the documents besides the model."""
        return self._index.experts

    @property
    def index(self) -> DocumentIndex:
        """The documents as they are at present: the table, its trie and the experts, which belong together."""
        return self._index

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        device: str | torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        revision: str | None = None,
    ) -> "Retriever":
        """Load a retriever from its own folder, from a run folder, or from the Hugging Face hub by name (USER/NAME).

        device: device of the model; by default CUDA if there is a GPU, else the CPU. dtype: type of the weights;
        torch.bfloat16 is meant for GPUs. revision: a branch, tag or commit of the hub's repository, by default main.
        Raises GenirError if there is no retriever, or if it is damaged.
        """

        def load(path: Path) -> Retriever:
            loaded = cls(*read_parts(path, device, dtype))
            loaded._origin = path
            return loaded

        return load_unmixed(folder, load, revision)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the retriever folder, completely or not at all; Hugging Face can load its model and tokenizer too.

        A retriever that the folder already holds is replaced, together with its model card (README.md); see
        `genir.retriever.model_card`. Raises GenirError if the folder holds anything else.
        """
        parts, origin = self._snapshot()
        write_parts(parts, Path(folder), origin)

    def push_to_hub(
        self,
        repo_id: str,
        private: bool | None = None,
        branch: str | None = None,
        token: str | None = None,
        commit_message: str = "Upload a genir retriever",
    ) -> str:
        """Upload the retriever to a repository of the Hugging Face hub, USER/NAME, and return the commit's address.

        The repository and the branch (by default main) are created if they do not exist. An earlier retriever that is
        there is replaced; other files and an edited model card are kept. private: whether a new repository is private;
        by default as its owner has set. token: by default that of `hf auth login` or of the variable HF_TOKEN. Raises
        GenirError if the branch has files but no retriever, and if the hub refuses.
        """
        return push_parts(*self._snapshot(), repo_id, private, branch, token, commit_message)

    def _snapshot(self) -> tuple[RetrieverParts, Path | None]:
        """Return what is saved, and the origin, as they are between two edits of other threads."""
        with self._edit_lock:
            index, model, origin = self._index, self.model, self._origin
        parts = (index.table, self.max_tokens, index.trie, self.embedder, index.experts)
        return RetrieverParts(model, self.tokenizer, *parts), origin

    def add(self, documents: Sequence[Document], vectors: NDArray[np.float32] | None = None) -> None:
        """Assign docids to new documents with the stored codebooks and make them searchable, without any training.

        The docids of the others do not change, and searches in other threads finish with the documents they started
        with. vectors [n, D]: those of the new documents, needed if the vectors of the first ones came from a file.
        Raises GenirError for anything but a list of documents, for a doc_id that exists already or contains white
        space, for missing vectors or a wrong number of them, if the docid table was imported without codebooks, if no
        docid is free, and for atomic docids with a softmax over the whole vocabulary.
        """
        documents = require_documents(documents)
        with self._edit_lock:
            require_new(documents, self.table)
            if not documents:
                return
            require_extensible(self.table, self.model.softmax_over)
            index = add_documents(self._index, documents, vectors, self.embedder, self.tokenizer)
            # Nothing fails from here on. Searches of the old index can use the changed model too.
            if index.table.text:  # a new docid may be longer than all others
                self.model.layout = self.model.layout._replace(sizes=index.table.sizes)
            elif index.table.sizes != self.model.layout.sizes:  # atomic docids: new codes
                self.model = self.model.with_more_codes(index.table.sizes[0])
            self._index, self._origin = index, None

    def remove(self, doc_ids: Collection[str]) -> None:
        """Remove documents from the retriever; documents added later can get their docids, unless these are atomic.

        Raises GenirError for an unknown doc_id, and if no document would be left.
        """
        with self._edit_lock:
            self._index, self._origin = remove_documents(self._index, doc_ids), None

    def search(
        self,
        query: str,
        k: int = 10,
        beams: int | None = None,
        allowed: Collection[str] | None = None,
        exact: bool = False,
        timeout: float | Deadline | None = None,
    ) -> Hits:
        """Find the k best documents for a query; see `search_many`."""
        return self.search_many([query], k, beams, allowed, exact=exact, timeout=timeout)[0]

    def search_many(
        self,
        queries: Sequence[str],
        k: int = 10,
        beams: int | None = None,
        allowed: Collection[str] | None = None,
        batch_size: int = 32,
        show_progress: bool = False,
        exact: bool = False,
        timeout: float | Deadline | None = None,
    ) -> list[Hits]:
        """Find the k best documents for each query. A score is the natural log-probability of a document's docid.

        beams: beam size; by default k + 10. allowed: doc_ids of the documents to search among, such as
        those of one tenant; the result is the same as if there were no other documents, except that the experts keep
        their statistics of all documents. exact: continue until the hits are proven to be the model's best, however
        long it takes; otherwise `Hits.exact` says whether they are. batch_size: queries that are searched at once.
        timeout: seconds after which the search of all queries gives up, or a `Deadline`, which another thread can
        cancel.
        Raises GenirError for an empty query, an allowed document that does not exist, or NaN scores, and SearchTimeout
        if the search takes longer than the timeout.
        """
        deadline = Deadline.of(timeout)
        index = self._index  # documents that other threads add or remove meanwhile do not change this search
        k, beams = index.limit(k, beams)
        batch_size = require_positive_int("batch_size", batch_size)
        queries = require_texts(queries)
        among = None if allowed is None else index.allow(allowed).to(self.model.device)
        starts = range(0, len(queries), batch_size)
        results: list[Hits] = []
        for start in track(starts, "searching") if show_progress else starts:
            batch = queries[start : start + batch_size]
            deadline.check()
            with self._encode(index, batch, among) as (encoded, trie, masses):
                result = beam_search(self.model, trie, encoded, beams, k, among, exact, deadline, masses)
            results += [index.make_hits(*x) for x in zip(batch, *(x.tolist() for x in result), strict=True)]
        return results

    def rank(self, query: str, doc_ids: Sequence[str], timeout: float | Deadline | None = None) -> Hits:
        """Rank given documents, such as those that another system found, by log p(d | q) among all documents.

        timeout: as in `search_many`. Raises GenirError for an empty query, and for a document that does not exist or is
        given twice, and SearchTimeout if it takes longer than the timeout.
        """
        deadline = Deadline.of(timeout)
        index, query = self._index, require_texts([query])[0]
        leaves = index.find_leaves(doc_ids)
        if not len(leaves):
            return Hits(query, [], exact=True)
        with self._encode(index, [query]) as (encoded, trie, masses):
            leaves = leaves.to(self.model.device)
            logps = document_logps(self.model, encoded, trie, leaves[None], masses, check=deadline.check)
        scores, order = logps[0].cpu().sort(descending=True, stable=True)
        return Hits(query, index.list_hits(leaves[order].tolist(), scores.tolist()), exact=True)

    @overload
    def explain(self, query: str, doc_id: str, *, timeout: float | Deadline | None = None) -> Explanation: ...
    @overload
    def explain(
        self,
        query: str,
        doc_id: None = None,
        k: int = 10,
        beams: int | None = None,
        timeout: float | Deadline | None = None,
    ) -> SearchExplanation: ...
    def explain(
        self,
        query: str,
        doc_id: str | None = None,
        k: int = 10,
        beams: int | None = None,
        timeout: float | Deadline | None = None,
    ) -> Explanation | SearchExplanation:
        """Explain the search for the k best documents: which prefixes the beams held at each level, and which lost.

        With a doc_id, explain the score of that document instead, level by level. k, beams, timeout: as in `search`.
        Raises GenirError for an empty query, for a document that does not exist, and if the scores are normalised over
        the whole vocabulary, because they then have no share of the experts; SearchTimeout after the timeout.
        """
        deadline = Deadline.of(timeout)
        index, query = self._index, require_texts([query])[0]
        if self.model.softmax_over != "trie":
            raise GenirError("only scores with a softmax over the trie can be explained (model.softmax_over=trie)")
        with self._encode(index, [query]) as (encoded, _, masses):
            if doc_id is not None:
                documents = (index.table, index.labels, index.experts)
                return explain_document(self.model, *documents, query, doc_id, encoded, masses, deadline.check)
            k, beams = index.limit(k, beams)
            return explain_search(self.model, index, query, k, beams, encoded, masses, deadline)

    @contextmanager
    def _encode(
        self, index: DocumentIndex, queries: Sequence[str], among: AllowedLeaves | None = None
    ) -> Iterator[tuple[Encoded, Trie, Masses]]:
        """Encode queries and compute their prior masses; the `with` block is without gradients and without dropout."""
        device = self.model.device
        inputs = tokenize(self.tokenizer, queries, self.max_tokens)
        training = self.model.t5.training
        self.model.t5.train(False)  # a model that is being trained is also searched without dropout
        try:
            with torch.inference_mode():
                encoded = self.model.encode(**{name: tensor.to(device) for name, tensor in inputs.items()})
                trie = index.trie_on(device)
                yield encoded, trie, compute_masses(index.experts, queries, trie, device, among)
        finally:
            self.model.t5.train(training)
