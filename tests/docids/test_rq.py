import itertools

import numpy as np
import pytest

from genir.config import RQConfig
from genir.docids.rq import build_rq, encode_rq, last_level_distances_rq
from genir.errors import GenirError
from tests.helpers.docids import code_tuples, random_vectors, vector_inputs

CONFIG = RQConfig(levels=3, codebook_size=8)


def test_with_a_wide_beam_codes_are_those_of_the_nearest_sum_of_code_vectors():
    """The codes are compared with a brute-force search over all 4 x 4 x 4 sums."""
    vectors = random_vectors()
    built = build_rq(vector_inputs(vectors), RQConfig(levels=3, codebook_size=4, encoder_beam=64), 0)
    books = built.codebooks["codebooks"]
    sums = {c: books[0, c[0]] + books[1, c[1]] + books[2, c[2]] for c in itertools.product(range(4), repeat=3)}
    assert code_tuples(built.codes) == [min(sums, key=lambda c: ((sums[c] - vector) ** 2).sum()) for vector in vectors]


def test_a_beam_of_more_than_all_code_sequences_finds_the_nearest_sums_too():
    """The codes are compared with a brute-force search over all 2 x 2 sums; faiss alone would return only code 0."""
    vectors = random_vectors()
    built = build_rq(vector_inputs(vectors), RQConfig(levels=2, codebook_size=2, encoder_beam=5), 0)
    books = built.codebooks["codebooks"]
    sums = {c: books[0, c[0]] + books[1, c[1]] for c in itertools.product(range(2), repeat=2)}
    assert code_tuples(built.codes) == [min(sums, key=lambda c: ((sums[c] - vector) ** 2).sum()) for vector in vectors]


def test_without_a_beam_the_last_code_has_the_smallest_distance():
    inputs = vector_inputs(random_vectors())
    built = build_rq(inputs, CONFIG.model_copy(update={"encoder_beam": 1}), 0)
    distances = last_level_distances_rq(inputs, built.codes, built.codebooks)
    assert distances.shape == (60, 8)
    assert (distances.argmin(1) == built.codes[:, -1]).all()


def test_distances_are_those_of_the_residual_before_the_last_level():
    inputs = vector_inputs(random_vectors())
    built = build_rq(inputs, CONFIG, 0)
    books = built.codebooks["codebooks"]
    residual = inputs.vectors - books[0][built.codes[:, 0]] - books[1][built.codes[:, 1]]
    wanted = ((residual[:, None] - books[2][None]) ** 2).sum(2)
    np.testing.assert_allclose(
        last_level_distances_rq(inputs, built.codes, built.codebooks), wanted, rtol=1e-4, atol=1e-4
    )


def test_documents_encoded_later_get_the_codes_that_building_gave_them():
    vectors = random_vectors()
    built = build_rq(vector_inputs(vectors), CONFIG, 0)
    assert (encode_rq(vector_inputs(vectors[7:20]), CONFIG, built.codebooks) == built.codes[7:20]).all()
    with pytest.raises(GenirError, match="trained on vectors of dimension 12"):
        encode_rq(vector_inputs(random_vectors(2, 5)), CONFIG, built.codebooks)


def test_unsuitable_codebook_sizes_are_rejected():
    with pytest.raises(GenirError, match="48 is not a power of two"):
        build_rq(vector_inputs(random_vectors()), CONFIG.model_copy(update={"codebook_size": 48}), 0)
    with pytest.raises(GenirError, match="64 codes cannot be learned from 60 documents"):
        build_rq(vector_inputs(random_vectors()), CONFIG.model_copy(update={"codebook_size": 64}), 0)


def test_a_collection_may_have_fewer_documents_than_dimensions():
    assert build_rq(vector_inputs(random_vectors(20, 96)), CONFIG, 0).codes.shape == (20, 3)
