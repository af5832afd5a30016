"""Small models with random weights."""

import torch
from transformers import T5Config, T5ForConditionalGeneration

from genir.docids.table import CodeLayout
from genir.model import DocidModel
from genir.t5.loading import untie


def make_model(
    sizes: tuple[int, ...],
    softmax_over: str = "level",
    v10: bool = False,
    seed: int = 0,
    base: int = 20,
    width: int = 16,
) -> DocidModel:
    """A small random T5 with code docids.

    sizes: codebook sizes. v10: T5 v1.0's architecture (ReLU, tied head, scaled decoder outputs) instead of v1.1's.
    base: number of text tokens. width: model width.
    """
    torch.manual_seed(seed)
    layout = CodeLayout(base, sizes)
    config = T5Config(
        vocab_size=layout.vocab_size,
        d_model=width,
        d_kv=8,
        d_ff=24,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="relu" if v10 else "gated-gelu",
        tie_word_embeddings=v10,
        decoder_start_token_id=0,
        dropout_rate=0.0,
    )
    t5 = T5ForConditionalGeneration(config)
    if not v10:
        untie(t5, torch.randn_like(t5.shared.weight))
    return DocidModel(t5.eval(), layout, softmax_over)


def make_text_model(levels: int, **kwargs) -> DocidModel:
    """A small random T5 with text docids of at most so many tokens; other arguments as in `make_model`."""
    t5 = make_model((20,), **kwargs).t5
    return DocidModel(t5, CodeLayout(0, (t5.config.vocab_size,) * levels, True), None)
