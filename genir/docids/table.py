"""The docid table: which document has which docid, and how codes map to tokens of the model.

Shapes: N documents, L levels, D dimensions of a document vector, K_m codes in the codebook of level m.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from genir.docids.order import Array, DocidOrder, compact, order_docids
from genir.errors import GenirError, quote
from genir.files import atomic_file, atomic_folder, read_json, reading_own_file, write_json
from genir.records import Document


class BuilderInput(NamedTuple):
    """The input of a docid builder.

    documents: N documents; may be empty for a function that reads only the vectors. vectors: [N, D]; D is 0 if
    neither the builder nor the dense expert needs vectors. tokenizer: the text tokenizer; None unless the builder makes
    text docids.
    """

    documents: Sequence[Document]
    vectors: NDArray[np.float32]
    tokenizer: Any = None


class Codes(NamedTuple):
    """The output of a docid builder.

    codes: [N, L]; a docid shorter than L is padded with -1. sizes: the codebook sizes K_1..K_L. codebooks: named
    tensors with which the codes of new documents are computed.
    """

    codes: Array
    sizes: tuple[int, ...]
    codebooks: Mapping[str, NDArray[Any]] = MappingProxyType({})


class CodeLayout(NamedTuple):
    """The token ids of codes: code c of level m (counted from 0) is the model's token `base + offsets[m] + c`.

    base: number of the model's text tokens. sizes: the codebook sizes K_1..K_L. text: whether docids consist of the
    model's own text tokens; then base and all offsets are 0, and every level has all tokens.
    """

    base: int
    sizes: tuple[int, ...]
    text: bool = False

    @property
    def offsets(self) -> tuple[int, ...]:
        """Token id of each level's first code, relative to `base`."""
        return (0,) * len(self.sizes) if self.text else _exclusive_cumsum(self.sizes)

    @property
    def vocab_size(self) -> int:
        """Number of tokens, and therefore of embeddings, that the model needs."""
        return self.base + (max(self.sizes) if self.text else sum(self.sizes))


