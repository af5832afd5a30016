"""T5 with a docid vocabulary: making one, loading one, and the log-probability of a docid.

Shapes: B queries, N candidates, L levels, S source tokens, D model width, K codes of a level, V vocabulary.
"""

from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedTokenizerBase, T5Config, T5ForConditionalGeneration

from genir.config import ModelConfig, SoftmaxOver
from genir.docids.table import CodeLayout
from genir.errors import GenirError
from genir.t5 import decoder
from genir.t5.cross_attention import Memory, bias_of, remember
from genir.t5.cuda_graphs import SMALL, filled, rounded
from genir.t5.kv_cache import Past, Pasts
from genir.t5.loading import load_t5, set_dropout, untie
from genir.t5.ragged import Shares

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"d_model": 384, "num_heads": 6, "d_ff": 256, "num_layers": 1, "num_decoder_layers": 1},
    "mini": {"d_model": 384, "num_heads": 6, "d_ff": 1024, "num_layers": 2, "num_decoder_layers": 2},
    "small": {"d_model": 512, "num_heads": 8, "d_ff": 1024, "num_layers": 6, "num_decoder_layers": 6},
    "base": {"d_model": 768, "num_heads": 12, "d_ff": 2048, "num_layers": 12, "num_decoder_layers": 12},
}

_AT_ONCE = 1024
"""Decoder states that meet the head at a time: more logits over a whole vocabulary would take much memory."""


class Encoded(NamedTuple):
    """The encoder's view of a batch of queries: states [B, S, D], mask [B, S] with 1 at real tokens."""

    states: Tensor
    mask: Tensor


def new_model(
    settings: ModelConfig, tokenizer: PreTrainedTokenizerBase, sizes: tuple[int, ...], text: bool = False
) -> "DocidModel":
    """A T5 whose vocabulary is the text pieces followed by the codes of all levels; text docids need no codes.

    From scratch it has the v1.1 shape (gated GELU, untied head), small embeddings (std 0.1: Adam moves rows of the
    usual std 1.0 too slowly for rare words) and the given size.
    """
    if settings.pretrained is not None:
        model = load_t5(settings.pretrained)
        layout = CodeLayout(0 if text else model.config.vocab_size, sizes, text)
        if not text:
            _add_codes(model, layout)
    else:
        layout = CodeLayout(0 if text else len(tokenizer), sizes, text)
        config = T5Config(
            **SIZES[settings.size],
            d_kv=64,
            vocab_size=layout.vocabulary,
            feed_forward_proj="gated-gelu",
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            **{"tie_word_embeddings": False, "decoder_start_token_id": tokenizer.pad_token_id},
        )
        model = T5ForConditionalGeneration(config)
        nn.init.normal_(model.shared.weight, std=0.1)
        untie(model, torch.randn_like(model.shared.weight) * config.d_model**-0.5)
    set_dropout(model, settings.dropout)
    return DocidModel(model, layout, settings.softmax_over)


def _add_codes(model: T5ForConditionalGeneration, layout: CodeLayout) -> None:
    """Add code tokens to a pretrained model, tied or not as it was; new rows get half the spread of the old ones."""

    def extended(weight: Tensor) -> Tensor:
        old = weight.detach()
        new = torch.randn(layout.vocabulary - len(old), old.shape[1]) * old.std().cpu() * 0.5 + old.mean(0).cpu()
        return torch.cat([old, new.to(old)])

    own_head = None if model.lm_head.weight is model.shared.weight else extended(model.lm_head.weight)
    rows = extended(model.shared.weight)
    model.resize_token_embeddings(layout.vocabulary, mean_resizing=False)
    with torch.no_grad():
        model.shared.weight.copy_(rows)
    if own_head is not None:
        untie(model, own_head)


