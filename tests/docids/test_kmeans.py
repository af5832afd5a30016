import numpy as np

from genir.config import KMeansConfig
from genir.docids.kmeans import build_kmeans, encode_kmeans, split_cluster
from tests.helpers.docids import code_tuples, random_vectors, vector_inputs

CONFIG = KMeansConfig(branching=3, leaf_size=4)


def test_leaves_are_small_unless_their_vectors_are_equal():
    vectors = np.concatenate([random_vectors(100, 5), np.ones((20, 5), np.float32)])
    built = build_kmeans(vector_inputs(vectors), CONFIG, 0)
    leaves = {}
    for doc_index, path in enumerate(code_tuples(built.codes)):
        leaves.setdefault(path, []).append(doc_index)
    for path, members in leaves.items():
        assert len(members) <= 4 or len(np.unique(vectors[members], axis=0)) == 1, path
        assert not [other for other in leaves if other != path and other[: len(path)] == path]  # leaves are not split


def test_a_document_goes_to_the_nearest_cluster_at_each_split():
    vectors = random_vectors(60, 6)
    built = build_kmeans(vector_inputs(vectors), CONFIG, 0)
    centroids, children = built.codebooks["centroids"], built.codebooks["children"]
    for vector, path in zip(vectors, code_tuples(built.codes), strict=True):
        node = 0
        for code in path:
            first, count = children[node]
            assert code == ((centroids[first : first + count] - vector) ** 2).sum(1).argmin()
            node = first + code
        assert children[node][0] == -1


def test_documents_encoded_later_get_the_path_that_building_gave_them():
    vectors = random_vectors(60, 6)
    built = build_kmeans(vector_inputs(vectors), CONFIG, 0)
    later = code_tuples(encode_kmeans(vector_inputs(vectors[7:20]), CONFIG, built.codebooks))
    assert later == code_tuples(built.codes)[7:20]


def test_a_small_collection_is_one_cluster():
    built = build_kmeans(vector_inputs(random_vectors(4, 6)), CONFIG, 0)
    assert built.codes.tolist() == [[0]] * 4


def test_equal_vectors_are_not_split():
    assert split_cluster(np.ones((20, 5), np.float32), CONFIG, 0) is None
