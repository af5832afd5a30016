"""The docid table: doc_id <-> docid, both ways, and the layout of code tokens in the model's vocabulary."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from genir.errors import GenirError
from genir.files import atomic_file, atomic_folder, clear_os_errors, read_json, write_json


class Codes(NamedTuple):
    """What a builder makes: codes [N, L] int32, codebook sizes K_1..K_L, and the tensors that code a new document."""

    codes: NDArray[np.int32]
    sizes: tuple[int, ...]
    codebooks: Mapping[str, NDArray[np.float32]]


class CodeLayout(NamedTuple):
    """Code c of level m (from 0) is model token `base + offsets[m] + c`."""

    base: int
    sizes: tuple[int, ...]

    @property
    def offsets(self) -> tuple[int, ...]:
        """First code of each level, counted from `base`."""
        return tuple(int(x) for x in np.cumsum((0, *self.sizes[:-1])))

    @property
    def vocabulary(self) -> int:
        """Rows that the model's embedding needs."""
        return self.base + sum(self.sizes)


class DocidTable:
    """Documents and their docids, in the collection's order.

    doc_ids, titles: N strings. codes: [N, L] int32. sizes: K_1..K_L.
    """

    def __init__(
        self,
        doc_ids: Sequence[str],
        titles: Sequence[str],
        codes: NDArray[np.int32],
        sizes: Sequence[int],
        settings: Mapping[str, Any] | None = None,
        codebooks: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> None:
        if not len(doc_ids) == len(titles) == len(codes) or codes.shape[1] != len(sizes):
            raise ValueError(f"{len(doc_ids)} doc_ids, {len(titles)} titles, codes {codes.shape}, {len(sizes)} sizes")
        if len(codes) and ((codes < 0).any() or (codes >= np.asarray(sizes)).any()):
            raise ValueError("a code lies outside its codebook")
        self.doc_ids = list(doc_ids)
        self.titles = list(titles)
        self.codes = codes
        self.sizes = tuple(sizes)
        self.settings = dict(settings or {})
        self.codebooks = dict(codebooks or {})

    def __len__(self) -> int:
        return len(self.doc_ids)

    @cached_property
    def rows(self) -> dict[str, int]:
        """doc_id -> its position in the table."""
        return {doc_id: row for row, doc_id in enumerate(self.doc_ids)}

    @cached_property
    def _holders(self) -> dict[tuple[int, ...], list[str]]:
        holders: dict[tuple[int, ...], list[str]] = {}
        for doc_id, codes in zip(self.doc_ids, self.codes.tolist(), strict=True):
            holders.setdefault(tuple(codes), []).append(doc_id)
        return holders

    def docid(self, doc_id: str) -> tuple[int, ...]:
        """The docid of a document; KeyError when it is not in the table."""
        return tuple(self.codes[self.rows[doc_id]].tolist())

    def documents(self, docid: Sequence[int]) -> list[str]:
        """The documents that hold a docid, in the collection's order; empty when nobody does."""
        return list(self._holders.get(tuple(docid), []))

    @cached_property
    def unique_share(self) -> float:
        """Share of documents whose docid no other document has."""
        return sum(len(holders) == 1 for holders in self._holders.values()) / max(1, len(self))

    def save(self, folder: Path) -> None:
        """Write the table: docids.json (layout), codes.safetensors, documents.tsv, codebooks.safetensors."""
        with clear_os_errors(folder), atomic_folder(folder) as new:
            smallest = np.min_scalar_type(max(self.sizes) - 1)
            kind = np.dtype(np.int32) if smallest.itemsize > 2 else smallest
            save_file({"codes": np.ascontiguousarray(self.codes.astype(kind))}, new / "codes.safetensors")
            save_file({k: np.ascontiguousarray(v) for k, v in self.codebooks.items()}, new / "codebooks.safetensors")
            with atomic_file(new / "documents.tsv") as handle:
                for doc_id, title in zip(self.doc_ids, self.titles, strict=True):
                    handle.write(f"{doc_id}\t{' '.join(title.split())}\n")
            write_json(
                new / "docids.json",
                {"documents": len(self), "sizes": self.sizes, "unique_share": self.unique_share} | self.settings,
            )

    @classmethod
    def load(cls, folder: Path) -> "DocidTable":
        """Read a table that `save` wrote."""
        about = read_json(folder / "docids.json")
        sizes = about.pop("sizes")
        count = about.pop("documents")
        about.pop("unique_share")
        codes = load_file(folder / "codes.safetensors")["codes"].astype(np.int32)
        lines = (folder / "documents.tsv").read_text(encoding="utf-8").split("\n")[:-1]
        if not len(lines) == len(codes) == count:
            raise GenirError(f"{folder}: {len(lines)} documents, {len(codes)} docids, {count} expected; build it again")
        doc_ids, titles = zip(*(line.split("\t") for line in lines), strict=True) if lines else ((), ())
        return cls(doc_ids, titles, codes, sizes, about, load_file(folder / "codebooks.safetensors"))


def extend_collisions(codes: NDArray[np.int32], sizes: Sequence[int]) -> tuple[NDArray[np.int32], tuple[int, ...]]:
    """Make docids unique with one more level (TIGER, arXiv 2305.05065, section 3.1): documents that share a docid are
    numbered in the collection's order. codes [N, L] -> [N, L + 1]; unchanged when all are unique already.
    """
    _, group, counts = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    if len(codes) == 0 or counts.max() == 1:
        return codes, tuple(sizes)
    order = np.argsort(group, kind="stable")
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    number = np.empty(len(codes), np.int32)
    number[order] = np.arange(len(codes)) - np.repeat(first, counts)
    return np.column_stack([codes, number]).astype(np.int32), (*sizes, int(counts.max()))
