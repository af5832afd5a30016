"""RQ-VAE docids: codes of a residual-quantised autoencoder (TIGER, arXiv 2305.05065, section 3.1).

An encoder maps a document vector to a latent vector, which is quantised level by level, and a decoder reconstructs the
document vector from the sum of the code vectors.

Shapes: N documents, n new or sampled documents, D vector dimension, E latent dimension, L levels, K codes of a level.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from genir.config import RQVAEConfig
from genir.console import track
from genir.docids.faiss_codes import BLOCK_SIZE, require_vectors, squared_distances
from genir.docids.table import BuilderInput, Codes
from genir.errors import GenirError

COMMITMENT = 0.25
"""Weight of the commitment loss, which keeps the latent vector near its codes (beta in VQ-VAE)."""
SAMPLE_PER_CODE = 20
"""Vectors per code in the samples from which the codebooks are initialised and unused codes are revived."""


class RQVAE(nn.Module):
    """An encoder D -> hidden -> E, `levels` codebooks [K, E], and a decoder E -> hidden -> D."""

    def __init__(self, width: int, settings: RQVAEConfig) -> None:
        super().__init__()
        hidden, latent = settings.hidden_dim, settings.latent_dim
        self.encoder = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, latent))
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.codebooks = nn.Parameter(torch.zeros(settings.levels, settings.codebook_size, latent))

    def quantise(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Quantise latent vectors [N, E]: each level chooses the code nearest to the residual of the levels before it.

        Returns codes [N, L] and the residual before each level [N, L, E].
        """
        residual, codes, residuals = latent, [], []
        for book in self.codebooks:
            residuals.append(residual)
            codes.append(torch.cdist(residual.detach(), book.detach()).argmin(1))
            residual = residual - book[codes[-1]].detach()
        return torch.stack(codes, 1), torch.stack(residuals, 1)

    def loss(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the loss of a batch of vectors [N, D], and their codes [N, L].

        The loss is the sum of the reconstruction loss, the codebook loss and the weighted commitment loss.
        """
        latent = self.encoder(vectors)
        codes, residuals = self.quantise(latent)
        chosen = torch.stack([book[codes[:, level]] for level, book in enumerate(self.codebooks)], 1)
        total = chosen.sum(1)
        passed = latent + (total - latent).detach()  # straight-through: the gradient ignores the choice of codes
        reconstruction = functional.mse_loss(self.decoder(passed), vectors)
        books = functional.mse_loss(chosen, residuals.detach())
        return reconstruction + books + COMMITMENT * functional.mse_loss(residuals, chosen.detach()), codes


def build_rqvae(inputs: BuilderInput, settings: RQVAEConfig, seed: int) -> Codes:
    """Train an RQ-VAE on vectors [N, D] and quantise them into docids of `levels` codes.

    The tensors stored in the result are the weights of the autoencoder by name, and "scale" [1], by which its input
    vectors are divided. The result is the same for the same seed and number of threads. Raises GenirError if there are
    fewer documents than codes in a codebook, or if a vector is not finite.
    """
    vectors = require_vectors(inputs.vectors, inputs.vectors.shape[1])
    if len(vectors) < settings.codebook_size:
        raise GenirError(
            f"docids.codebook_size: {settings.codebook_size} codes cannot be learned from {len(vectors)} documents; "
            "lower it"
        )
    scale = np.float32(max(float(vectors.std()), 1e-12))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = fit_rqvae(torch.from_numpy(vectors / scale), settings)
    weights = {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}
    codebooks = weights | {"scale": np.array([scale], np.float32)}
    return Codes(encode_rqvae(inputs, settings, codebooks), (settings.codebook_size,) * settings.levels, codebooks)


def fit_rqvae(vectors: Tensor, settings: RQVAEConfig) -> RQVAE:
    """Train an RQ-VAE on vectors [N, D] for `epochs` passes.

    The codebooks are initialised by k-means on the latent vectors of a sample. After each epoch, except those in the
    last tenth, unused codes are replaced by residuals of a new sample (dead-code revival).
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = RQVAE(vectors.shape[1], settings).to(device)

    def draw_sample() -> Tensor:
        return vectors[torch.randperm(len(vectors))[: SAMPLE_PER_CODE * settings.codebook_size]].to(device)

    initialise_codebooks(model, draw_sample())
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=0)
    for epoch in track(range(settings.epochs), "RQ-VAE training"):
        used = torch.zeros(settings.levels, settings.codebook_size, device=device)
        for batch in torch.split(torch.randperm(len(vectors)), settings.batch_size):
            loss, codes = model.loss(vectors[batch].to(device))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            used += torch.stack([torch.bincount(column, minlength=settings.codebook_size) for column in codes.T])
        if epoch < 0.9 * settings.epochs:
            revive_dead_codes(model, used == 0, draw_sample())
    return model


