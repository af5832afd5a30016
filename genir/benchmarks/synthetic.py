"""A made-up collection with codes for docids, and T5s for it, random and trained: what decoding is measured on."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import T5Config, T5ForConditionalGeneration

from genir.console import console, track
from genir.docids.table import CodeLayout
from genir.model import DocidModel
from genir.t5.loading import load_t5, silence_transformers, untie

SHAPES: dict[str, dict[str, Any]] = {  # of the published t5-small and t5-base, and the one that is trained here
    "small": {"d_model": 512, "num_heads": 8, "d_ff": 2048, "num_layers": 6},
    "base": {"d_model": 768, "num_heads": 12, "d_ff": 3072, "num_layers": 12},
    "trained": {"d_model": 256, "num_heads": 4, "d_ff": 1024, "num_layers": 1},
}
TEXT_TOKENS, CODES, LEVELS, WORDS = 32_128, 256, 24, 16
FREE = 3
"""Codes that the query tells; each code after them follows from the one before, but for a share of NOISE."""
NOISE = 0.05
LAST_NORM = "decoder.final_layer_norm.weight"


def collection(docids: int) -> NDArray[np.int64]:
    """Codes [N, LEVELS]: the first FREE at random, the others mostly a permutation of the one before."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, CODES, (docids, LEVELS))
    for level in range(FREE, LEVELS):
        follows = rng.random(docids) >= NOISE
        codes[follows, level] = rng.permutation(CODES)[codes[follows, level - 1]]
    return codes


def queries(codes: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
    """Token ids [B, WORDS]: words for each of the first FREE codes of a docid, a third of them replaced by others."""
    level = rng.integers(0, FREE, (len(codes), WORDS))
    words = level * CODES + np.take_along_axis(codes, level, 1)
    other = rng.integers(0, FREE * CODES, words.shape)
    return torch.from_numpy(np.where(rng.random(words.shape) < 0.33, other, words))


def new_t5(shape: str, text_tokens: int = TEXT_TOKENS) -> T5ForConditionalGeneration:
    """Random weights: T5 v1.0's blocks, with a head of its own for 24 codebooks of 256 codes."""
    torch.manual_seed(0)
    settings: dict[str, Any] = SHAPES[shape] | {
        "d_kv": 64,
        "vocab_size": text_tokens + LEVELS * CODES,
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


def docid_model(t5: T5ForConditionalGeneration, levels: int) -> DocidModel:
    """The model for docids of the first `levels` codes."""
    return DocidModel(t5, CodeLayout(t5.config.vocab_size - LEVELS * CODES, (CODES,) * levels), "level")


def trained_t5(shape: str, codes: NDArray[np.int64], steps: int, folder: Path) -> T5ForConditionalGeneration:
    """A small T5 trained on queries for all docids, set into a larger shape among zeros and under blocks that add
    nothing: the distribution is that of the small one, the work that of the whole shape. folder: keeps the small one.
    """
    if not folder.exists():
        made = train(docid_model(new_t5("trained", FREE * CODES), LEVELS), codes, steps)
        with silence_transformers():
            made.t5.save_pretrained(folder)
    small, large = load_t5(str(folder), "cpu").state_dict(), new_t5(shape)
    rows = torch.cat([torch.arange(FREE * CODES), torch.arange(TEXT_TOKENS, TEXT_TOKENS + LEVELS * CODES)])
    for name, weight in large.state_dict().items():
        if name not in small and name.endswith((".o.weight", ".wo.weight")):
            weight.zero_()
        elif name in small and len(weight) == TEXT_TOKENS + LEVELS * CODES:
            weight.zero_()[rows, : small[name].shape[1]] = small[name]
        elif name in small:
            # Of a norm, whose mean square is over more places now; but the last is followed by a factor for the width.
            scale = (len(small[name]) / len(weight)) ** 0.5 if "norm" in name and name != LAST_NORM else 1
            weight.zero_()[tuple(slice(0, size) for size in small[name].shape)] = small[name] * scale
    return large


def train(model: DocidModel, codes: NDArray[np.int64], steps: int) -> DocidModel:
    """Maximum likelihood with AdamW, 128 examples a step; the rate falls to nothing. Three steps of four are on the
    free codes alone, which take longest to learn.
    """
    rng = np.random.default_rng(1)
    optimizer = torch.optim.AdamW(model.t5.parameters(), weight_decay=0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps, pct_start=0.1)
    for step in track(range(steps), "training"):
        chosen = codes[rng.integers(0, len(codes), 128)]
        ids, part = queries(chosen, rng), chosen if step % 4 == 0 else chosen[:, :FREE]
        logps = model.code_logps(model.encode(ids, torch.ones_like(ids)), torch.from_numpy(part).unsqueeze(1))[:, 0]
        optimizer.zero_grad()
        torch.autograd.backward(-logps.sum(-1).mean())
        torch.nn.utils.clip_grad_norm_(model.t5.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        if step % 100 == 0:
            free, others = -logps[:, :FREE].mean(), -logps[:, FREE:].mean()
            console.print(f"step {step}: {free:.3f} nats a free code, {others:.3f} a code after them")
    return model
