"""Hierarchical k-means docids: the path of clusters down to a document's leaf (DSI, arXiv 2202.06991, section 3.2; NCI,
arXiv 2206.02743). The documents of a leaf are then numbered, as documents that share a docid are everywhere here.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.config import KMeansConfig
from genir.docids.collisions import ROOM
from genir.docids.faiss_codes import BLOCK, POINTS_PER_CODE, checked_width, gpus, import_faiss, squared_distances
from genir.docids.table import Codes, Source

ROOT = 0


def build_kmeans(source: Source, settings: KMeansConfig, seed: int) -> Codes:
    """Split clusters of more than `leaf_size` documents into `branching` each; codes are the path to the leaf [N, L],
    -1 after its end. A cluster that k-means cannot split (equal vectors) stays a leaf, however large.

    codebooks: centroids [C, D] of all clusters, breadth first, and children [C, 2]: first child and how many.
    """
    vectors = checked_width(source.vectors, source.vectors.shape[1])
    centroids, children = [np.zeros((1, vectors.shape[1]), np.float32)], [(-1, 0)]
    node = np.zeros(len(vectors), np.int64)
    level = [ROOT]
    while level:
        below: list[int] = []
        for parent in level:
            rows = np.flatnonzero(node == parent)
            centres = split(vectors[rows], settings, seed + parent) if len(rows) > settings.leaf_size else None
            if centres is None:
                continue
            first = len(children)
            children[parent] = (first, len(centres))
            children += [(-1, 0)] * len(centres)
            centroids.append(centres)
            node[rows] = first + nearest(vectors[rows], centres)
            below += range(first, len(children))
        level = below
    codebooks: dict[str, NDArray[Any]] = {"children": np.array(children, np.int64)}
    codebooks["centroids"] = np.concatenate(centroids)
    codes = encode_kmeans(source, settings, codebooks)
    most = max(settings.branching, ROOM * settings.leaf_size)
    return Codes(codes, (most,) * codes.shape[1], codebooks)


def encode_kmeans(source: Source, settings: KMeansConfig, codebooks: Mapping[str, NDArray[Any]]) -> NDArray[np.int32]:
    """The path [n, L] of each vector [n, D] down the tree, to the nearest child at each step."""
    centroids, children = codebooks["centroids"], codebooks["children"]
    vectors = checked_width(source.vectors, centroids.shape[1])
    node = np.full(len(vectors), ROOT)
    paths = []
    while (children[node, 0] >= 0).any():
        code = np.full(len(vectors), -1, np.int32)
        for parent in np.unique(node[children[node, 0] >= 0]):
            first, count = children[parent]
            rows = np.flatnonzero(node == parent)
            code[rows] = nearest(vectors[rows], centroids[first : first + count])
            node[rows] = first + code[rows]
        paths.append(code)
    return np.column_stack(paths) if paths else np.zeros((len(vectors), 1), np.int32)  # the root alone: one cluster


def split(vectors: NDArray[np.float32], settings: KMeansConfig, seed: int) -> NDArray[np.float32] | None:
    """Centres of at most `branching` clusters that each hold some of the vectors [n, D]; None if there is only one."""
    faiss = import_faiss()
    count = min(settings.branching, len(vectors))
    clustering = faiss.Kmeans(
        vectors.shape[1],
        count,
        niter=20,
        seed=seed,
        gpu=gpus() > 0,
        min_points_per_centroid=1,
        max_points_per_centroid=POINTS_PER_CODE,
    )
    clustering.train(vectors)
    centres = np.asarray(clustering.centroids, np.float32)
    used = np.unique(nearest(vectors, centres))
    return centres[used] if len(used) > 1 else None


def nearest(vectors: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.int64]:
    """Index of the nearest centre of each vector, the first of equals [n]."""
    parts = np.array_split(vectors, len(vectors) // BLOCK + 1)
    return np.concatenate([squared_distances(part, centres).argmin(1) for part in parts])
