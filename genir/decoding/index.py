"""The documents that one search sees: a docid table together with its trie and experts."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from genir.checks import require_list, require_positive_int
from genir.docids.labels import DocidLabels
from genir.docids.table import DocidTable
from genir.docids.trie import AllowedLeaves, Trie
from genir.errors import GenirError, quote
from genir.records import Hit, Hits
from genir.scoring.experts import Experts


def default_beams(k: int) -> int:
    """The beam size of a search for k documents: with k alone, fewer searches are certified (docs/benchmarks.md)."""
    return k + 10


class DocumentIndex:
    """A docid table, its trie and the experts of its documents, which belong together, and what writes its docids.

    It never changes: a retriever to which documents are added replaces it as a whole, so that searches in other threads
    finish with the documents they started with.
    """

    def __init__(
        self, table: DocidTable, trie: Trie, experts: Experts | None = None, labels: DocidLabels | None = None
    ) -> None:
        self.table = table
        self.labels = labels or DocidLabels()
        self.experts = experts
        self.trie = trie
        self._device_trie = trie

    def trie_on(self, device: torch.device) -> Trie:
        """The trie on a device; on a GPU it is copied once."""
        trie = self._device_trie
        if trie.codes.device != device:
            trie = self._device_trie = self.trie.to(device)
        return trie

    def limit(self, k: int, beams: int | None) -> tuple[int, int]:
        """Check k and the beam size, and limit them to the number of documents. By default there are k + 10 beams.

        Raises GenirError unless they are positive integers.
        """
        k = min(require_positive_int("k", k), len(self.table))
        return k, min(default_beams(k) if beams is None else require_positive_int("beams", beams), len(self.table))

    def allow(self, doc_ids: Iterable[str]) -> AllowedLeaves:
        """Return the documents to search among, as searches need them; raise GenirError for an unknown doc_id."""
        found = [self.table.doc_index(doc_id) for doc_id in require_list("allowed", doc_ids)]
        return self.trie.allow(np.unique(found).astype(np.int64))

    def find_leaves(self, doc_ids: Iterable[str]) -> Tensor:
        """The leaves of documents; raises GenirError for one that does not exist or is given twice."""
        doc_ids = require_list("doc_ids", doc_ids)
        found = [self.table.doc_index(doc_id) for doc_id in doc_ids]
        if repeated := next((doc_id for doc_id, times in Counter(doc_ids).items() if times > 1), None):
            raise GenirError(f"document {quote(repeated)} is given more than once")
        return self.trie.find_leaves(found)

    def make_hits(
        self, query: str, leaves: Sequence[int], scores: Sequence[float], is_exact: bool, bound: float
    ) -> Hits:
        """The result of one query, whose parts are those of `genir.decoding.beam.BeamResult`, as hits."""
        hits = self.list_hits(leaves, scores)
        return Hits(query, hits, is_exact, len(hits) if is_exact else sum(hit.score > bound for hit in hits))

    def list_hits(self, leaves: Sequence[int], scores: Sequence[float]) -> list[Hit]:
        """The documents of the leaves as hits, best first; a leaf of -1 marks padding."""
        table = self.table
        found = [
            (int(self.trie.doc_indices[leaf]), score) for leaf, score in zip(leaves, scores, strict=True) if leaf >= 0
        ]
        return [
            Hit(rank, table.doc_ids[doc_index], score, docid, table.titles[doc_index], self.labels.write(docid))
            for rank, (doc_index, score) in enumerate(found, 1)
            for docid in [table.docid_of(doc_index)]
        ]