@cache
def _exclusive_cumsum(sizes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(accumulate(sizes[:-1], initial=0))


@dataclass(frozen=True, eq=False, kw_only=True)
class DocidTable:
    """The documents of a collection, in its order, and their docids; created by `from_codes` or `load`.

    doc_ids, titles: N strings. codes: [N, L] in the smallest integer type that holds them; a docid shorter than L is
    padded with -1. sizes: the codebook sizes K_1..K_L. settings: the settings that the table was built with; "docids"
    is the docids section of the config. codebooks: named tensors with which the codes of new documents are computed.
    text: whether the codes are text tokens of the model.
    """

    doc_ids: list[str]
    titles: list[str]
    codes: Array
    sizes: tuple[int, ...]
    settings: dict[str, Any]
    codebooks: dict[str, NDArray[Any]]
    text: bool

    @classmethod
    def from_codes(
        cls,
        codes: Codes,
        *,
        doc_ids: Sequence[str],
        titles: Sequence[str],
        settings: Mapping[str, Any] | None = None,
        text: bool = False,
    ) -> "DocidTable":
        """Create the table of N documents with the docids `codes`.

        Raises ValueError if the lengths differ, a code is not in its codebook, or a docid continues after padding.
        """
        array, sizes = codes.codes, tuple(codes.sizes)
        if not len(doc_ids) == len(titles) == len(array) or array.shape[1] != len(sizes):
            raise ValueError(
                f"lengths differ: {len(doc_ids)} doc_ids, {len(titles)} titles, codes {array.shape}, {len(sizes)} sizes"
            )
        if len(array) and ((array < -1).any() or (array >= np.asarray(sizes)).any() or (array[:, 0] < 0).any()):
            raise ValueError("a code is outside its codebook")
        if ((array[:, :-1] < 0) & (array[:, 1:] >= 0)).any():
            raise ValueError("a docid has a code after its padding (-1)")
        return cls(
            doc_ids=list(doc_ids),
            titles=list(titles),
            codes=compact(array),
            sizes=sizes,
            settings=dict(settings or {}),
            codebooks=dict(codes.codebooks),
            text=text,
        )

    def __len__(self) -> int:
        return len(self.doc_ids)

    @cached_property
    def doc_indices(self) -> dict[str, int]:
        """doc_id -> doc_index, the position of the document in the table."""
        return {doc_id: doc_index for doc_index, doc_id in enumerate(self.doc_ids)}

    @cached_property
    def ordered(self) -> DocidOrder:
        """The documents in the lexicographic order of their docids."""
        return order_docids(self.codes)

    def doc_index(self, doc_id: str) -> int:
        """The position of a document in the table. Raises GenirError when the document is not in it."""
        if not isinstance(doc_id, str) or doc_id not in self.doc_indices:
            raise GenirError(f"no document {quote(doc_id)} among the {len(self):,} documents of this docid table")
        return self.doc_indices[doc_id]

    def docid_of(self, doc_index: int) -> tuple[int, ...]:
        """Return the docid of the document with the index `doc_index`, without padding."""
        return tuple(code for code in self.codes[doc_index].tolist() if code >= 0)

    @cached_property
    def unique_share(self) -> float:
        """Fraction of the documents whose docid no other document has."""
        equal = self.ordered.shared == len(self.sizes)
        return 1 - float((equal[:-1] | equal[1:]).sum()) / max(1, len(self))

    def subset(self, doc_indices: Array) -> "DocidTable":
        """Return a table of the documents with the given indices, in the given order."""
        doc_ids, titles = ([column[i] for i in doc_indices.tolist()] for column in (self.doc_ids, self.titles))
        return self._with_documents(doc_ids, titles, self.codes[doc_indices], self.sizes)

    def extended(self, doc_ids: Sequence[str], titles: Sequence[str], codes: Array) -> "DocidTable":
        """Return a table of the documents of this one, followed by new documents.

        codes: docids [n, L] of the new documents; text docids may be longer than those of this table, and atomic ones
        have new codes. Raises GenirError if one of the doc_ids is in the table already.
        """
        known = [doc_id for doc_id in doc_ids if doc_id in self.doc_indices]
        if known:
            raise GenirError(
                f"document {known[0]!r} is in the docid table already ({len(known):,} of the {len(doc_ids):,} new "
                "documents are)"
            )
        extra_levels = codes.shape[1] - len(self.sizes) if self.text else 0
        old = np.pad(self.codes.astype(np.int32), ((0, 0), (0, extra_levels)), constant_values=-1)
        sizes = self.sizes + self.sizes[:1] * extra_levels
        if len(sizes) == 1:  # atomic docids
            sizes = (max(sizes[0], int(codes.max(initial=0)) + 1),)
        return self._with_documents(
            [*self.doc_ids, *doc_ids], [*self.titles, *titles], np.concatenate([old, codes]), sizes
        )

    def _with_documents(
        self, doc_ids: Sequence[str], titles: Sequence[str], codes: Array, sizes: tuple[int, ...]
    ) -> "DocidTable":
        """Return a table of other documents with the settings and codebooks of this one."""
        return DocidTable.from_codes(
            Codes(codes, sizes, self.codebooks), doc_ids=doc_ids, titles=titles, settings=self.settings, text=self.text
        )

    def save(self, folder: Path) -> None:
        """Write docids.json (layout and settings), codes.safetensors, documents.tsv and codebooks.safetensors."""
        with atomic_folder(folder) as new:
            save_file({"codes": self.codes}, new / "codes.safetensors")
            save_file({k: np.ascontiguousarray(v) for k, v in self.codebooks.items()}, new / "codebooks.safetensors")
            with atomic_file(new / "documents.tsv") as handle:
                handle.writelines(_format_lines(self.doc_ids, self.titles))
            about = {"documents": len(self), "sizes": self.sizes, "text": self.text, "unique_share": self.unique_share}
            write_json(new / "docids.json", about | self.settings)

    @classmethod
    def load(cls, folder: Path) -> "DocidTable":
        """Read a table that `save` wrote. Raises GenirError if a file is missing or damaged."""
        with reading_own_file(folder / "docids.json") as path:
            settings = read_json(path)
            sizes, count, text, _ = (settings.pop(name) for name in ("sizes", "documents", "text", "unique_share"))
        with reading_own_file(folder / "codes.safetensors") as path:
            codes = load_file(path)["codes"]
        with reading_own_file(folder / "codebooks.safetensors") as path:
            codebooks = load_file(path)
        with reading_own_file(folder / "documents.tsv") as path:
            lines = path.read_text(encoding="utf-8").split("\n")[:-1]
            doc_ids, titles = zip(*(line.split("\t") for line in lines), strict=True) if lines else ((), ())
        if not len(lines) == len(codes) == count:
            raise GenirError(
                f"{folder}: documents.tsv has {len(lines)} documents and codes.safetensors {len(codes)} docids, but "
                f"docids.json says {count}; build the docids again"
            )
        found = Codes(codes, tuple(sizes), codebooks)
        with reading_own_file(folder / "codes.safetensors"):  # from_codes checks the codes
            return cls.from_codes(found, doc_ids=doc_ids, titles=titles, settings=settings, text=text)


def _format_lines(doc_ids: Iterable[str], titles: Iterable[str]) -> Iterable[str]:
    return (f"{doc_id}\t{' '.join(title.split())}\n" for doc_id, title in zip(doc_ids, titles, strict=True))
