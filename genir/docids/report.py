"""Docid quality report before training: uniqueness, use of the codebooks, and agreement of docids with similarity.

Shapes: N documents, L levels, D vector dimension, n sampled documents, m nearest neighbours of each.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from genir.docids.order import Array, DocidOrder, docid_lengths, order_docids
from genir.docids.table import DocidTable

SAMPLE = 1000
"""Number of documents whose nearest neighbours are computed."""
NEAREST = 100
"""Number of nearest neighbours of each sampled document."""
UNIQUE_SHARE_NEEDED = 0.9
"""Below this fraction of unique docids the ranking degrades, because many documents get the same score."""


def make_report(table: DocidTable, built: Array, vectors: NDArray[np.float32], seed: int) -> dict[str, Any]:
    """Compute statistics of a docid table, and warnings about problems that would make training useless.

    built: [N, L'], the codes of the builder, before collisions were resolved. vectors: [N, D], the document vectors,
    with whose similarity the shared prefixes are compared; this comparison is omitted if D is 0. seed: the seed by
    which documents are sampled.
    """
    ordered = table.ordered
    before = prefix_group_sizes(order_docids(built), built.shape[1])
    length = docid_lengths(table.codes)
    near = nearest_neighbours(vectors, seed) if vectors.shape[1] else None
    statistics = {
        "documents": len(table),
        "unique_share": table.unique_share,
        "unique_share_before_collisions": float((before == 1).mean()),
        "collision_groups": int((1 / before[before > 1]).sum().round()),
        "largest_collision": int(before.max()),
        "collisions": table.settings["docids"].get("collisions", "none"),
        "prefixes": count_prefixes(table.codes, ordered),
        "lengths": np.bincount(length).tolist(),
        "levels": [level_statistics(table, level) for level in range(table.codes.shape[1])],
        "unique_depth": np.bincount(unique_depths(ordered, length), minlength=int(length.max()) + 2)[1:].tolist(),
        "shared_prefix": [] if near is None else mean_shared_prefixes(table.codes, near, seed),
        "similarity_correlation": None if near is None else similarity_correlation(table.codes, near),
    }
    return statistics | {"warnings": find_problems(statistics, built.shape[1])}


def prefix_group_sizes(ordered: DocidOrder, depth: int) -> NDArray[np.int64]:
    """Count, for each document, the documents with the same first `depth` codes, including itself; returns [N]."""
    starts = np.flatnonzero(ordered.shared[:-1] < depth)
    counts = np.diff(np.append(starts, len(ordered.order)))
    sizes = np.empty(len(ordered.order), np.int64)
    sizes[ordered.order] = np.repeat(counts, counts)
    return sizes


def unique_depths(ordered: DocidOrder, length: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the length of the shortest prefix of each document's docid that no other docid starts with [N].

    If even the whole docid is not unique, it is the length of the docid plus one. length: [N], lengths of the docids.
    """
    depth = np.empty(len(length), np.int64)
    depth[ordered.order] = np.maximum(ordered.shared[:-1], ordered.shared[1:]).astype(np.int64) + 1
    return np.minimum(depth, length + 1)


def count_prefixes(codes: Array, ordered: DocidOrder) -> int:
    """Count the docids that are a proper prefix of another docid.

    The docid that follows such a docid in docid order starts with it.
    """
    length = docid_lengths(codes)[ordered.order]
    shared = ordered.shared[1:-1]
    return int(((shared == length[:-1]) & (length[1:] > length[:-1])).sum())


def level_statistics(table: DocidTable, level: int) -> dict[str, Any]:
    """Compute how the codebook of one level, counted from 0, is used.

    The keys of the result are "codes": size of the codebook; "documents": number of documents with a code at this
    level; "used": number of distinct codes; "entropy_bits": entropy of a document's code; "most_used_share": fraction
    of these documents that have the most frequent code; "branching": mean number of distinct codes that follow a
    prefix of the levels before.
    """
    column = table.codes[:, level]
    counts = np.bincount(column[column >= 0], minlength=table.sizes[level])
    share = counts[counts > 0] / counts.sum()
    shared, order = table.ordered.shared[:-1], table.ordered.order
    reaches = column[order] >= 0  # documents whose docid has a code at this level
    return {
        "codes": table.sizes[level],
        "documents": int(counts.sum()),
        "used": int((counts > 0).sum()),
        "entropy_bits": float(-(share * np.log2(share)).sum()) + 0.0,  # + 0.0 turns -0.0 into 0.0
        "most_used_share": float(share.max()),
        "branching": float((reaches & (shared <= level)).sum() / _count_parents(shared, reaches, level)),
    }


def _count_parents(shared: NDArray[np.uint8], reaches: NDArray[np.bool_], level: int) -> int:
    """Count the distinct prefixes of `level` codes that are followed by a code in at least one docid."""
    group = np.cumsum(shared < level) if level else np.ones(len(shared), int)
    return len(np.unique(group[reaches]))


class Neighbours(NamedTuple):
    """Nearest neighbours of a sample of documents, by cosine similarity.

    sample: [n], indices of the sampled documents. nearest: [n, m], indices of their neighbours, most similar first.
    cosines: [n, m], similarities of the neighbours.
    """

    sample: NDArray[np.int64]
    nearest: NDArray[np.int64]
    cosines: NDArray[np.float32]


def nearest_neighbours(vectors: NDArray[np.float32], seed: int) -> Neighbours:
    """Find the nearest neighbours of a random sample of documents among all documents, whose vectors are [N, D]."""
    rng = np.random.default_rng(seed)
    sample = rng.permutation(len(vectors))[:SAMPLE]
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    nearest, cosines = [], []
    count = min(NEAREST, len(vectors) - 1)
    for block in np.array_split(sample, max(1, len(sample) // 50)):  # similarities of about 50 x N pairs at a time
        similarity = unit[block] @ unit.T
        similarity[np.arange(len(block)), block] = -np.inf
        part = np.argpartition(-similarity, count - 1, axis=1)[:, :count] if count else np.empty((len(block), 0), int)
        order = np.take_along_axis(part, np.argsort(-np.take_along_axis(similarity, part, 1), 1, kind="stable"), 1)
        nearest.append(order)
        cosines.append(np.take_along_axis(similarity, order, 1))
    return Neighbours(sample, np.concatenate(nearest), np.concatenate(cosines))


def shared_prefix_lengths(first: Array, second: Array) -> NDArray[np.int64]:
    """Return the lengths [...] of the prefixes, without padding, that pairs of docids [..., L] share."""
    same: NDArray[np.int64] = np.cumprod((first == second) & (first >= 0), axis=-1).sum(-1)
    return same


def mean_shared_prefixes(codes: Array, near: Neighbours, seed: int) -> list[dict[str, Any]]:
    """Compute the mean length of the prefix that documents share with their neighbours, and with random documents.

    The neighbours are grouped by rank: the 1st, the 2nd to 10th, and the 11th to 100th. Docids that follow the
    similarity of documents share longer prefixes with nearer neighbours.
    """
    shared = shared_prefix_lengths(codes[near.sample][:, None], codes[near.nearest])
    means: list[dict[str, Any]] = [
        {"neighbours": f"{first}-{last}", "shared": float(shared[:, first - 1 : last].mean())}
        for first, last in ((1, 1), (2, 10), (11, 100))
        if shared.shape[1] >= first
    ]
    other = np.random.default_rng(seed + 1).integers(0, len(codes), len(near.sample))
    random = shared_prefix_lengths(codes[near.sample], codes[other])[other != near.sample]
    return [*means, {"neighbours": "random", "shared": float(random.mean()) if len(random) else 0.0}]


def similarity_correlation(codes: Array, near: Neighbours) -> float | None:
    """Compute Spearman's rank correlation between the shared prefix lengths and the cosines of all neighbour pairs.

    It is None if it is undefined, because one of the two is constant or there are fewer than two pairs.
    """
    shared = shared_prefix_lengths(codes[near.sample][:, None], codes[near.nearest])
    if shared.size < 2 or shared.min() == shared.max() or near.cosines.min() == near.cosines.max():
        return None
    return float(spearmanr(shared.ravel(), near.cosines.ravel()).statistic)


def find_problems(statistics: dict[str, Any], built_levels: int) -> list[str]:
    """List warnings about docids that would make training useless, each with a remedy.

    built_levels: number of levels whose codes come from the builder; later levels only number documents that share
    these codes.
    """
    problems = []
    if statistics["unique_share"] < UNIQUE_SHARE_NEEDED:
        problems.append(
            f"only {statistics['unique_share']:.1%} of the documents have a unique docid, and no model can distinguish "
            "the others: use more levels, larger codebooks, or docids.collisions=extend"
        )
    if statistics["collisions"] == "extend" and statistics["unique_share_before_collisions"] < 0.5:
        problems.append(
            f"{1 - statistics['unique_share_before_collisions']:.1%} of the documents differ from others only in their "
            "collision number, which has nothing to do with their content: use more levels or larger codebooks"
        )
    if statistics["prefixes"]:
        problems.append(
            f"{statistics['prefixes']:,} docids are prefixes of other docids, so the longer ones cannot be generated: "
            "end every docid with a code that occurs nowhere else"
        )
    for number, level in enumerate(statistics["levels"][:built_levels], 1):
        if level["documents"] >= level["codes"] and level["used"] < 0.25 * level["codes"]:
            problems.append(
                f"level {number} uses {level['used']} of its {level['codes']} codes: use a smaller "
                "codebook, since most of this one is wasted"
            )
    return problems
