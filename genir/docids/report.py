"""What a docid table is worth, before any hour of training is spent on it.

Shapes: N documents, L levels, D vector width.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from genir.docids.order import Array, Ordered, lengths, order_docids
from genir.docids.table import DocidTable

SAMPLE = 1000  # documents whose neighbours are looked at
NEAREST = 100
UNIQUE_SHARE_NEEDED = 0.9  # below it the ranking collapses: many documents answer as one


def report(table: DocidTable, built: Array, vectors: NDArray[np.float32], seed: int) -> dict[str, Any]:
    """Figures about the docids, and warnings in plain words.

    built [N, L']: the builder's own codes, before collided documents were told apart. vectors [N, D]: the document
    vectors, to compare prefixes with; D may be 0.
    """
    ordered = table.ordered
    before = group_sizes(order_docids(built), built.shape[1])
    length = lengths(table.codes)
    figures = {
        "documents": len(table),
        "unique_share": table.unique_share,
        "unique_share_before_collisions": float((before == 1).mean()),
        "collision_groups": int((1 / before[before > 1]).sum().round()),
        "largest_collision": int(before.max()),
        "collisions": table.settings["docids"].get("collisions", "none"),
        "prefixes": prefix_count(table.codes, ordered),
        "lengths": np.bincount(length).tolist(),
        "levels": [level_figures(table, level) for level in range(table.codes.shape[1])],
        "unique_depth": np.bincount(unique_depth(ordered, length), minlength=int(length.max()) + 2)[1:].tolist(),
        "shared_prefix": shared_prefixes(table.codes, vectors, seed) if vectors.shape[1] else [],
        "similarity_correlation": similarity_correlation(table.codes, vectors, seed) if vectors.shape[1] else None,
    }
    return figures | {"warnings": warnings(figures, built.shape[1])}


def group_sizes(ordered: Ordered, depth: int) -> NDArray[np.int64]:
    """For each document, how many have the same first `depth` codes [N]."""
    starts = np.flatnonzero(ordered.shared[:-1] < depth)
    counts = np.diff(np.append(starts, len(ordered.order)))
    sizes = np.empty(len(ordered.order), np.int64)
    sizes[ordered.order] = np.repeat(counts, counts)
    return sizes


def unique_depth(ordered: Ordered, length: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each document, the length of the shortest prefix that it alone has; its docid's length plus one where there
    is none. length [N]: codes of each docid.
    """
    depth = np.empty(len(length), np.int64)
    depth[ordered.order] = np.maximum(ordered.shared[:-1], ordered.shared[1:]).astype(np.int64) + 1
    return np.minimum(depth, length + 1)


def prefix_count(codes: Array, ordered: Ordered) -> int:
    """Docids that are a prefix of another; in docid order each stands right before one that it begins."""
    length = lengths(codes)[ordered.order]
    shared = ordered.shared[1:-1]
    return int(((shared == length[:-1]) & (length[1:] > length[:-1])).sum())


def level_figures(table: DocidTable, level: int) -> dict[str, Any]:
    """Use of a level's codebook; entropy in bits of a document's code; children of the prefixes above it."""
    column = table.codes[:, level]
    counts = np.bincount(column[column >= 0], minlength=table.sizes[level])
    share = counts[counts > 0] / counts.sum()
    shared, order = table.ordered.shared[:-1], table.ordered.order
    here = column[order] >= 0  # documents whose docid goes so far
    return {
        "codes": table.sizes[level],
        "documents": int(counts.sum()),
        "used": int((counts > 0).sum()),
        "entropy_bits": float(-(share * np.log2(share)).sum()) + 0.0,  # + 0.0: never -0
        "most_used_share": float(share.max()),
        "branching": float((here & (shared <= level)).sum() / _parents(shared, here, level)),
    }


def _parents(shared: NDArray[np.uint8], here: NDArray[np.bool_], level: int) -> int:
    """Prefixes of `level` codes that some docid goes on from."""
    group = np.cumsum(shared < level) if level else np.ones(len(shared), int)
    return len(np.unique(group[here]))


def neighbours(vectors: NDArray[np.float32], seed: int) -> tuple[NDArray[np.int64], Array, NDArray[np.float32]]:
    """A sample of rows [n], each one's nearest others by cosine [n, m], nearest first, and the cosines [n, m]."""
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(vectors))[:SAMPLE]
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    nearest, cosines = [], []
    count = min(NEAREST, len(vectors) - 1)
    for rows in np.array_split(chosen, max(1, len(chosen) // 50)):  # 50 rows of all N similarities at once
        similarity = unit[rows] @ unit.T
        similarity[np.arange(len(rows)), rows] = -np.inf
        part = np.argpartition(-similarity, count - 1, axis=1)[:, :count] if count else np.empty((len(rows), 0), int)
        order = np.take_along_axis(part, np.argsort(-np.take_along_axis(similarity, part, 1), 1, kind="stable"), 1)
        nearest.append(order)
        cosines.append(np.take_along_axis(similarity, order, 1))
    return chosen, np.concatenate(nearest), np.concatenate(cosines)


def shared_length(first: Array, second: Array) -> NDArray[np.int64]:
    """Leading codes that docids [..., L] have in common; padding is none."""
    same: NDArray[np.int64] = np.cumprod((first == second) & (first >= 0), axis=-1).sum(-1)
    return same


def shared_prefixes(codes: Array, vectors: NDArray[np.float32], seed: int) -> list[dict[str, Any]]:
    """Mean length of the prefix that a document shares with its 1st, 2nd to 10th, ... nearest and with random ones.

    Docids that mean something share longer prefixes with nearer documents. Taken over a sample of documents.
    """
    chosen, nearest, _ = neighbours(vectors, seed)
    shared = shared_length(codes[chosen][:, None], codes[nearest])
    rows: list[dict[str, Any]] = [
        {"neighbours": f"{first}-{last}", "shared": float(shared[:, first - 1 : last].mean())}
        for first, last in ((1, 1), (2, 10), (11, 100))
        if shared.shape[1] >= first
    ]
    other = np.random.default_rng(seed + 1).integers(0, len(codes), len(chosen))
    random = shared_length(codes[chosen], codes[other])[other != chosen]
    return [*rows, {"neighbours": "random", "shared": float(random.mean()) if len(random) else 0.0}]


def similarity_correlation(codes: Array, vectors: NDArray[np.float32], seed: int) -> float | None:
    """Spearman's correlation, over the sampled documents and their nearest ones, of shared prefix length and cosine."""
    chosen, nearest, cosines = neighbours(vectors, seed)
    shared = shared_length(codes[chosen][:, None], codes[nearest])
    if shared.size < 2 or shared.min() == shared.max() or cosines.min() == cosines.max():
        return None
    return float(spearmanr(shared.ravel(), cosines.ravel()).statistic)


def warnings(figures: dict[str, Any], built_levels: int) -> list[str]:
    """Where training would be wasted, and what to do. Levels after `built_levels` only number collided documents."""
    found = []
    if figures["unique_share"] < UNIQUE_SHARE_NEEDED:
        found.append(
            f"only {figures['unique_share']:.1%} of the documents have a docid of their own; the others cannot be told "
            "apart by any model: use more levels or codes, or collisions: extend"
        )
    if figures["collisions"] == "extend" and figures["unique_share_before_collisions"] < 0.5:
        found.append(
            f"{1 - figures['unique_share_before_collisions']:.1%} of the documents are told apart by their number in a "
            "collision alone, which says nothing of their text: use more levels or codes"
        )
    if figures["prefixes"]:
        found.append(
            f"{figures['prefixes']:,} docids are a prefix of another, so the longer ones can never be written: "
            "end every docid with a code of its own"
        )
    for number, level in enumerate(figures["levels"][:built_levels], 1):
        if level["documents"] >= level["codes"] and level["used"] < 0.25 * level["codes"]:
            found.append(
                f"level {number} uses {level['used']} of its {level['codes']} codes: most of the codebook is dead"
            )
    return found
