"""Docids for a whole collection, and for documents that come later: a builder's codes, then the collision policy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.config import parse_docids
from genir.docids import BUILDERS, Codes, DocidTable, Source
from genir.docids.collisions import extend, extended_sizes, reassign
from genir.docids.order import Array, lengths
from genir.docids.text import extend_text, same_length
from genir.errors import GenirError


def build_docids(source: Source, settings: Any, seed: int) -> tuple[Codes, Codes]:
    """The builder's own codes, in which documents may collide, and the docids after `settings.collisions`."""
    built = BUILDERS[settings.builder].build(source, settings, seed)
    codes = _resolved(built.codes, source, settings, built, None)
    sizes = built.sizes
    if codes.shape[1] > len(sizes):
        sizes = sizes[:1] * codes.shape[1] if source.tokenizer is not None else extended_sizes(sizes, codes)
    return built, Codes(codes, sizes, built.codebooks)


def new_docids(source: Source, table: DocidTable) -> NDArray[np.int32]:
    """Docids [n, L] for documents that are not in the table yet, by its codebooks; nothing in the table changes. Text
    docids may be longer than the table's.

    Raises GenirError when a codebook has no code left for one of them.
    """
    settings = parse_docids(table.settings["docids"])
    raw = BUILDERS[settings.builder].encode(source, settings, table.codebooks)
    built = Codes(raw, table.sizes, table.codebooks)
    codes = _resolved(raw, source, settings, built, table.codes)
    longest = lengths(codes).max(initial=0) if table.text else 0  # text may be longer than all that there is
    codes = same_length(codes, max(len(table.sizes), longest))
    full = np.flatnonzero((codes >= np.asarray(table.sizes[:1] if table.text else table.sizes)).any(1))
    if len(full):
        raise GenirError(
            f"document {source.documents[full[0]].id!r} finds no free docid: too many documents have its codes "
            f"({len(full):,} new documents are refused); build the docids and train anew"
        )
    return codes


def _resolved(raw: Array, source: Source, settings: Any, built: Codes, taken: Array | None) -> NDArray[np.int32]:
    policy = settings.collisions
    if policy == "extend" and source.tokenizer is not None:
        return extend_text(raw, source.tokenizer, taken)
    if policy == "extend":
        return extend(raw, taken)
    if policy == "reassign":
        distances = BUILDERS[settings.builder].distances
        if distances is None:
            raise GenirError(f"docids.collisions reassign: the builder {settings.builder} has no distances; use extend")

        def of_rows(rows: NDArray[np.int64]) -> NDArray[np.float32]:
            some = Source([], source.vectors[rows])
            found: NDArray[np.float32] = distances(some, raw[rows], built.codebooks)
            return found

        return reassign(raw, built.sizes[-1], of_rows, taken)
    return raw.astype(np.int32)
