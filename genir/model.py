"""T5 with a docid vocabulary: building such a model, and computing log-probabilities of docids.

Shapes: B queries, N candidates, L levels, S source tokens, D model width, K codes of a level, V vocabulary.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from copy import deepcopy
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedTokenizerBase, T5Config, T5ForConditionalGeneration

from genir.config import ModelConfig, SoftmaxOver
from genir.docids.table import CodeLayout
from genir.errors import GenirError
from genir.t5 import decoder
from genir.t5.cross_attention import CrossAttentionCache, mask_to_bias, precompute_cross_attention
from genir.t5.cuda_graphs import MAX_GRAPH_TOKENS, pad_to, round_up
from genir.t5.kv_cache import KVCache, KVCachePool
from genir.t5.loading import load_t5, set_dropout, untie
from genir.t5.ragged import RaggedLayout

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"d_model": 384, "num_heads": 6, "d_ff": 256, "num_layers": 1, "num_decoder_layers": 1},
    "mini": {"d_model": 384, "num_heads": 6, "d_ff": 1024, "num_layers": 2, "num_decoder_layers": 2},
    "small": {"d_model": 512, "num_heads": 8, "d_ff": 1024, "num_layers": 6, "num_decoder_layers": 6},
    "base": {"d_model": 768, "num_heads": 12, "d_ff": 2048, "num_layers": 12, "num_decoder_layers": 12},
}
"""Architectures of models that are trained from scratch, by the values of the setting model.size."""

_HEAD_CHUNK = 1024
"""Decoder states that the head is applied to at once, since logits over the whole vocabulary take much memory."""
_DENSE_RATIO = 16
"""Logits of all codes of a level are computed if at most this many times as many as are needed: a matrix product takes
less time for each of them.
"""
_GATHER_CHUNK = 16_384
"""Children whose logits are computed one by one at once, since their head vectors are copied."""


class Encoded(NamedTuple):
    """The encoder's output for a batch of queries: states [B, S, D], mask [B, S] with 1 at tokens."""

    states: Tensor
    mask: Tensor


def build_model(
    settings: ModelConfig, tokenizer: PreTrainedTokenizerBase, sizes: tuple[int, ...], text: bool = False
) -> "DocidModel":
    """Build a T5 whose vocabulary is the text tokens followed by the codes of all levels; text docids need no codes.

    sizes: codebook sizes K_1..K_L. text: whether the docids are written with text tokens. A pretrained model is loaded
    if the settings name one. A model that is trained from scratch has T5 v1.1's architecture (gated GELU, untied head)
    and small embeddings (std 0.1: Adam moves embeddings of the usual std 1.0 too slowly for rare words).
    Raises GenirError if the pretrained model cannot be loaded or is not a T5.
    """
    if settings.pretrained is not None:
        t5 = load_t5(settings.pretrained)
        layout = CodeLayout(0 if text else t5.config.vocab_size, sizes, text)
        if not text:
            _add_code_tokens(t5, layout)
    else:
        layout = CodeLayout(0 if text else len(tokenizer), sizes, text)
        config = T5Config(
            **SIZES[settings.size],
            d_kv=64,
            vocab_size=layout.vocab_size,
            feed_forward_proj="gated-gelu",
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            **{"tie_word_embeddings": False, "decoder_start_token_id": tokenizer.pad_token_id},
        )
        t5 = T5ForConditionalGeneration(config)
        nn.init.normal_(t5.shared.weight, std=0.1)
        untie(t5, torch.randn_like(t5.shared.weight) * config.d_model**-0.5)
    set_dropout(t5, settings.dropout)
    return DocidModel(t5, layout, settings.softmax_over)


def _add_code_tokens(t5: T5ForConditionalGeneration, layout: CodeLayout) -> None:
    """Add the code tokens to the vocabulary of a pretrained model.

    The new embeddings are drawn around the mean of the old ones, with half of their standard deviation.
    """

    def extend(old: Tensor) -> Tensor:
        new = torch.randn(layout.vocab_size - len(old), old.shape[1]) * old.std().cpu() * 0.5 + old.mean(0).cpu()
        return torch.cat([old, new.to(old)])

    _resize_vocabulary(t5, extend)


@torch.no_grad()
def _resize_vocabulary(t5: T5ForConditionalGeneration, extend: Callable[[Tensor], Tensor]) -> None:
    """Replace the embeddings and the head [V, D] by what `extend` makes of each.

    A tied head stays tied, a separate one separate.
    """
    separate_head = None if t5.lm_head.weight is t5.shared.weight else extend(t5.lm_head.weight)
    embeddings = extend(t5.shared.weight)
    t5.resize_token_embeddings(len(embeddings), mean_resizing=False)
    t5.shared.weight.copy_(embeddings)
    if separate_head is not None:
        untie(t5, separate_head)


