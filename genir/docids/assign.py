"""Assigning docids to a collection, or to documents added later: codes from a builder, then the collision policy.

Shapes: N documents of a collection, n new documents, L levels.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.config import parse_docids
from genir.docids import BUILDERS, BuilderInput, Codes, DocidTable
from genir.docids.collisions import extend, extended_sizes, reassign
from genir.docids.order import Array, docid_lengths
from genir.docids.text import extend_text
from genir.errors import GenirError


def build_docids(inputs: BuilderInput, settings: Any, seed: int) -> tuple[Codes, Codes]:
    """Assign a docid to every document of a collection.

    settings: the docids section of the config. Returns the builder's codes, which several documents may share, and the
    docids after the collision policy `settings.collisions` was applied. Raises GenirError if the settings do not suit
    the documents.
    """
    built = BUILDERS[settings.builder].build(inputs, settings, seed)
    codes = _resolve_collisions(inputs, settings, built, None)
    sizes = built.sizes
    if codes.shape[1] > len(sizes):
        sizes = sizes[:1] * codes.shape[1] if inputs.tokenizer is not None else extended_sizes(sizes, codes)
    return built, Codes(codes, sizes, built.codebooks)


def assign_new_docids(inputs: BuilderInput, table: DocidTable) -> NDArray[np.int32]:
    """Assign docids [n, L] to documents that are not in the table, using its codebooks; the table is not changed.

    L is the number of levels of the table, or more if a new text docid is longer. Atomic docids continue after the last
    code of the table. Raises GenirError if no docid is free for one of the documents.
    """
    settings = parse_docids(table.settings["docids"])
    encode = BUILDERS[settings.builder].encode
    if encode is None:
        return np.arange(table.sizes[0], table.sizes[0] + len(inputs.documents), dtype=np.int32)[:, None]
    codes = encode(inputs, settings, table.codebooks)
    codes = _resolve_collisions(inputs, settings, Codes(codes, table.sizes, table.codebooks), table.codes)
    levels, sizes = len(table.sizes), np.asarray(table.sizes)
    if table.text:
        levels, sizes = max(levels, int(docid_lengths(codes).max(initial=0))), sizes[:1]
    codes = _with_levels(codes, levels)
    rejected = np.flatnonzero((codes >= sizes).any(1))
    if len(rejected):
        raise GenirError(
            f"document {inputs.documents[rejected[0]].id!r}: no free docid: every code under its prefix is taken "
            f"({len(rejected):,} new documents have none); build the docids again and train a new model"
        )
    return codes


def _resolve_collisions(inputs: BuilderInput, settings: Any, built: Codes, taken: Array | None) -> NDArray[np.int32]:
    """Apply the collision policy to the codes of a builder; taken: [M, L], docids that are in use."""
    policy = settings.collisions
    if policy == "extend" and inputs.tokenizer is not None:
        return extend_text(built.codes, inputs.tokenizer, taken)
    if policy == "extend":
        # A few new documents may have paths that are all shorter than the longest of the table (kmeans).
        codes = built.codes.astype(np.int32)
        return extend(codes if taken is None else _with_levels(codes, taken.shape[1] - 1), taken)
    if policy == "reassign":
        return _reassign(inputs, settings.builder, built, taken)
    return built.codes.astype(np.int32)


def _reassign(inputs: BuilderInput, builder: str, built: Codes, taken: Array | None) -> NDArray[np.int32]:
    builder_distances = BUILDERS[builder].distances
    assert builder_distances is not None, f"docids.builder={builder} must not offer docids.collisions=reassign"

    def distances(doc_indices: NDArray[np.int64]) -> NDArray[np.float32]:
        return builder_distances(
            BuilderInput([], inputs.vectors[doc_indices]), built.codes[doc_indices], built.codebooks
        )

    return reassign(built.codes, built.sizes[-1], distances, taken)


def _with_levels(codes: NDArray[np.int32], levels: int) -> NDArray[np.int32]:
    """Add or remove padding at the end of codes [n, L], so that their shape is [n, levels].

    Raises GenirError if a docid has more than `levels` codes.
    """
    if (codes[:, levels:] >= 0).any():
        raise GenirError(f"a new document needs a docid of more than {levels} codes; build the docids again")
    missing = max(0, levels - codes.shape[1])
    return np.pad(codes, ((0, 0), (0, missing)), constant_values=-1)[:, :levels]
