"""The text tokenizer, pretrained or trained on the corpus, and the tokenisation of a batch of texts."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import regex
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from genir.config import Config
from genir.errors import GenirError
from genir.records import Document
from genir.words import ACCENTS, MAX_WORD_LENGTH, split_special_tokens

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
SPECIAL_TOKENS = [PAD, END, UNKNOWN]
"""The special tokens of a trained tokenizer, whose ids are 0, 1 and 2 as in T5."""
MAX_TRAINING_CHARACTERS = 50_000_000
"""Characters of documents on which a tokenizer is trained at most; more would take hours, but change few tokens."""
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


def sample_texts(documents: Sequence[Document]) -> Iterator[str]:
    """Yield the texts of documents, on which a tokenizer is trained: MAX_TRAINING_CHARACTERS of them at most.

    If there are more, the documents are chosen at random, always the same ones. They are in their own order.
    """
    chosen: list[int] = []
    characters = 0
    for number in np.random.default_rng(0).permutation(len(documents)).tolist():
        characters += len(documents[number].body)
        if chosen and characters > MAX_TRAINING_CHARACTERS:
            break
        chosen.append(number)
    return (documents[number].body for number in sorted(chosen))


def choose_docid_tokenizer(config: Config, documents: Sequence[Document]) -> PreTrainedTokenizerBase:
    """Load the model's tokenizer, in whose tokens text docids are written, or train one if the config names none.

    Raises GenirError if the tokenizer cannot be loaded.
    """
    name = config.model.tokenizer or config.model.pretrained
    if name is not None:
        return load_tokenizer(name)
    return train_tokenizer(sample_texts(documents), config.model.vocab_size)


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Load a tokenizer by its Hugging Face name or folder. Raises GenirError if that fails."""
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # transformers and tokenizers raise exceptions of many unrelated types
        reason = str(error).splitlines()[0] if isinstance(error, (OSError, ValueError)) else repr(error)
        raise GenirError(f"{name}: cannot be loaded as a tokenizer: {reason}") from None
    _reset(tokenizer)
    return tokenizer


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Save a tokenizer as a Hugging Face folder, with the same bytes whether or not it has been used.

    A tokenizer of transformers stores the truncation and padding of its last call, which are removed here.
    """
    _reset(tokenizer)
    tokenizer.save_pretrained(folder)


def _reset(tokenizer: PreTrainedTokenizerBase) -> None:
    """Remove the truncation and padding that a tokenizer was saved with or last used with, if there are any."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None and backend.truncation is not None:
        backend.no_truncation()
    if backend is not None and backend.padding is not None:
        backend.no_padding()


def tokenize(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int) -> dict[str, Any]:
    """Tokenise a batch of B texts, truncated to `max_tokens` tokens and padded on the right.

    Only the first max_tokens * MAX_TOKEN_CHARACTERS characters of a text are read, so that a long one costs no time.
    Special tokens that a text spells out, such as "</s>", are tokenised as ordinary text. One that the tokenizer makes
    of other characters, since it normalises them, becomes the unknown token.
    Returns the tensors "input_ids" and "attention_mask" [B, S], where S is the length of the longest text in tokens.
    """
    limit = max_tokens * MAX_TOKEN_CHARACTERS
    short = [text if len(text) <= limit else " ".join(text.split())[:limit] for text in texts]
    plain = split_special_tokens(tokenizer, short)
    # The tokenizer would keep truncation and padding as settings, and threads that share it would disturb each other.
    encoded = _encode(tokenizer, plain)
    lengths = [len(tokens) for tokens in encoded[0]]
    ids, added = (np.fromiter(chain.from_iterable(rows), np.int64, sum(lengths)) for rows in encoded)
    ids[np.isin(ids, tokenizer.all_special_ids) & (added == 0)] = tokenizer.unk_token_id
    rows = []
    for tokens, is_added in zip(*(np.split(x, np.cumsum(lengths)[:-1]) for x in (ids, added)), strict=True):
        ending = is_added[::-1].argmin() if len(tokens) > max_tokens else 0  # special tokens at the end, such as </s>
        rows.append(np.concatenate([tokens[: max_tokens - ending], tokens[len(tokens) - ending :]]))
    width = max(map(len, rows))
    mask = np.arange(width) < np.array([len(row) for row in rows])[:, None]
    padded = np.full(mask.shape, tokenizer.pad_token_id)
    padded[mask] = np.concatenate(rows)
    return {"input_ids": torch.from_numpy(padded), "attention_mask": torch.from_numpy(mask.astype(np.int64))}


def _encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> tuple[list[list[int]], list[list[int]]]:
    """Return the tokens of each text, and for each token 1 if the tokenizer added it, else 0."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:  # written in Python, such as that of ByT5
        encoded = tokenizer(list(texts), return_special_tokens_mask=True, return_attention_mask=False, verbose=False)
        return encoded["input_ids"], encoded["special_tokens_mask"]
    _reset(tokenizer)
    # Without the positions of the tokens in the texts, a trained tokenizer takes 0.6 of the time.
    encodings = backend.encode_batch_fast(texts)
    return [encoding.ids for encoding in encodings], [encoding.special_tokens_mask for encoding in encodings]
