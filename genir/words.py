r"""Words of texts in any script: the segmentation that BM25, TF-IDF, keywords, pseudo queries and spans share.

A word is a run of letters, digits, underscores and combining marks. Marks belong to the word, since most scripts write
vowels as marks: words that differ only in a mark stay different. Han, kana, Thai, Lao, Khmer and Burmese are written
without spaces; a run of them is cut into characters (a letter with its marks), and the terms of the run are its pairs
of neighbouring characters, as in Lucene's CJKAnalyzer.

For texts in which no other script with marks occurs, the words are what the pattern \w+ finds.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any

import regex

MAX_WORD_LENGTH = 256
"""Longest part of a text that counts as one word in `split_units`; longer ones, such as encoded data, are cut."""
ACCENTS = r"(?<![\p{L}\p{M}&&[^\p{Latin}\p{Greek}\p{Cyrillic}]])\p{M}+"
"""Pattern of the marks that are accents: all but those on letters of other scripts than Latin, Greek and Cyrillic.

It has the same meaning in the libraries regex (version 1) and tokenizers.
"""

MIN_SENTENCE_WORDS = 5
"""Shorter parts of a text, such as headings, are no sentences."""
Span = tuple[int, int]
"""Start and end of a part of a text."""

# \p{Hiragana} and \p{Katakana} do not match the characters that are listed singly, which both kana scripts share.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}ー〆ｰﾞﾟ"
_LETTER = r"\p{L}\p{N}_"
_CHARACTER = rf"[[{_LETTER}]&&[{_UNSPACED}]]\p{{M}}*+"
_JOINER = r"(?<=\p{M})[\u200c\u200d]"  # joiners after a virama choose a form of the letters, but do not end a word
_WORD = rf"[[{_LETTER}]--[{_UNSPACED}]](?:[[{_LETTER}\p{{M}}]--[{_UNSPACED}]]|{_JOINER})*+"
_SPACE = r"\s\x1c-\x1f"  # what str.split() splits at

_CHARACTERS = regex.compile(_CHARACTER, regex.V1)
# The first alternative finds no other words, but most of them, in half the time.
_WORDS_AND_RUNS = regex.compile(rf"[A-Za-z0-9_]++(?![^\x00-\x7f])|{_WORD}|(?P<run>(?:{_CHARACTER})++)", regex.V1)
_UNITS = regex.compile(
    rf"[{_SPACE}]*+(?:{_CHARACTER}|[^{_SPACE}{_UNSPACED}]{{1,{MAX_WORD_LENGTH}}}+|[^{_SPACE}])", regex.V1
)
_ACCENT_RUNS = regex.compile(ACCENTS, regex.V1)
_SENTENCE_END = re.compile(r"(?<=[.!?\u0964\u0965\u061f\u06d4\u1362\u104b\u17d4])\s+|(?<=[\u3002\uff01\uff1f])\s*|\n+")
"""Between sentences: after full stops, exclamation and question marks, and at line ends.

A space must follow the marks of scripts with spaces, since "3.5" is one number, but not those of Chinese and Japanese.
"""
_PLAIN_WORDS = re.compile(r"\w+")
_PLAIN_TERMS = re.compile(r"\w\w+")
# All marks and unspaced scripts are in these ranges. Most texts have none of them and are split faster.
_NOT_PLAIN = re.compile("[\u0300-\u036f\u0483-\u0489\u0591-\u1fff\u20d0-\u20f0\u2cef-\U0010ffff]")


def find_terms(text: str, single: bool = False) -> list[str]:
    """Return the terms by which a text is indexed, in their order: words and pairs.

    Pairs are those of the characters of an unspaced run; a single character between other scripts is a term too. Case
    is kept, and marks are written as `compose_marks` does. single: whether words of one character are terms.
    """
    if is_plain(text):
        return (_PLAIN_WORDS if single else _PLAIN_TERMS).findall(text)
    text = compose_marks(text)
    return [text[start:end] for start, end in find_term_spans(text, min_length=1 if single else 2)]


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text; parts of fewer than MIN_SENTENCE_WORDS words are omitted."""
    return [part for part in _SENTENCE_END.split(text) if len(find_terms(part, single=True)) >= MIN_SENTENCE_WORDS]


def find_term_spans(text: str, min_length: int = 1) -> list[Span]:
    """Return where the terms of a text are, in their order. min_length: shortest word; it does not apply to runs."""
    if is_plain(text):
        return [found.span() for found in _PLAIN_WORDS.finditer(text) if len(found[0]) >= min_length]
    result: list[Span] = []
    for found in _WORDS_AND_RUNS.finditer(text):
        if found["run"] is not None:
            result += _pair(character.span() for character in _CHARACTERS.finditer(text, *found.span()))
        elif len(found[0]) >= min_length:
            result.append(found.span())
    return result


def _pair(characters: Iterable[Span]) -> Iterator[Span]:
    """Yield the span of each pair of neighbouring characters, or that of the only character."""
    spans = list(characters)
    if len(spans) == 1:
        yield spans[0]
    for first, second in pairwise(spans):
        yield first[0], second[1]


def join_spans(text: str, spans: Iterable[Span]) -> str:
    """Return the parts of a text at the spans, which are in order; parts that neither overlap nor touch get a space."""
    merged: list[Span] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return " ".join(text[start:end] for start, end in merged)


def split_units(text: str) -> list[str]:
    """Split a text at white space, and unspaced scripts into characters; a unit begins with the space before it.

    Joined without a separator, the units are the text again, apart from its white space at the ends. A word of more
    than MAX_WORD_LENGTH characters is cut into several units.
    """
    if is_plain(text):
        units = [f" {word}" for word in text.split()]
        if max(map(len, units), default=0) <= MAX_WORD_LENGTH:
            return units
        return [unit[i : i + MAX_WORD_LENGTH] for unit in units for i in range(0, len(unit), MAX_WORD_LENGTH)]
    return [found[0] for found in _UNITS.finditer(text)]


def compose_marks(text: str) -> str:
    """Compose letters with their marks (NFC), so that both encodings of a word are the same word.

    Accents for which there is no composed letter, such as the stress marks of Russian, are removed.
    """
    return text if is_plain(text) else _ACCENT_RUNS.sub("", unicodedata.normalize("NFC", text))


def strip_accents(text: str) -> str:
    """Remove the accents of Latin, Greek and Cyrillic letters, and replace compatibility characters (NFKC).

    This also merges the letters of Vietnamese, which is written in Latin. Marks of other scripts stay.
    """
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _ACCENT_RUNS.sub("", unicodedata.normalize("NFKD", text)))


def is_plain(text: str) -> bool:
    """Whether a text has neither combining marks nor a script that is written without spaces."""
    return text.isascii() or _NOT_PLAIN.search(text) is None


def split_special_tokens(tokenizer: Any, texts: Iterable[str]) -> list[str]:
    """Insert a space into every special token of a tokenizer that a text spells out: "</s>" becomes "< /s>".

    A query or document is only text: its words must not end, pad or mask the input. The option of the same name of
    Hugging Face's tokenizers does not help, since the special tokens of T5 are also pieces of its vocabulary.
    """
    if hasattr(tokenizer, "added_tokens_decoder"):
        names = {str(token) for token in tokenizer.added_tokens_decoder.values()} | {*tokenizer.all_special_tokens}
    else:  # of the library tokenizers, which sentence-transformers uses for static embeddings
        names = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    pattern = _any_of(tuple(sorted(names, key=len, reverse=True)))
    return [pattern.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text) for text in texts]


@lru_cache(maxsize=16)
def _any_of(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, names)) or "(?!)")
