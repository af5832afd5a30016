"""T5 with a docid vocabulary: making one, loading one, and the log-probability of a docid.

Shapes: B queries, N candidates, L levels, S source tokens, D model width, K codes of a level, V vocabulary.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedTokenizerBase, T5Config, T5ForConditionalGeneration

from genir.config import ModelConfig, Normalize
from genir.docids.table import CodeLayout
from genir.errors import GenirError

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"d_model": 384, "num_heads": 6, "d_ff": 256, "num_layers": 1, "num_decoder_layers": 1},
    "mini": {"d_model": 384, "num_heads": 6, "d_ff": 1024, "num_layers": 2, "num_decoder_layers": 2},
    "small": {"d_model": 512, "num_heads": 8, "d_ff": 1024, "num_layers": 6, "num_decoder_layers": 6},
    "base": {"d_model": 768, "num_heads": 12, "d_ff": 2048, "num_layers": 12, "num_decoder_layers": 12},
}


class Encoded(NamedTuple):
    """The encoder's view of a batch of queries: states [B, S, D], mask [B, S] with 1 at real tokens."""

    states: Tensor
    mask: Tensor


def new_model(settings: ModelConfig, tokenizer: PreTrainedTokenizerBase, sizes: tuple[int, ...]) -> "DocidModel":
    """A T5 whose vocabulary is the text pieces followed by the codes of all levels.

    From scratch it has the v1.1 shape (gated GELU, untied head), small embeddings (std 0.1: Adam moves rows of the
    usual std 1.0 too slowly for rare words) and the given size.
    """
    if settings.pretrained is not None:
        model = load_t5(settings.pretrained)
        layout = CodeLayout(model.config.vocab_size, sizes)
        _add_codes(model, layout)
    else:
        layout = CodeLayout(len(tokenizer), sizes)
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
    model.config.dropout_rate = settings.dropout
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = settings.dropout
    return DocidModel(model, layout, settings.normalize)


def load_t5(name: str, device: str | torch.device | None = None) -> T5ForConditionalGeneration:
    """`from_pretrained` onto a device (default: CUDA where there is one, else the CPU), in fp32 and evaluation mode.

    Raises GenirError when the name leads nowhere or is not a T5.
    """
    try:
        with quiet():
            model: nn.Module = transformers.AutoModelForSeq2SeqLM.from_pretrained(name, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise GenirError(f"{name}: cannot be loaded as a seq2seq model: {str(error).splitlines()[0]}") from None
    if not isinstance(model, T5ForConditionalGeneration):
        raise GenirError(f"{name}: is a {type(model).__name__}, but a T5 is needed")
    nn.Module.to(model, device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return model


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers: it warns that an untied head is untied, and its bars for each file clutter the terminal."""
    log: Any = transformers.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


def untie(model: T5ForConditionalGeneration, head: Tensor) -> None:
    """Give the model a head of its own [V, D], in memory and in what is saved: transformers 5 ties every fresh or
    resized T5, whatever its config says.
    """
    model.lm_head.weight = nn.Parameter(head)
    model.config.tie_word_embeddings = False
    model.all_tied_weights_keys.pop("lm_head.weight", None)


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

    def __init__(self, t5: T5ForConditionalGeneration, layout: CodeLayout, normalize: Normalize) -> None:
        if layout.vocabulary > t5.config.vocab_size:
            raise GenirError(f"the model has {t5.config.vocab_size} tokens, its docids need {layout.vocabulary}")
        self.t5 = t5
        self.layout = layout
        self.normalize = normalize

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.t5.device

    def encode(self, input_ids: Tensor, attention_mask: Tensor) -> Encoded:
        """Encode queries; input_ids, attention_mask [B, S]."""
        output = self.t5.encoder(input_ids=input_ids, attention_mask=attention_mask)
        return Encoded(output.last_hidden_state, attention_mask)

    def decode(self, encoded: Encoded, tokens: Tensor, cache: Any = None) -> Tensor:
        """Decoder states [B, T, D] after the tokens [B, T], ready for the head; `cache` is extended when given."""
        hidden: Tensor = self.t5.decoder(
            input_ids=tokens,
            encoder_hidden_states=encoded.states,
            encoder_attention_mask=encoded.mask,
            past_key_values=cache,
            use_cache=cache is not None,
        ).last_hidden_state
        return hidden * self.t5.config.d_model**-0.5 if self.t5.config.scale_decoder_outputs else hidden

    def level_logps(self, hidden: Tensor, level: int) -> Tensor:
        """log p of each code of a level [..., K] from decoder states [..., D]; fp32."""
        start = self.layout.base + self.layout.offsets[level]
        codes = slice(start, start + self.layout.sizes[level])
        head = self.t5.lm_head.weight
        if self.normalize == "level":
            return functional.linear(hidden, head[codes]).float().log_softmax(-1)
        return functional.linear(hidden, head).float().log_softmax(-1)[..., codes]

    def start_tokens(self, count: int) -> Tensor:
        """The decoder's first input [count, 1]."""
        start = self.t5.config.decoder_start_token_id
        return torch.full((count, 1), start, dtype=torch.long, device=self.device)

    def tokens(self, codes: Tensor) -> Tensor:
        """Model tokens of docids: codes [..., L] -> [..., L]."""
        return codes + self.layout.base + torch.tensor(self.layout.offsets, device=codes.device)

    def tokens_of_level(self, codes: Tensor, level: int) -> Tensor:
        """Model tokens of one level's codes, as decoder input: [n] -> [n, 1]."""
        return (codes + self.layout.base + self.layout.offsets[level]).unsqueeze(1)

    def sequence_logps(self, encoded: Encoded, codes: Tensor) -> Tensor:
        """Log-probability of whole docids: codes [B, N, L] -> [B, N], the sum over levels."""
        queries, candidates, levels = codes.shape
        rows = encoded if candidates == 1 else Encoded(*(x.repeat_interleave(candidates, 0) for x in encoded))
        flat = codes.reshape(-1, levels)
        inputs = torch.cat([self.start_tokens(len(flat)), self.tokens(flat)[:, :-1]], 1)
        hidden = self.decode(rows, inputs)
        total = hidden.new_zeros(len(flat), dtype=torch.float32)
        for level in range(levels):
            total = total + self.level_logps(hidden[:, level], level).gather(1, flat[:, level : level + 1])[:, 0]
        return total.view(queries, candidates)
