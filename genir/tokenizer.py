"""The text tokenizer, pretrained or trained on the corpus, and the tokenisation of a batch of texts."""

import json
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import regex
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from genir.config import Config
from genir.errors import GenirError
from genir.records import Document
from genir.words import ACCENTS, MAX_WORD_LENGTH

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
SPECIAL_TOKENS = [PAD, END, UNKNOWN]
"""The special tokens of a trained tokenizer, whose ids are 0, 1 and 2 as in T5."""
MAX_TOKEN_CHARACTERS = 64
"""`tokenize` reads at most this many characters of a text for each token; the tokens of T5 have 16 at most."""
_LONG_RUN = regex.compile(rf"(?:\w{{{MAX_WORD_LENGTH}}}\K\w+|[^\w\s]{{{MAX_WORD_LENGTH}}}\K[^\w\s]+)")


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerBase:
    """Train a unigram tokenizer, the kind that T5 has; it ignores case, and ends inputs with </s>.

    It ignores accents too, which are the marks on Latin, Greek and Cyrillic letters; marks of other scripts stay. This
    also merges the letters of Vietnamese, for which a pretrained tokenizer (model.tokenizer) is the better choice.

    A unigram model splits words at stems and endings, so that words with the same stem share a token: BM25 over these
    tokens finds more relevant documents than over byte-pair tokens or whole words. The tokenizer has at most
    `vocab_size` tokens, and fewer on a small corpus. The same texts always give the same tokenizer.

    Of a word of more than MAX_WORD_LENGTH characters, such as encoded data, only the first ones are used: the trainer
    needs minutes for a megabyte of them, and can crash. Raises GenirError if the texts contain no characters.
    """
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.Replace(Regex(ACCENTS), ""), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL_TOKENS,
        unk_token=UNKNOWN,
        initial_alphabet=list("0123456789"),  # text docids are numbered
        show_progress=False,
    )
    tokenizer.train_from_iterator(map(_shorten_long_runs, texts), trainer)
    tokenizer.model = _make_deterministic(tokenizer)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, 1)])
    make: Any = PreTrainedTokenizerFast  # untyped in transformers
    wrapped: PreTrainedTokenizerBase = make(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, unk_token=UNKNOWN, model_max_length=512
    )
    return wrapped


def _shorten_long_runs(text: str) -> str:
    """Remove what follows the first MAX_WORD_LENGTH characters of a run of word characters or of symbols."""
    if max(map(len, text.split()), default=0) <= MAX_WORD_LENGTH:
        return text
    return str(_LONG_RUN.sub("", text))


def _make_deterministic(tokenizer: Tokenizer) -> models.Unigram:
    """Round the scores and sort the tokens of a trained unigram model, so that training always gives the same model.

    The trainer sums scores in no fixed order. To characters that occur in no other token it gives scores from the
    lowest one upwards, in steps of 1e-4 and in no fixed order; here all of them get the lowest score.
    """
    trained = json.loads(tokenizer.to_str())["model"]["vocab"][len(SPECIAL_TOKENS) :]
    if any(score is None for _, score in trained):  # the trainer divides by the number of characters
        raise GenirError("the documents contain no words, so no tokenizer can be trained; set model.tokenizer")
    lowest = min(score for _, score in trained)
    above = lowest + 1e-4 * sum(len(token) == 1 for token, _ in trained)
    tokens = [(token, round(lowest if len(token) == 1 and score < above else score, 4)) for token, score in trained]
    ordered = [(token, 0.0) for token in SPECIAL_TOKENS] + sorted(tokens, key=lambda item: (-item[1], item[0]))
    return models.Unigram(ordered, unk_id=SPECIAL_TOKENS.index(UNKNOWN))


def choose_docid_tokenizer(config: Config, documents: Iterable[Document]) -> PreTrainedTokenizerBase:
    """Load the model's tokenizer, in whose tokens text docids are written, or train one if the config names none.

    Raises GenirError if the tokenizer cannot be loaded.
    """
    name = config.model.tokenizer or config.model.pretrained
    if name is not None:
        return load_tokenizer(name)
    return train_tokenizer((document.body for document in documents), config.model.vocab_size)


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Load a tokenizer by its Hugging Face name or folder. Raises GenirError if that fails."""
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # transformers and tokenizers raise exceptions of many unrelated types
        reason = str(error).splitlines()[0] if isinstance(error, (OSError, ValueError)) else repr(error)
        raise GenirError(f"{name}: cannot be loaded as a tokenizer: {reason}") from None
    return tokenizer


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Save a tokenizer as a Hugging Face folder, with the same bytes whether or not it has been used.

    A tokenizer of transformers stores the truncation and padding of its last call, which are removed here.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()
    tokenizer.save_pretrained(folder)


def tokenize(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int) -> dict[str, Any]:
    """Tokenise a batch of B texts, truncated to `max_tokens` tokens and padded on the right.

    Only the first max_tokens * MAX_TOKEN_CHARACTERS characters of a text are read, so that a long one costs no time.
    Special tokens that a text spells out, such as "</s>", are tokenised as ordinary text.
    Returns the tensors "input_ids" and "attention_mask" [B, S], where S is the length of the longest text in tokens.
    """
    limit = max_tokens * MAX_TOKEN_CHARACTERS
    plain = split_special_tokens(tokenizer, [text[:limit] for text in texts])
    batch = tokenizer(
        plain, padding=True, truncation=True, max_length=max_tokens, padding_side="right", return_tensors="pt"
    )
    return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}


def split_special_tokens(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> list[str]:
    """Insert a space into every special token that a text spells out: "</s>" becomes "< /s>".

    A query or document is only text: its words must not end, pad or mask the input. The option of the same name of
    Hugging Face's tokenizers does not help, since the special tokens of T5 are also pieces of its vocabulary.
    """
    names = {str(token) for token in tokenizer.added_tokens_decoder.values()} | {*tokenizer.all_special_tokens}
    pattern = _any_of(tuple(sorted(names, key=len, reverse=True)))
    return [pattern.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text) for text in texts]


@lru_cache(maxsize=16)
def _any_of(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, names)) or "(?!)")