class DocidModel:
    """A T5 together with the layout of its code tokens and the way its scores are normalised.

    normalize "level": softmax over the level's codebook only, so that all code sequences together have probability 1.
    normalize "full": softmax over the whole vocabulary, as Hugging Face `generate` ranks.
    """

    def __init__(self, t5: T5ForConditionalGeneration, layout: CodeLayout, normalize: SoftmaxOver | None) -> None:
        if layout.vocabulary > t5.config.vocab_size:
            raise GenirError(f"the model has {t5.config.vocab_size} tokens, its docids need {layout.vocabulary}")
        self.t5 = t5
        self.layout = layout
        self.normalize: SoftmaxOver = normalize or ("full" if layout.text else "level")
        self._pasts = Pasts()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.t5.device

    def encode(self, input_ids: Tensor, attention_mask: Tensor) -> Encoded:
        """Encode queries; input_ids, attention_mask [B, S]. On a GPU S may be longer then, if no gradient is wanted."""
        if not (torch.is_grad_enabled() or self.t5.training or input_ids.numel() > SMALL):
            with self.past() as past:
                if past.replays is not None:
                    ids, mask = _sixteens(input_ids), _sixteens(attention_mask)
                    return Encoded(past.replays("encode", partial(_encode, self.t5), ids, mask).clone(), mask)
        output = self.t5.encoder(input_ids=input_ids, attention_mask=attention_mask)
        return Encoded(output.last_hidden_state, attention_mask)

    def decode(self, memory: Memory, tokens: Tensor) -> Tensor:
        """Decoder states [B, N, T, D] after the tokens [B, N, T], ready for the head."""
        return self._scaled(decoder.decode(self.t5, memory, tokens))

    def remember(self, encoded: Encoded, past: Past | None = None) -> Memory:
        """What the decoder attends to, made once for all docids of a query. past: of the search that it is for; the
        next search there may overwrite it.
        """
        if past is None or past.replays is None:
            return remember(self.t5, *encoded)
        longer = Encoded(*(_sixteens(x) for x in encoded))
        if longer.mask.numel() > SMALL:
            return remember(self.t5, *longer)
        memory: Memory = past.replays("remember", partial(remember, self.t5), *longer, lasting=True)
        return memory

    def past(self) -> AbstractContextManager[Past]:
        """An empty past, for one search."""
        return self._pasts.one(self.t5)

    def extend(
        self, memory: Memory, shares: Shares, past: Past, tokens: Tensor, before: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Decoder states [n, T, D], ready for the head, after the tokens [n, T], and their rows in `past`; see
        `decoder.extend`.
        """
        hidden, rows = decoder.extend(self.t5, memory, shares, past, tokens, before)
        return self._scaled(hidden), rows

    def _scaled(self, hidden: Tensor) -> Tensor:
        return hidden * self.t5.config.d_model**-0.5 if self.t5.config.scale_decoder_outputs else hidden

    def level_logps(self, hidden: Tensor, level: int) -> Tensor:
        """log p of each code of a level [..., K] from decoder states [..., D]; fp32."""
        start = self.layout.base + self.layout.offsets[level]
        codes = slice(start, start + self.layout.sizes[level])
        head = self.t5.lm_head.weight
        if self.normalize == "level":
            return functional.linear(hidden, head[codes]).float().log_softmax(-1)
        return functional.linear(hidden, head).float().log_softmax(-1)[..., codes]

    def logps_at(self, hidden: Tensor, levels: Tensor, codes: Tensor) -> Tensor:
        """log p of one code each from decoder states [n, D]: levels (on the CPU), codes [n] -> [n]; fp32."""
        if self.layout.text:
            levels = torch.zeros_like(levels)  # all have the same codebook
        order = levels.argsort(stable=True).to(hidden.device)
        hidden, codes, found = hidden[order], codes[order].unsqueeze(1), []
        for level, count in enumerate(levels.bincount().tolist()):
            if not count:
                continue
            for rows, wanted in zip(*(torch.split(x[:count], _AT_ONCE) for x in (hidden, codes)), strict=True):
                found.append(self.level_logps(rows, level).gather(1, wanted)[:, 0])
            hidden, codes = hidden[count:], codes[count:]
        return torch.cat(found)[order.argsort()]

    def start_tokens(self, *shape: int) -> Tensor:
        """The decoder's first input [*shape, 1]."""
        return torch.full((*shape, 1), self.t5.config.decoder_start_token_id, dtype=torch.long, device=self.device)

    def tokens(self, codes: Tensor) -> Tensor:
        """Model tokens of docids: codes [..., L] -> [..., L]; padding becomes the first token of its level."""
        offsets = torch.tensor(self.layout.offsets[: codes.shape[-1]], dtype=torch.long, device=codes.device)
        return codes.clamp(min=0) + self.layout.base + offsets

    def tokens_of_level(self, codes: Tensor, level: int) -> Tensor:
        """Model tokens of one level's codes, as decoder input: [n] -> [n, 1]."""
        return (codes + self.layout.base + self.layout.offsets[level]).unsqueeze(1)

    def inputs(self, codes: Tensor) -> Tensor:
        """Decoder inputs that write these codes and predict the next: codes [..., L] -> [..., L + 1]."""
        return torch.cat([self.start_tokens(*codes.shape[:-1]), self.tokens(codes)], -1)

    def docid_states(self, encoded: Encoded, codes: Tensor) -> Tensor:
        """Sum over a docid's codes of the decoder states that predict them: codes [B, N, L] -> [B, N, D]."""
        hidden = self.decode(self.remember(encoded), self.inputs(codes[..., :-1]))
        return hidden.masked_fill(codes.unsqueeze(-1) < 0, 0).sum(-2)

    def code_logps(self, encoded: Encoded, codes: Tensor) -> Tensor:
        """Log-probability of each code of docids given those before it: codes [B, N, L] -> [B, N, L], 0 at padding."""
        levels = codes.shape[-1]
        # All candidates begin alike: where docids have one code, they are one decoder input a query.
        hidden = self.decode(self.remember(encoded), self.inputs(codes[:, : None if levels > 1 else 1, :-1]))
        wanted = codes.clamp(min=0).unsqueeze(-1)
        if self.normalize == "full" or self.layout.text:
            logps = [self.level_logps(hidden[:, :, m], m) for m in range(levels)]
        else:
            # One split, not a slice a level: the gradient of each slice would be as large as the whole head.
            rest = self.t5.config.vocab_size - self.layout.vocabulary  # rows of the head after the last level's
            books = self.t5.lm_head.weight[self.layout.base :].split([*self.layout.sizes, rest])
            logps = [functional.linear(hidden[:, :, m], books[m]).float().log_softmax(-1) for m in range(levels)]
        wide = [logp.expand(-1, codes.shape[1], -1) for logp in logps]
        chosen = [logp.gather(-1, wanted[:, :, m])[..., 0] for m, logp in enumerate(wide)]
        return torch.stack(chosen, -1).masked_fill(codes < 0, 0)

    def sequence_logps(self, encoded: Encoded, codes: Tensor, candidate_chunk: int | None = None) -> Tensor:
        """Log-probability of whole docids: codes [B, N, L] -> [B, N], the sum over their codes.

        at_once: candidates whose activations are kept at a time. Longer lists are run twice: forward without keeping
        anything, then chunk by chunk in the backward pass; the gradient is the same.
        """
        if candidate_chunk is None or codes.shape[1] <= candidate_chunk:
            return self.code_logps(encoded, codes).sum(-1)

        def chunk(states: Tensor, part: Tensor) -> Tensor:
            return self.code_logps(Encoded(states, encoded.mask), part).sum(-1)

        parts = torch.split(codes, candidate_chunk, 1)
        return torch.cat([checkpoint(chunk, encoded.states, part, use_reentrant=False) for part in parts], 1)


def _sixteens(x: Tensor) -> Tensor:
    """[B, S, ...] with S a multiple of 16, so that the shapes of graphs return."""
    return filled(x, 1, rounded(x.shape[1], 16))


def _encode(t5: T5ForConditionalGeneration, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """States of the encoder, with a mask at whose values Hugging Face does not look."""
    states: Tensor = t5.encoder(input_ids=input_ids, attention_mask=bias_of(attention_mask, t5.dtype)).last_hidden_state
    return states