@torch.no_grad()
def initialise_codebooks(model: RQVAE, vectors: Tensor) -> None:
    """Set the codes of each level to k-means centres (five iterations) of the residuals of vectors [n, D]."""
    residual = model.encoder(vectors)
    for book in model.codebooks:
        chosen = torch.randperm(len(residual))[: len(book)].repeat(len(book) // len(residual) + 1)[: len(book)]
        book.copy_(residual[chosen])
        for _ in range(5):
            code = torch.cdist(residual, book).argmin(1)
            count = torch.bincount(code, minlength=len(book)).unsqueeze(1)
            mean = torch.zeros_like(book).index_add_(0, code, residual) / count.clamp(min=1)
            book.copy_(torch.where(count > 0, mean, book))
        residual = residual - book[torch.cdist(residual, book).argmin(1)]


@torch.no_grad()
def revive_dead_codes(model: RQVAE, dead: Tensor, vectors: Tensor) -> None:
    """Replace the codes that `dead` [L, K] marks by residuals of random ones of the vectors [n, D]."""
    _, residuals = model.quantise(model.encoder(vectors))
    for level in range(len(dead)):
        codes = dead[level].nonzero()[:, 0]
        model.codebooks[level, codes] = residuals[torch.randint(len(vectors), (len(codes),)), level]


def encode_rqvae(
    inputs: BuilderInput, settings: RQVAEConfig, codebooks: Mapping[str, NDArray[Any]]
) -> NDArray[np.int32]:
    """Compute the codes [n, levels] of vectors [n, D] with a trained autoencoder.

    Raises GenirError if the vectors have another dimension or are not finite.
    """
    return _quantise(inputs.vectors, codebooks)[0]


def last_level_distances_rqvae(
    inputs: BuilderInput, codes: NDArray[np.int32], codebooks: Mapping[str, NDArray[Any]]
) -> NDArray[np.float32]:
    """Compute the squared distances [n, K] between each latent residual before the last level and the level's codes."""
    return squared_distances(_quantise(inputs.vectors, codebooks)[1], codebooks["codebooks"][-1])


@torch.no_grad()
def _quantise(vectors: NDArray[np.float32], codebooks: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.int32], Any]:
    """Compute the codes [n, L] of vectors [n, D], and the latent residuals before the last level [n, E]."""
    settings = RQVAEConfig(
        levels=len(codebooks["codebooks"]),
        codebook_size=codebooks["codebooks"].shape[1],
        latent_dim=codebooks["codebooks"].shape[2],
        hidden_dim=len(codebooks["encoder.0.bias"]),
    )
    width = codebooks["encoder.0.weight"].shape[1]
    model = RQVAE(width, settings)
    model.load_state_dict({name: torch.from_numpy(codebooks[name]) for name in model.state_dict()})
    scaled = torch.from_numpy(require_vectors(vectors, width) / codebooks["scale"])
    parts = [model.quantise(model.encoder(part)) for part in torch.split(scaled, BLOCK_SIZE)]
    codes, residuals = (torch.cat(x) for x in zip(*parts, strict=True))
    return codes.numpy().astype(np.int32), residuals[:, -1].numpy()
