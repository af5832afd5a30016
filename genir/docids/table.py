"""The docid table: doc_id <-> docid, both ways, and the layout of code tokens in the model's vocabulary."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from genir.docids.order import Array, Ordered, compact, order_docids
from genir.errors import GenirError
from genir.files import atomic_file, atomic_folder, read_json, reading_own_file, write_json
from genir.records import Document


class Source(NamedTuple):
    """What docids are made from: N documents; their vectors [N, D], D = 0 unless the builder needs them; the text
    tokenizer, for the builders that write text.
    """

    documents: Sequence[Document]
    vectors: NDArray[np.float32]
    tokenizer: Any = None


class Codes(NamedTuple):
    """What a builder makes: codes [N, L] int32, -1 after the end of shorter docids; codebook sizes K_1..K_L; and the
    tensors that give a new document its codes.
    """

    codes: NDArray[np.int32]
    sizes: tuple[int, ...]
    codebooks: Mapping[str, NDArray[Any]]


class CodeLayout(NamedTuple):
    """Code c of level m (from 0) is model token `base + offsets[m] + c`.

    Text docids are written with the model's own tokens: base and all offsets are 0, and every level has all of them.
    """

    base: int
    sizes: tuple[int, ...]
    text: bool = False

    @property
    def offsets(self) -> tuple[int, ...]:
        """First code of each level, counted from `base`."""
        return (0,) * len(self.sizes) if self.text else _sums_before(self.sizes)

    @property
    def vocabulary(self) -> int:
        """Rows that the model's embedding needs."""
        return self.base + (max(self.sizes) if self.text else sum(self.sizes))