class DocidModel:
    """A T5, the layout of its code tokens, and what its probabilities are normalised over.

    softmax_over: "trie" normalises over the codes that continue an existing docid, so that the probabilities of all
    documents sum to one (`genir.scoring`); "full" normalises over the whole vocabulary, as Hugging Face's `generate`
    does.

    Raises GenirError if the vocabulary of the T5 is smaller than the layout needs.
    """

    def __init__(self, t5: T5ForConditionalGeneration, layout: CodeLayout, softmax_over: SoftmaxOver = "trie") -> None:
        if layout.vocab_size > t5.config.vocab_size:
            raise GenirError(f"the model has {t5.config.vocab_size} tokens, but its docids need {layout.vocab_size}")
        self.t5 = t5
        self.layout = layout
        self.softmax_over: SoftmaxOver = softmax_over
        self._kv_caches = KVCachePool()

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.t5.device

    def with_more_codes(self, size: int) -> "DocidModel":
        """Return a copy of the model with a codebook of `size` codes, for atomic docids; this model is not changed.

        The new codes get the mean of the other codes' vectors: the model then has no opinion about their documents.
        """
        layout, used = self.layout._replace(sizes=(size,)), self.layout.vocab_size

        def extend(old: Tensor) -> Tensor:
            mean = old[self.layout.base : used].float().mean(0).to(old)
            return torch.cat([old[:used], mean.expand(layout.vocab_size - used, -1)])

        t5 = deepcopy(self.t5)
        _resize_vocabulary(t5, extend)
        return DocidModel(t5, layout, self.softmax_over)

    def encode(self, input_ids: Tensor, attention_mask: Tensor) -> Encoded:
        """Run the encoder on queries: input_ids, attention_mask [B, S].

        On a GPU and without gradients, the result may be padded to a larger S.
        """
        is_mixed = torch.is_autocast_enabled(input_ids.device.type)  # graphs have the precision they were captured in
        if not (torch.is_grad_enabled() or self.t5.training or is_mixed or input_ids.numel() > MAX_GRAPH_TOKENS):
            with self.borrow_kv_cache() as cache:
                if cache.graphs is not None:
                    ids, mask = _pad_source(input_ids), _pad_source(attention_mask)
                    return Encoded(cache.graphs("encode", partial(_run_encoder, self.t5), ids, mask).clone(), mask)
        output = self.t5.encoder(input_ids=input_ids, attention_mask=attention_mask)
        return Encoded(output.last_hidden_state, attention_mask)

    def precompute_cross_attention(self, encoded: Encoded, kv_cache: KVCache | None = None) -> CrossAttentionCache:
        """Compute the keys and values of the cross-attention, once for all docids of a query.

        kv_cache: the KV cache of the search that uses the result; the next search with that cache may overwrite it.
        """
        if kv_cache is None or kv_cache.graphs is None:
            return precompute_cross_attention(self.t5, *encoded)
        padded = Encoded(*(_pad_source(x) for x in encoded))
        if padded.mask.numel() > MAX_GRAPH_TOKENS:
            return precompute_cross_attention(self.t5, *padded)
        function = partial(precompute_cross_attention, self.t5)
        cross_cache: CrossAttentionCache = kv_cache.graphs("cross_attention", function, *padded, private_pool=True)
        return cross_cache

    def borrow_kv_cache(self) -> AbstractContextManager[KVCache]:
        """Borrow an empty KV cache for one search; it is returned at the end of the `with` block."""
        return self._kv_caches.borrow(self.t5)

    def decode(self, cross_cache: CrossAttentionCache, tokens: Tensor) -> Tensor:
        """Run the decoder on tokens [B, N, T] and return its states [B, N, T, D], scaled for the head."""
        return self._scale_for_head(decoder.decode(self.t5, cross_cache, tokens))

    def extend(
        self,
        cross_cache: CrossAttentionCache,
        layout: RaggedLayout,
        kv_cache: KVCache,
        tokens: Tensor,
        past_slots: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Run T more tokens of n partial docids; see `genir.t5.decoder.extend`.

        Returns the decoder states [n, T, D], scaled for the head, and the slots of the tokens in the KV cache [n, T].
        """
        states, slots = decoder.extend(self.t5, cross_cache, layout, kv_cache, tokens, past_slots)
        return self._scale_for_head(states), slots

    def _scale_for_head(self, states: Tensor) -> Tensor:
        return states * self.t5.config.d_model**-0.5 if self.t5.config.scale_decoder_outputs else states

    def child_logits(self, states: Tensor, level: int, parent: Tensor, codes: Tensor) -> Tensor:
        """Logits of codes [c] of a level, fp32: those that may follow the prefixes of decoder states [n, D].

        parent [c]: the index of the state of each code, ascending. The codes of a parent are ascending and distinct.
        """
        start = self.layout.base + self.layout.offsets[level]
        head = self.t5.lm_head.weight[start : start + self.layout.sizes[level]]
        if len(states) * len(head) <= _DENSE_RATIO * len(codes):
            logits = functional.linear(states, head).float()
            return logits.flatten() if logits.numel() == len(codes) else logits[parent, codes]
        parts = zip(torch.split(parent, _GATHER_CHUNK), torch.split(codes, _GATHER_CHUNK), strict=True)
        return torch.cat([(states[some].float() * head[wanted].float()).sum(-1) for some, wanted in parts])

    def level_logps(self, states: Tensor, level: int) -> Tensor:
        """Log-probabilities of the codes of a level over the whole vocabulary: states [..., D] -> [..., K], fp32."""
        start = self.layout.base + self.layout.offsets[level]
        codes = slice(start, start + self.layout.sizes[level])
        return functional.linear(states, self.t5.lm_head.weight).float().log_softmax(-1)[..., codes]

    def chosen_code_logps(self, states: Tensor, levels: Tensor, codes: Tensor) -> Tensor:
        """Log-probability of one code for each decoder state: states [n, D], levels [n], codes [n] -> [n], fp32.

        levels: the level of each code, on the CPU.
        """
        if self.layout.text:
            levels = torch.zeros_like(levels)  # all levels have the same codebook
        order = levels.argsort(stable=True).to(states.device)
        states, codes, logps = states[order], codes[order].unsqueeze(1), []
        for level, count in enumerate(levels.bincount().tolist()):
            if not count:
                continue
            for some, wanted in zip(*(torch.split(x[:count], _HEAD_CHUNK) for x in (states, codes)), strict=True):
                logps.append(self.level_logps(some, level).gather(1, wanted)[:, 0])
            states, codes = states[count:], codes[count:]
        return torch.cat(logps)[order.argsort()]

    def start_tokens(self, *shape: int) -> Tensor:
        """The first decoder input, [*shape, 1]."""
        return torch.full((*shape, 1), self.t5.config.decoder_start_token_id, dtype=torch.long, device=self.device)

    def codes_to_tokens(self, codes: Tensor) -> Tensor:
        """Vocabulary tokens of docids: codes [..., L] -> [..., L]; padding becomes the first token of its level."""
        offsets = torch.tensor(self.layout.offsets[: codes.shape[-1]], dtype=torch.long, device=codes.device)
        return codes.clamp(min=0) + self.layout.base + offsets

    def level_tokens(self, codes: Tensor, level: int) -> Tensor:
        """Vocabulary tokens of one level's codes, as decoder input: [n] -> [n, 1]."""
        return (codes + self.layout.base + self.layout.offsets[level]).unsqueeze(1)

    def decoder_inputs(self, codes: Tensor) -> Tensor:
        """The start token followed by the tokens of codes [..., L]: [..., L + 1]."""
        return torch.cat([self.start_tokens(*codes.shape[:-1]), self.codes_to_tokens(codes)], -1)

    def docid_states(self, encoded: Encoded, codes: Tensor) -> Tensor:
        """Sum of the decoder states that predict a docid's codes: codes [B, N, L] -> [B, N, D]."""
        states = self.decode(self.precompute_cross_attention(encoded), self.decoder_inputs(codes[..., :-1]))
        return states.masked_fill(codes.unsqueeze(-1) < 0, 0).sum(-2)

    def code_logps(self, encoded: Encoded, codes: Tensor) -> Tensor:
        """Log-probability of each code over the whole vocabulary: codes [B, N, L] -> [B, N, L], fp32, 0 at padding."""
        levels = codes.shape[-1]
        # All candidates of a query start with the same token: docids of one code need one decoder input per query.
        inputs = self.decoder_inputs(codes[:, : None if levels > 1 else 1, :-1])
        states = self.decode(self.precompute_cross_attention(encoded), inputs)
        wanted = codes.clamp(min=0).unsqueeze(-1)
        logps = [self.level_logps(states[:, :, m], m) for m in range(levels)]
        expanded = [logp.expand(-1, codes.shape[1], -1) for logp in logps]
        chosen = [logp.gather(-1, wanted[:, :, m])[..., 0] for m, logp in enumerate(expanded)]
        return torch.stack(chosen, -1).masked_fill(codes < 0, 0)

    def sequence_logps(self, encoded: Encoded, codes: Tensor) -> Tensor:
        """Log-probability of whole docids over the whole vocabulary: codes [B, N, L] -> [B, N], fp32."""
        return self.code_logps(encoded, codes).sum(-1)


def _pad_source(x: Tensor) -> Tensor:
    """Pad [B, S, ...] until S is a multiple of 16, so that few different shapes are captured as graphs."""
    return pad_to(x, 1, round_up(x.shape[1], 16))


def _run_encoder(t5: T5ForConditionalGeneration, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """Run the encoder with a float mask, for which Hugging Face skips the checks that synchronise with the GPU."""
    bias = mask_to_bias(attention_mask, t5.dtype)
    states: Tensor = t5.encoder(input_ids=input_ids, attention_mask=bias).last_hidden_state
    return states
