"""Docids of a residual-quantised autoencoder (RQ-VAE; TIGER, arXiv 2305.05065, section 3.1): an encoder maps a vector
to a latent one, which is quantised level by level, and a decoder reads the vector back from the sum of the codes.

Shapes: N documents, D vector width, E latent width, L levels, K codes of a level.
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
from genir.docids.faiss_codes import BLOCK, checked_width, squared_distances
from genir.docids.table import Codes, Source
from genir.errors import GenirError

COMMITMENT = 0.25  # of the loss that holds the latent to its codes (VQ-VAE's beta)


class RQVAE(nn.Module):
    """Encoder D -> hidden -> E, `levels` codebooks [K, E], decoder E -> hidden -> D."""

    def __init__(self, width: int, settings: RQVAEConfig) -> None:
        super().__init__()
        hidden, latent = settings.hidden_dim, settings.latent_dim
        self.encoder = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, latent))
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.codebooks = nn.Parameter(torch.zeros(settings.levels, settings.codebook_size, latent))

    def quantise(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest code of each level to what the levels before it left: codes [N, L], residuals [N, L, E]."""
        rest, codes, residuals = latent, [], []
        for book in self.codebooks:
            residuals.append(rest)
            codes.append(torch.cdist(rest.detach(), book.detach()).argmin(1))
            rest = rest - book[codes[-1]].detach()
        return torch.stack(codes, 1), torch.stack(residuals, 1)

    def loss(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction, codebook and commitment losses of a batch [N, D], and its codes [N, L]."""
        latent = self.encoder(vectors)
        codes, residuals = self.quantise(latent)
        chosen = torch.stack([book[codes[:, level]] for level, book in enumerate(self.codebooks)], 1)
        total = chosen.sum(1)
        passed = latent + (total - latent).detach()  # straight through: gradients skip the choice of codes
        reconstruction = functional.mse_loss(self.decoder(passed), vectors)
        books = functional.mse_loss(chosen, residuals.detach())
        return reconstruction + books + COMMITMENT * functional.mse_loss(residuals, chosen.detach()), codes


def build_rqvae(source: Source, settings: RQVAEConfig, seed: int) -> Codes:
    """Train on vectors [N, D] and code them: [N, levels]. Deterministic for a seed and a number of threads.

    codebooks: the autoencoder's weights by name, and the scale that its input vectors are divided by.
    """
    vectors = checked_width(source.vectors, source.vectors.shape[1])
    if len(vectors) < settings.codebook_size:
        raise GenirError(
            f"docids.codebook_size: {settings.codebook_size} codes cannot be learned from {len(vectors)} documents"
        )
    scale = np.float32(max(float(vectors.std()), 1e-12))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = fit_rqvae(torch.from_numpy(vectors / scale), settings)
    weights = {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}
    codebooks = weights | {"scale": np.array([scale], np.float32)}
    return Codes(encode_rqvae(source, settings, codebooks), (settings.codebook_size,) * settings.levels, codebooks)


def fit_rqvae(vectors: Tensor, settings: RQVAEConfig) -> RQVAE:
    """Train for `epochs`, codebooks started by k-means of the first latents; codes that an epoch did not
    use are drawn anew from its residuals (dead-code revival), until the last tenth of the training.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = RQVAE(vectors.shape[1], settings).to(device)
    start_codebooks(model, vectors[torch.randperm(len(vectors))[: 20 * settings.codebook_size]].to(device))
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=0)
    for epoch in track(range(settings.epochs), "rq-vae"):
        used = torch.zeros(settings.levels, settings.codebook_size, device=device)
        for rows in torch.split(torch.randperm(len(vectors)), settings.batch_size):
            loss, codes = model.loss(vectors[rows].to(device))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            used += torch.stack([torch.bincount(column, minlength=settings.codebook_size) for column in codes.T])
        if epoch < 0.9 * settings.epochs:
            revive(model, used == 0, vectors[torch.randperm(len(vectors))[: 20 * settings.codebook_size]].to(device))
    return model


@torch.no_grad()
def start_codebooks(model: RQVAE, vectors: Tensor) -> None:
    """Each level's codes start as k-means centres (five rounds) of the residuals that it will see."""
    rest = model.encoder(vectors)
    for book in model.codebooks:
        book.copy_(rest[torch.randperm(len(rest))[: len(book)].repeat(len(book) // len(rest) + 1)[: len(book)]])
        for _ in range(5):
            code = torch.cdist(rest, book).argmin(1)
            count = torch.bincount(code, minlength=len(book)).unsqueeze(1)
            mean = torch.zeros_like(book).index_add_(0, code, rest) / count.clamp(min=1)
            book.copy_(torch.where(count > 0, mean, book))
        rest = rest - book[torch.cdist(rest, book).argmin(1)]


@torch.no_grad()
def revive(model: RQVAE, dead: Tensor, vectors: Tensor) -> None:
    """Put the dead codes [L, K] of each level on residuals of random vectors [n, D], where something is to be coded."""
    _, residuals = model.quantise(model.encoder(vectors))
    for level in range(len(dead)):
        places = dead[level].nonzero()[:, 0]
        model.codebooks[level, places] = residuals[torch.randint(len(vectors), (len(places),)), level]


def encode_rqvae(source: Source, settings: RQVAEConfig, codebooks: Mapping[str, NDArray[Any]]) -> NDArray[np.int32]:
    """Codes [n, levels] of vectors [n, D] by a trained autoencoder."""
    return _run(source.vectors, codebooks)[0]


def last_distances_rqvae(
    source: Source, codes: NDArray[np.int32], codebooks: Mapping[str, NDArray[Any]]
) -> NDArray[np.float32]:
    """Squared distance of what the first levels leave of a latent vector to each code of the last level: [n, K]."""
    return squared_distances(_run(source.vectors, codebooks)[1], codebooks["codebooks"][-1])


@torch.no_grad()
def _run(vectors: NDArray[np.float32], books: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.int32], Any]:
    """Codes [n, L] and the residual before the last level [n, E]."""
    settings = RQVAEConfig(
        levels=len(books["codebooks"]),
        codebook_size=books["codebooks"].shape[1],
        latent_dim=books["codebooks"].shape[2],
        hidden_dim=len(books["encoder.0.bias"]),
    )
    width = books["encoder.0.weight"].shape[1]
    model = RQVAE(width, settings)
    model.load_state_dict({name: torch.from_numpy(books[name]) for name in model.state_dict()})
    scaled = torch.from_numpy(checked_width(vectors, width) / books["scale"])
    parts = [model.quantise(model.encoder(part)) for part in torch.split(scaled, BLOCK)]
    codes, residuals = (torch.cat(x) for x in zip(*parts, strict=True))
    return codes.numpy().astype(np.int32), residuals[:, -1].numpy()
