"""Small models with random weights."""

import torch
from transformers import T5Config, T5ForConditionalGeneration

from genir.docids.table import CodeLayout
from genir.model import DocidModel
from genir.t5.loading import untie


def make_model(
    sizes: tuple[int, ...],
    softmax_over: str = "trie",
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
    model = make_model((20,), **kwargs)
    layout = CodeLayout(0, (model.t5.config.vocab_size,) * levels, True)
    return DocidModel(model.t5, layout, model.softmax_over)


class CountingModel(DocidModel):
    """Counts the decoder's passes in a search and in training, and the tokens in them."""

    num_passes = num_tokens = 0

    def extend(self, cross_cache, layout, kv_cache, tokens, past_slots):
        self._count(tokens)
        return super().extend(cross_cache, layout, kv_cache, tokens, past_slots)

    def decode(self, cross_cache, tokens):
        self._count(tokens)
        return super().decode(cross_cache, tokens)

    def _count(self, tokens):
        self.num_passes += 1
        self.num_tokens += tokens.numel()

    @classmethod
    def of(cls, model: DocidModel) -> "CountingModel":
        """A counting model with the weights of another one."""
        return cls(model.t5, model.layout, model.softmax_over)
