"""Docids of a whole collection, and of documents added later: codes from a builder, then the collision policy.

Shapes: N documents of a collection, n new documents, L levels.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.config import parse_docids
from genir.docids import BUILDERS, Codes, DocidTable, Source
from genir.docids.collisions import extend, extended_sizes, reassign
from genir.docids.order import Array, lengths
from genir.docids.text import extend_text
from genir.errors import GenirError


def build_docids(source: Source, settings: Any, seed: int) -> tuple[Codes, Codes]:
    """Give every document of a collection a docid.

    settings: the docids section of the config. Returns the builder's codes, in which documents may collide, and the
    docids after `settings.collisions` was applied.
    """
    built = BUILDERS[settings.builder].build(source, settings, seed)
    codes = _resolve_collisions(source, settings, built, None)
    sizes = built.sizes
    if codes.shape[1] > len(sizes):
        sizes = sizes[:1] * codes.shape[1] if source.tokenizer is not None else extended_sizes(sizes, codes)
    return built, Codes(codes, sizes, built.codebooks)


def new_docids(source: Source, table: DocidTable) -> NDArray[np.int32]:
    """Docids [n, L] for documents that are not in the table, from its codebooks; the table does not change.

    L is the number of levels of the table, or more where a new text docid is longer. Raises GenirError when no docid is
    free for one of the documents.
    """
    settings = parse_docids(table.settings["docids"])
    codes = BUILDERS[settings.builder].encode(source, settings, table.codebooks)
    codes = _resolve_collisions(source, settings, Codes(codes, table.sizes, table.codebooks), table.codes)
    levels, sizes = len(table.sizes), np.asarray(table.sizes)
    if table.text:
        levels, sizes = max(levels, int(lengths(codes).max(initial=0))), sizes[:1]
    codes = _with_levels(codes, levels)
    rejected = np.flatnonzero((codes >= sizes).any(1))
    if len(rejected):
        raise GenirError(
            f"document {source.documents[rejected[0]].id!r}: no free docid: every code under its prefix is taken "
            f"({len(rejected):,} new documents have none); build the docids again and train a new model"
        )
    return codes


def _resolve_collisions(source: Source, settings: Any, built: Codes, taken: Array | None) -> NDArray[np.int32]:
    """Apply `settings.collisions` to the codes of a builder; taken [M, L]: docids that are in use."""
    policy = settings.collisions
    if policy == "extend" and source.tokenizer is not None:
        return extend_text(built.codes, source.tokenizer, taken)
    if policy == "extend":
        return extend(built.codes, taken)
    if policy == "reassign":
        return _reassign(source, settings.builder, built, taken)
    return built.codes.astype(np.int32)


def _reassign(source: Source, builder: str, built: Codes, taken: Array | None) -> NDArray[np.int32]:
    builder_distances = BUILDERS[builder].distances
    assert builder_distances is not None, f"docids.builder={builder} must not offer docids.collisions=reassign"

    def distances(doc_indices: NDArray[np.int64]) -> NDArray[np.float32]:
        return builder_distances(Source([], source.vectors[doc_indices]), built.codes[doc_indices], built.codebooks)

    return reassign(built.codes, built.sizes[-1], distances, taken)


def _with_levels(codes: NDArray[np.int32], levels: int) -> NDArray[np.int32]:
    """Codes [n, L] with padding added or removed at the end, so that they are [n, levels]."""
    missing = max(0, levels - codes.shape[1])
    return np.pad(codes, ((0, 0), (0, missing)), constant_values=-1)[:, :levels]
