"""Hierarchical k-means docids (DSI, arXiv 2202.06991, section 3.2; NCI, arXiv 2206.02743).

The codes of a document are the path of clusters from the root down to its leaf. The documents of a leaf share these
codes; the collision policy `extend` appends a number that distinguishes them.

Shapes: N documents, n new documents, D vector dimension, L levels, C clusters of the whole tree, K centres.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.config import KMeansConfig
from genir.docids.collisions import HEADROOM
from genir.docids.faiss_codes import (
    BLOCK_SIZE,
    POINTS_PER_CODE,
    count_gpus,
    import_faiss,
    require_vectors,
    squared_distances,
)
from genir.docids.table import BuilderInput, Codes

ROOT = 0


def build_kmeans(inputs: BuilderInput, settings: KMeansConfig, seed: int) -> Codes:
    """Split every cluster of more than `leaf_size` documents into at most `branching` clusters, starting at the root.

    The codes [N, L] of the result are the paths to the leaves, padded with -1. A cluster that k-means cannot split,
    because its vectors are equal, stays a leaf whatever its size. The codebooks are "centroids" [C, D], in
    breadth-first order, and "children" [C, 2], the index of a cluster's first child (-1 for a leaf) and the number of
    its children. Raises GenirError if a vector is not finite.
    """
    vectors = require_vectors(inputs.vectors, inputs.vectors.shape[1])
    centroids, children = [np.zeros((1, vectors.shape[1]), np.float32)], [(-1, 0)]
    node = np.zeros(len(vectors), np.int64)
    level = [ROOT]
    while level:
        next_level: list[int] = []
        for parent in level:
            members = np.flatnonzero(node == parent)
            centres = (
                split_cluster(vectors[members], settings, seed + parent) if len(members) > settings.leaf_size else None
            )
            if centres is None:
                continue
            first = len(children)
            children[parent] = (first, len(centres))
            children += [(-1, 0)] * len(centres)
            centroids.append(centres)
            node[members] = first + find_nearest(vectors[members], centres)
            next_level += range(first, len(children))
        level = next_level
    codebooks: dict[str, NDArray[Any]] = {"children": np.array(children, np.int64)}
    codebooks["centroids"] = np.concatenate(centroids)
    codes = encode_kmeans(inputs, settings, codebooks)
    size = max(settings.branching, HEADROOM * settings.leaf_size)
    return Codes(codes, (size,) * codes.shape[1], codebooks)


def encode_kmeans(
    inputs: BuilderInput, settings: KMeansConfig, codebooks: Mapping[str, NDArray[Any]]
) -> NDArray[np.int32]:
    """Return the path [n, L] of each vector [n, D] down the tree, which goes to the nearest child at each step.

    Shorter paths are padded with -1. Raises GenirError if the vectors have another dimension or are not finite.
    """
    centroids, children = codebooks["centroids"], codebooks["children"]
    vectors = require_vectors(inputs.vectors, centroids.shape[1])
    node = np.full(len(vectors), ROOT)
    paths = []
    while (children[node, 0] >= 0).any():
        code = np.full(len(vectors), -1, np.int32)
        for parent in np.unique(node[children[node, 0] >= 0]):
            first, count = children[parent]
            members = np.flatnonzero(node == parent)
            code[members] = find_nearest(vectors[members], centroids[first : first + count])
            node[members] = first + code[members]
        paths.append(code)
    return np.column_stack(paths) if paths else np.zeros((len(vectors), 1), np.int32)  # the root is the only cluster


def split_cluster(vectors: NDArray[np.float32], settings: KMeansConfig, seed: int) -> NDArray[np.float32] | None:
    """Return the centres [K, D] of the non-empty k-means clusters of vectors [n, D]; None if there is only one.

    K is at most `branching`.
    """
    faiss = import_faiss()
    count = min(settings.branching, len(vectors))
    clustering = faiss.Kmeans(
        vectors.shape[1],
        count,
        niter=20,
        seed=seed,
        gpu=count_gpus() > 0,
        min_points_per_centroid=1,
        max_points_per_centroid=POINTS_PER_CODE,
    )
    clustering.train(vectors)
    centres = np.asarray(clustering.centroids, np.float32)
    used = np.unique(find_nearest(vectors, centres))
    return centres[used] if len(used) > 1 else None


def find_nearest(vectors: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.int64]:
    """Find the index [n] of the nearest centre [K, D] of each vector [n, D]; of equally near centres, the first."""
    parts = np.array_split(vectors, len(vectors) // BLOCK_SIZE + 1)
    return np.concatenate([squared_distances(part, centres).argmin(1) for part in parts])