@cache
def _sums_before(sizes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(accumulate(sizes[:-1], initial=0))


class DocidTable:
    """Documents and their docids, in the collection's order.

    doc_ids, titles: N strings. codes: [N, L], -1 after the end of shorter docids, kept in the smallest integer type.
    sizes: K_1..K_L. text: whether codes are text tokens of the model.
    """

    def __init__(
        self,
        doc_ids: Sequence[str],
        titles: Sequence[str],
        codes: Array,
        sizes: Sequence[int],
        settings: Mapping[str, Any] | None = None,
        codebooks: Mapping[str, NDArray[Any]] | None = None,
        text: bool = False,
    ) -> None:
        if not len(doc_ids) == len(titles) == len(codes) or codes.shape[1] != len(sizes):
            raise ValueError(f"{len(doc_ids)} doc_ids, {len(titles)} titles, codes {codes.shape}, {len(sizes)} sizes")
        if len(codes) and ((codes < -1).any() or (codes >= np.asarray(sizes)).any() or (codes[:, 0] < 0).any()):
            raise ValueError("a code lies outside its codebook")
        if ((codes[:, :-1] < 0) & (codes[:, 1:] >= 0)).any():
            raise ValueError("a code stands after the end of its docid")
        self.doc_ids = list(doc_ids)
        self.titles = list(titles)
        self.codes = compact(codes)
        self.sizes = tuple(sizes)
        self.settings = dict(settings or {})
        self.codebooks = dict(codebooks or {})
        self.text = text

    def __len__(self) -> int:
        return len(self.doc_ids)

    @cached_property
    def doc_indices(self) -> dict[str, int]:
        """doc_id -> its position in the table."""
        return {doc_id: row for row, doc_id in enumerate(self.doc_ids)}

    @cached_property
    def ordered(self) -> Ordered:
        """The documents in the order of their docids."""
        return order_docids(self.codes)

    def doc_index(self, doc_id: str) -> int:
        """The position of a document; GenirError when it is not in the table."""
        if doc_id not in self.doc_indices:
            raise GenirError(f"no document {doc_id!r} among the {len(self):,} of this docid table")
        return self.doc_indices[doc_id]

    def docid(self, doc_id: str) -> tuple[int, ...]:
        """The docid of a document."""
        return self.docid_of(self.doc_index(doc_id))

    def docid_of(self, row: int) -> tuple[int, ...]:
        """The docid of the document at a position."""
        return tuple(code for code in self.codes[row].tolist() if code >= 0)

    def documents(self, docid: Sequence[int]) -> list[str]:
        """The documents that hold a docid, in the collection's order; empty when nobody does."""
        if not 0 < len(docid) <= len(self.sizes):
            return []
        order = self.ordered.order
        for level, code in enumerate([*docid, -1][: len(self.sizes)]):
            column = self.codes[order, level]
            order = order[np.searchsorted(column, code) : np.searchsorted(column, code, side="right")]
        return [self.doc_ids[row] for row in order]

    @cached_property
    def unique_share(self) -> float:
        """Share of documents whose docid no other document has."""
        equal = self.ordered.shared == len(self.sizes)
        return 1 - float((equal[:-1] | equal[1:]).sum()) / max(1, len(self))

    def subset(self, rows: Array) -> "DocidTable":
        """The table of some of its documents, in the order of `rows`."""
        doc_ids, titles = ([column[row] for row in rows.tolist()] for column in (self.doc_ids, self.titles))
        return DocidTable(doc_ids, titles, self.codes[rows], self.sizes, self.settings, self.codebooks, self.text)

    def extended(self, doc_ids: Sequence[str], titles: Sequence[str], codes: Array) -> "DocidTable":
        """The table with new documents after the old ones; codes [n, L], of text docids with any L."""
        known = [doc_id for doc_id in doc_ids if doc_id in self.doc_indices]
        if known:
            raise GenirError(f"document {known[0]!r} is in the docid table already, as {len(known):,} new ones are")
        longer = codes.shape[1] - len(self.sizes) if self.text else 0
        old = np.pad(self.codes.astype(np.int32), ((0, 0), (0, longer)), constant_values=-1)
        return DocidTable(
            [*self.doc_ids, *doc_ids],
            [*self.titles, *titles],
            np.concatenate([old, codes]),
            self.sizes + self.sizes[:1] * longer,
            self.settings,
            self.codebooks,
            self.text,
        )

    def save(self, folder: Path) -> None:
        """Write the table: docids.json (layout), codes.safetensors, documents.tsv, codebooks.safetensors."""
        with atomic_folder(folder) as new:
            save_file({"codes": self.codes}, new / "codes.safetensors")
            save_file({k: np.ascontiguousarray(v) for k, v in self.codebooks.items()}, new / "codebooks.safetensors")
            with atomic_file(new / "documents.tsv") as handle:
                handle.writelines(_lines(self.doc_ids, self.titles))
            about = {"documents": len(self), "sizes": self.sizes, "text": self.text, "unique_share": self.unique_share}
            write_json(new / "docids.json", about | self.settings)

    @classmethod
    def load(cls, folder: Path) -> "DocidTable":
        """Read a table that `save` wrote."""
        with reading_own_file(folder / "docids.json") as path:
            about = read_json(path)
            sizes, count, text, _ = (about.pop(name) for name in ("sizes", "documents", "text", "unique_share"))
        with reading_own_file(folder / "codes.safetensors") as path:
            codes = load_file(path)["codes"]
        with reading_own_file(folder / "codebooks.safetensors") as path:
            codebooks = load_file(path)
        with reading_own_file(folder / "documents.tsv") as path:
            lines = path.read_text(encoding="utf-8").split("\n")[:-1]
            doc_ids, titles = zip(*(line.split("\t") for line in lines), strict=True) if lines else ((), ())
        if not len(lines) == len(codes) == count:
            raise GenirError(f"{folder}: {len(lines)} documents, {len(codes)} docids, {count} expected; build it again")
        return cls(doc_ids, titles, codes, sizes, about, codebooks, text)


def _lines(doc_ids: Iterable[str], titles: Iterable[str]) -> Iterable[str]:
    return (f"{doc_id}\t{' '.join(title.split())}\n" for doc_id, title in zip(doc_ids, titles, strict=True))
