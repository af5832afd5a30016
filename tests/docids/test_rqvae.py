import numpy as np
import pytest
import torch

from genir.config import RQVAEConfig
from genir.docids.rqvae import (
    RQVAE,
    build_rqvae,
    encode_rqvae,
    fit_rqvae,
    initialise_codebooks,
    last_level_distances_rqvae,
    revive_dead_codes,
)
from genir.errors import GenirError
from tests.helpers.docids import random_vectors, vector_inputs

CONFIG = RQVAEConfig(levels=2, codebook_size=4, latent_dim=4, hidden_dim=8, epochs=3, batch_size=16)


def clusters(count=400, seed=0):
    """Return vectors [count, 8] that form 16 tight clusters."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(16, 8))
    return (centres[rng.integers(0, 16, count)] + 0.05 * rng.normal(size=(count, 8))).astype(np.float32)


def test_a_trained_model_uses_its_codes_and_reconstructs_far_better_than_the_mean():
    config = RQVAEConfig(
        levels=2, codebook_size=16, latent_dim=8, hidden_dim=32, epochs=60, batch_size=64, learning_rate=3e-3
    )
    torch.manual_seed(0)
    vectors = torch.from_numpy(clusters())
    model = fit_rqvae(vectors, config)
    codes, _ = model.quantise(model.encoder(vectors))
    chosen = sum(model.codebooks[level][codes[:, level]] for level in range(2))
    error = ((model.decoder(chosen) - vectors) ** 2).mean()
    assert error < 0.2 * vectors.var(0).mean()
    assert len(codes[:, 0].unique()) >= 14


def test_revived_codes_are_used_and_the_others_stay():
    torch.manual_seed(0)
    config = RQVAEConfig(levels=2, codebook_size=8, latent_dim=4, hidden_dim=16)
    model, vectors = RQVAE(8, config), torch.from_numpy(clusters())
    initialise_codebooks(model, vectors)
    with torch.no_grad():
        model.codebooks[0, 2:] = 1e6  # far from every latent vector

    def used():
        return {int(code) for code in model.quantise(model.encoder(vectors))[0][:, 0]}

    assert used() <= {0, 1}
    dead = torch.zeros(2, 8, dtype=torch.bool)
    dead[0, 2:] = True
    kept = model.codebooks[0, :2].clone()
    revive_dead_codes(model, dead, vectors)
    assert len(used()) >= 6
    assert torch.equal(model.codebooks[0, :2], kept)


def test_distances_are_those_of_the_residual_before_the_last_level():
    """The distances are compared with those from the encoder written out in numpy."""
    inputs = vector_inputs(random_vectors(40, 6))
    built = build_rqvae(inputs, CONFIG, 0)
    books = built.codebooks
    hidden = np.maximum(inputs.vectors / books["scale"] @ books["encoder.0.weight"].T + books["encoder.0.bias"], 0)
    latent = hidden @ books["encoder.2.weight"].T + books["encoder.2.bias"]
    residual = latent - books["codebooks"][0][built.codes[:, 0]]
    wanted = ((residual[:, None] - books["codebooks"][1][None]) ** 2).sum(2)
    distances = last_level_distances_rqvae(inputs, built.codes, books)
    np.testing.assert_allclose(distances, wanted, rtol=1e-3, atol=1e-4)
    assert (built.codes[:, 1] == wanted.argmin(1)).all()


def test_documents_encoded_later_get_the_codes_that_building_gave_them():
    vectors = random_vectors(40, 6)
    built = build_rqvae(vector_inputs(vectors), CONFIG, 0)
    assert (encode_rqvae(vector_inputs(vectors[7:20]), CONFIG, built.codebooks) == built.codes[7:20]).all()


def test_more_codes_than_documents_are_rejected():
    with pytest.raises(GenirError, match=r"docids\.codebook_size: 4 codes cannot be learned from 3 documents"):
        build_rqvae(vector_inputs(random_vectors(3, 6)), CONFIG, 0)
