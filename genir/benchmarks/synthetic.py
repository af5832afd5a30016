"""Synthetic docids and queries, and T5 models for them: the data of the decoding benchmarks.

Shapes: N docids, L levels (`LEVELS` unless stated otherwise), B queries, S source tokens.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import T5Config, T5ForConditionalGeneration

from genir.console import console, track
from genir.docids.table import CodeLayout
from genir.docids.trie import Trie
from genir.model import DocidModel
from genir.scoring.logps import document_logps
from genir.t5.loading import load_t5, silence_transformers, untie

SHAPES: dict[str, dict[str, Any]] = {
    "small": {"d_model": 512, "num_heads": 8, "d_ff": 2048, "num_layers": 6},
    "base": {"d_model": 768, "num_heads": 12, "d_ff": 3072, "num_layers": 12},
    "trained": {"d_model": 256, "num_heads": 4, "d_ff": 1024, "num_layers": 1},
}
"""The shapes of the published t5-small and t5-base, and of the small model that `make_trained_t5` trains."""
TEXT_TOKENS = 32_128
"""Number of text tokens in the vocabulary, as in the published T5 models."""
CODEBOOK_SIZE, LEVELS = 256, 24
RANDOM_LEVELS = 3
"""Number of levels at the beginning of a docid whose codes are random; the tokens of a query stand for these codes."""
NOISE = 0.05
"""Fraction of the codes after the random levels that are not determined by the code before them."""
QUERY_TOKENS, QUERY_NOISE = 16, 0.33
"""Number of tokens of a query, and the fraction of them that are random."""
EXPERT_MATCHES = 3000
"""Number of documents to which the synthetic expert gives a score for a query."""
_FINAL_NORM = "decoder.final_layer_norm.weight"


def make_docids(count: int) -> NDArray[np.int64]:
    """Make docids [N, L]: the codes of the first levels are random, most others depend on the code before them."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, CODEBOOK_SIZE, (count, LEVELS))
    for level in range(RANDOM_LEVELS, LEVELS):
        follows = rng.random(count) >= NOISE
        codes[follows, level] = rng.permutation(CODEBOOK_SIZE)[codes[follows, level - 1]]
    return codes


def make_queries(codes: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
    """Make the token ids [B, S] of one query for each of the docids [B, L].

    Each token stands for the code of one of the docid's random levels, but some are replaced by random tokens.
    """
    level = rng.integers(0, RANDOM_LEVELS, (len(codes), QUERY_TOKENS))
    tokens = level * CODEBOOK_SIZE + np.take_along_axis(codes, level, 1)
    others = rng.integers(0, RANDOM_LEVELS * CODEBOOK_SIZE, tokens.shape)
    return torch.from_numpy(np.where(rng.random(tokens.shape) < QUERY_NOISE, others, tokens))


def make_random_t5(shape: str, text_tokens: int = TEXT_TOKENS) -> T5ForConditionalGeneration:
    """Make a T5 with random weights: the blocks of T5 v1.0, and a separate head for text tokens and codes of L levels.

    shape: a key of `SHAPES`.
    """
    torch.manual_seed(0)
    settings: dict[str, Any] = SHAPES[shape] | {
        "d_kv": 64,
        "vocab_size": text_tokens + LEVELS * CODEBOOK_SIZE,
        "dropout_rate": 0.0,
        "eos_token_id": None,
        "decoder_start_token_id": 0,
    }
    config = T5Config(**settings)
    t5 = T5ForConditionalGeneration(config)
    t5.shared.weight.data.mul_(0.1)
    untie(t5, torch.randn_like(t5.shared.weight) * config.d_model**-0.5)
    t5.train(False)
    return t5


def make_docid_model(t5: T5ForConditionalGeneration, levels: int) -> DocidModel:
    """Make the model of docids that consist of the first `levels` codes, from a T5 of this module."""
    layout = CodeLayout(t5.config.vocab_size - LEVELS * CODEBOOK_SIZE, (CODEBOOK_SIZE,) * levels)
    return DocidModel(t5, layout)


def make_trained_t5(shape: str, codes: NDArray[np.int64], steps: int, folder: Path) -> T5ForConditionalGeneration:
    """Make a T5 of the given shape that ranks docids as a small T5 does, which is trained on queries for docids [N, L].

    folder: where the small model is stored; it is trained only if the folder does not exist.
    """
    if not folder.exists():
        trained = train(
            make_docid_model(make_random_t5("trained", RANDOM_LEVELS * CODEBOOK_SIZE), LEVELS), codes, steps
        )
        with silence_transformers():
            trained.t5.save_pretrained(folder)
    return _embed_in_shape(load_t5(str(folder), "cpu"), shape)


def _embed_in_shape(small_t5: T5ForConditionalGeneration, shape: str) -> T5ForConditionalGeneration:
    """Make a T5 of a larger shape with the outputs of a small one; a search with it takes the time of the larger shape.

    The weights of the small model are padded with zeros, and the layers that it does not have add nothing.
    """
    small, large = small_t5.state_dict(), make_random_t5(shape)
    vocab_size = TEXT_TOKENS + LEVELS * CODEBOOK_SIZE
    tokens = torch.cat([torch.arange(RANDOM_LEVELS * CODEBOOK_SIZE), torch.arange(TEXT_TOKENS, vocab_size)])
    for name, weight in large.state_dict().items():
        if name not in small and name.endswith((".o.weight", ".wo.weight")):
            weight.zero_()
        elif name in small and len(weight) == vocab_size:
            weight.zero_()[tokens, : small[name].shape[1]] = small[name]
        elif name in small:
            # A norm divides by the mean square, which zeros make smaller. The final norm needs no correction, since
            # the head's scale d_model**-0.5 changes by the same factor.
            scale = (len(small[name]) / len(weight)) ** 0.5 if "norm" in name and name != _FINAL_NORM else 1
            weight.zero_()[tuple(slice(0, size) for size in small[name].shape)] = small[name] * scale
    return large


def train(model: DocidModel, codes: NDArray[np.int64], steps: int) -> DocidModel:
    """Train a model in place on queries for docids [N, L], by maximum likelihood with AdamW; returns the model.

    A step has 128 examples. The learning rate rises for a tenth of the steps and then falls to nearly zero.
    """
    rng, trie = np.random.default_rng(1), Trie.from_codes(codes)
    optimizer = torch.optim.AdamW(model.t5.parameters(), weight_decay=0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps, pct_start=0.1)
    for step in track(range(steps), "training"):
        chosen = rng.integers(0, len(codes), 128)
        ids = make_queries(codes[chosen], rng)
        encoded = model.encode(ids, torch.ones_like(ids))
        loss = -document_logps(model, encoded, trie, trie.find_leaves(chosen).unsqueeze(1)).mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.t5.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        if step % 100 == 0:
            console.print(f"step {step}: {loss:.3f} nats per document")
    return model


def make_expert_scores(queries: int, documents: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Make scores of `EXPERT_MATCHES` random documents for each query, which are distributed as those of BM25.

    Returns the keys [m], which are query * documents + leaf in ascending order, and the scores [m] (see
    `genir.scoring.masses.Masses`).
    """
    matches = min(EXPERT_MATCHES, documents)
    leaves = [np.sort(rng.choice(documents, matches, replace=False)) + documents * x for x in range(queries)]
    scores = rng.gamma(2.0, 3.0, queries * matches).astype(np.float32)
    return torch.from_numpy(np.concatenate(leaves)), torch.from_numpy(scores)
