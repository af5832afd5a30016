"""Small random models."""

import torch
from transformers import T5Config, T5ForConditionalGeneration

from genir.docids.table import CodeLayout
from genir.model import DocidModel
from genir.t5.loading import untie


def make_model(
    sizes: tuple[int, ...],
    normalize: str = "level",
    v10: bool = False,
    seed: int = 0,
    base: int = 20,
    width: int = 16,
) -> DocidModel:
    """A small random T5; v10: the original shape (ReLU, tied and scaled head), else v1.1."""
    torch.manual_seed(seed)
    layout = CodeLayout(base, sizes)
    config = T5Config(
        vocab_size=layout.vocabulary,
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
    return DocidModel(t5.eval(), layout, normalize)
