"""What a docid table is worth, before any hour of training is spent on it.

Shapes: N documents, L levels, D vector width.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.docids.table import DocidTable

SAMPLE = 1000  # documents whose neighbours are looked at
UNIQUE_SHARE_NEEDED = 0.9  # below it the ranking collapses: many documents answer as one


def report(table: DocidTable, built_levels: int, vectors: NDArray[np.float32], seed: int) -> dict[str, Any]:
    """Figures about the docids, and warnings in plain words.

    built_levels: levels that the builder made, without the one that only numbers collided documents.
    vectors [N, D]: the document vectors, to compare prefixes with; D may be 0.
    """
    codes = table.codes
    before = group_sizes(codes[:, :built_levels])
    depth = unique_depth(codes)
    figures = {
        "documents": len(table),
        "unique_share": float((group_sizes(codes) == 1).mean()),
        "unique_share_before_extension": float((before == 1).mean()),
        "largest_collision": int(before.max()),
        "levels": [level_figures(codes, level, size) for level, size in enumerate(table.sizes)],
        "unique_depth": np.bincount(depth, minlength=len(table.sizes) + 2)[1:].tolist(),
        "shared_prefix": shared_prefixes(codes, vectors, seed) if vectors.shape[1] else [],
    }
    return figures | {"warnings": warnings(figures)}


def group_sizes(codes: NDArray[np.int32]) -> NDArray[np.int64]:
    """For each document, how many have the same codes: [N, L] -> [N]."""
    _, group, counts = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    sizes: NDArray[np.int64] = counts[group.ravel()]
    return sizes


def unique_depth(codes: NDArray[np.int32]) -> NDArray[np.int64]:
    """For each document, the length of the shortest prefix that it alone has; L + 1 where there is none."""
    depth = np.full(len(codes), codes.shape[1] + 1)
    for level in reversed(range(codes.shape[1])):
        depth[group_sizes(codes[:, : level + 1]) == 1] = level + 1
    return depth


def level_figures(codes: NDArray[np.int32], level: int, size: int) -> dict[str, Any]:
    """Use of a level's codebook; entropy in bits of a document's code; children of the prefixes above it."""
    counts = np.bincount(codes[:, level], minlength=size)
    share = counts[counts > 0] / counts.sum()
    parents = len(np.unique(codes[:, :level], axis=0)) if level else 1
    children = len(np.unique(codes[:, : level + 1], axis=0))
    return {
        "codes": size,
        "used": int((counts > 0).sum()),
        "entropy_bits": float(-(share * np.log2(share)).sum()),
        "most_used_share": float(counts.max() / counts.sum()),
        "branching": children / parents,
    }


def shared_prefixes(codes: NDArray[np.int32], vectors: NDArray[np.float32], seed: int) -> list[dict[str, Any]]:
    """Mean length of the prefix that a document shares with its 1st, 2nd to 10th, ... nearest and with random ones.

    Docids that mean something share longer prefixes with nearer documents. Taken over a sample of documents.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(codes))[:SAMPLE]
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    similarity = unit[chosen] @ unit.T
    similarity[np.arange(len(chosen)), chosen] = -np.inf
    order = np.argsort(-similarity, axis=1)[:, :-1]
    shared = np.cumprod(codes[chosen][:, None] == codes[order[:, :100]], axis=2).sum(2)
    rows: list[dict[str, Any]] = [
        {"neighbours": f"{first}-{last}", "shared": float(shared[:, first - 1 : last].mean())}
        for first, last in ((1, 1), (2, 10), (11, 100))
        if shared.shape[1] >= first
    ]
    other = rng.integers(0, len(codes), len(chosen))
    random = np.cumprod(codes[chosen] == codes[other], axis=1).sum(1)[other != chosen]
    return [*rows, {"neighbours": "random", "shared": float(random.mean()) if len(random) else 0.0}]


def warnings(figures: dict[str, Any]) -> list[str]:
    """Where training would be wasted, and what to do."""
    found = []
    if figures["unique_share"] < UNIQUE_SHARE_NEEDED:
        found.append(
            f"only {figures['unique_share']:.1%} of the documents have a docid of their own; the others cannot be told "
            "apart by any model: use more levels or codes"
        )
    if figures["unique_share_before_extension"] < 0.5 and figures["largest_collision"] > 1:
        found.append(
            f"{1 - figures['unique_share_before_extension']:.1%} of the documents are told apart by their number in a "
            "collision alone, which says nothing of their text: use more levels or codes"
        )
    for number, level in enumerate(figures["levels"], 1):
        if level["used"] < 0.25 * level["codes"]:
            found.append(
                f"level {number} uses {level['used']} of its {level['codes']} codes: most of the codebook is dead"
            )
    return found
