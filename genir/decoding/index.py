"""The documents that one search sees: a docid table together with its trie."""

from collections.abc import Sequence

import torch

from genir.decoding.trie import Trie
from genir.docids.order import Array
from genir.docids.table import DocidTable
from genir.records import Hit


class DocumentIndex:
    """A docid table and its trie, which belong together.

    It never changes: a retriever to which documents are added replaces it as a whole, so that searches in other threads
    finish with the documents they started with.
    """

    def __init__(self, table: DocidTable, trie: Trie) -> None:
        self.table = table
        self.trie = trie
        self._device_trie = trie

    def trie_on(self, device: torch.device) -> Trie:
        """The trie on a device; on a GPU it is copied once."""
        trie = self._device_trie
        if trie.codes.device != device:
            trie = self._device_trie = self.trie.to(device)
        return trie

    def list_hits(self, leaves: Sequence[int], scores: Sequence[float], k: int, allowed: Array | None) -> list[Hit]:
        """The first k documents of the docids as hits; documents that share a docid are in the collection's order."""
        found = [
            (int(doc_index), score)
            for leaf, score in zip(leaves, scores, strict=True)
            if leaf >= 0
            for doc_index in self.trie.documents_of(leaf)
            if allowed is None or doc_index in allowed
        ][:k]
        table = self.table
        return [
            Hit(rank, table.doc_ids[doc_index], score, table.docid_of(doc_index), table.titles[doc_index])
            for rank, (doc_index, score) in enumerate(found, 1)
        ]
