import numpy as np
import pytest

from genir.config import PQConfig
from genir.docids.pq import build_pq, encode_pq, last_level_distances_pq
from genir.errors import GenirError
from tests.helpers.docids import random_vectors, vector_inputs

CONFIG = PQConfig(levels=3, codebook_size=8)


@pytest.mark.parametrize("opq", [False, True])
def test_each_subvector_gets_its_nearest_code(opq):
    vectors = random_vectors()
    built = build_pq(vector_inputs(vectors), CONFIG.model_copy(update={"opq": opq}), 0)
    books = built.codebooks["codebooks"]
    if opq:
        rotation = built.codebooks["rotation"]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(12), atol=1e-4)
        vectors = vectors @ rotation.T
    for level, part in enumerate(np.split(vectors, 3, axis=1)):
        distances = ((part[:, None] - books[level]) ** 2).sum(2)
        assert (distances.argmin(1) == built.codes[:, level]).all()


@pytest.mark.parametrize("opq", [False, True])
def test_the_last_code_has_the_smallest_distance(opq):
    inputs = vector_inputs(random_vectors())
    built = build_pq(inputs, CONFIG.model_copy(update={"opq": opq}), 0)
    distances = last_level_distances_pq(inputs, built.codes, built.codebooks)
    assert distances.shape == (60, 8)
    assert (distances.argmin(1) == built.codes[:, -1]).all()


def test_documents_encoded_later_get_the_codes_that_building_gave_them():
    vectors = random_vectors()
    built = build_pq(vector_inputs(vectors), CONFIG, 0)
    assert (encode_pq(vector_inputs(vectors[7:20]), CONFIG, built.codebooks) == built.codes[7:20]).all()
    with pytest.raises(GenirError, match="trained on vectors of dimension 12"):
        encode_pq(vector_inputs(random_vectors(2, 5)), CONFIG, built.codebooks)


def test_levels_must_divide_the_dimension():
    with pytest.raises(GenirError, match=r"docids\.levels: vectors of dimension 12 cannot be split into 5 equal parts"):
        build_pq(vector_inputs(random_vectors()), CONFIG.model_copy(update={"levels": 5}), 0)


def test_unsuitable_codebook_sizes_are_rejected():
    with pytest.raises(GenirError, match="48 is not a power of two"):
        build_pq(vector_inputs(random_vectors()), CONFIG.model_copy(update={"codebook_size": 48}), 0)
    with pytest.raises(GenirError, match="64 codes cannot be learned from 60 documents"):
        build_pq(vector_inputs(random_vectors()), CONFIG.model_copy(update={"codebook_size": 64}), 0)


def test_a_collection_may_have_fewer_documents_than_dimensions():
    assert build_pq(vector_inputs(random_vectors(20, 96)), CONFIG, 0).codes.shape == (20, 3)
