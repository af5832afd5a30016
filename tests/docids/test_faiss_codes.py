import itertools
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from genir.docids.faiss_codes import (
    bits_per_code,
    draw_training_sample,
    import_faiss,
    require_vectors,
    squared_distances,
    unpack_codes,
)
from genir.errors import GenirError
from tests.helpers.docids import random_vectors


@given(st.integers(1, 11), st.data())
def test_unpacked_codes_are_those_that_were_packed(bits, data):
    codes = data.draw(arrays(np.int64, (5, 4), elements=st.integers(0, 2**bits - 1)))
    packed = np.zeros((5, -(-4 * bits // 8)), np.uint8)
    for i, level, bit in itertools.product(range(5), range(4), range(bits)):
        position = level * bits + bit
        packed[i, position // 8] |= ((codes[i, level] >> bit) & 1) << (position % 8)
    assert (unpack_codes(packed, 4, bits) == codes).all()


def test_a_codebook_size_must_be_a_power_of_two_and_at_most_the_number_of_documents():
    assert [bits_per_code(size, 64) for size in (2, 16, 64)] == [1, 4, 6]
    with pytest.raises(GenirError, match=r"docids\.codebook_size: 48 is not a power of two; use 32 or 64"):
        bits_per_code(48, 1000)
    with pytest.raises(GenirError, match=r"docids\.codebook_size: 64 codes cannot be learned from 60 documents"):
        bits_per_code(64, 60)


def test_a_training_sample_has_256_vectors_per_code_in_their_order():
    vectors = np.arange(2000, dtype=np.float32)[:, None]
    sample = draw_training_sample(vectors, 4, seed=1)[:, 0]
    assert len(sample) == 1024
    assert (np.diff(sample) > 0).all()
    assert (draw_training_sample(vectors, 4, seed=1)[:, 0] == sample).all()
    assert draw_training_sample(vectors, 8, seed=1) is vectors  # 2,000 are fewer than 8 x 256


def test_vectors_must_have_the_dimension_of_the_codebooks_and_be_finite():
    vectors = random_vectors(3, 12)
    assert (require_vectors(vectors, 12) == vectors).all()
    with pytest.raises(GenirError, match=r"shape \(3, 12\): the codebooks were trained on vectors of dimension 5"):
        require_vectors(vectors, 5)
    vectors[1, 3] = np.nan
    with pytest.raises(GenirError, match="vector 1 contains a value that is not finite"):
        require_vectors(vectors, 12)


def test_squared_distances_equal_those_of_the_differences():
    vectors, centres = random_vectors(7, 5, 0), random_vectors(4, 5, 1)
    wanted = ((vectors[:, None] - centres[None]) ** 2).sum(2)
    np.testing.assert_allclose(squared_distances(vectors, centres), wanted, rtol=1e-4, atol=1e-5)


def test_the_error_for_a_missing_faiss_names_both_extras(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(GenirError, match=r"genir\[cpu\] or, with CUDA, genir\[gpu\]; never both"):
        import_faiss()
