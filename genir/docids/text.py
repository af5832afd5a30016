"""Text docids: a title, url or keywords as tokens of the model's own vocabulary, ended by its end-of-sequence token.

The end-of-sequence token occurs nowhere else in a docid, so no docid is a prefix of another.

Shapes: N documents, L levels, that is tokens of the longest docid.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import regex
from numpy.typing import NDArray

from genir.config import TextConfig
from genir.docids.order import Array, docid_numbers
from genir.docids.table import BuilderInput, Codes
from genir.docids.tfidf import HashedTfidf
from genir.errors import GenirError
from genir.records import Document
from genir.words import split_units

GENERIC_SEGMENTS = {"index", "page", "item", "view", "default", "home"}
FIRST_WORDS = 16
"""Number of words of the text that become the docid of a document with neither title nor url.

In scripts without spaces, each character counts as a word.
"""
NUMBER_TOKENS = 8
"""Maximum number of tokens of a collision number."""


def title_text(document: Document) -> str:
    """Return the title in lower case."""
    return " ".join(document.title.lower().split())


def title_url_text(document: Document) -> str:
    """Return the text of DDRO's TU docid (arXiv 2504.05181, appendix), in lower case.

    It is the reversed path and the domain of the url if more than half of the path's segments are informative,
    otherwise the title and, if there is a url, the domain. A segment is informative if it is not a number, not generic
    (index, page, item, view, default, home) and longer than two characters.
    """
    domain, segments = split_url(document.url)
    informative = [part for part in segments if not part.isdigit() and part not in GENERIC_SEGMENTS and len(part) > 2]
    if segments and len(informative) > len(segments) / 2:
        return " ".join([*reversed(segments), domain])
    return f"{title_text(document)} {domain}".strip()


def ultron_text(document: Document) -> str:
    """Return the text of Ultron's url docid (arXiv 2208.09257, section 3.1), in lower case.

    It is the url's segments from last to first, then the domain, because the end of a url is the most specific part;
    without a path, it is the title and the domain.
    """
    domain, segments = split_url(document.url)
    return " ".join([*reversed(segments), domain]) if segments else f"{title_text(document)} {domain}".strip()


def split_url(url: str) -> tuple[str, list[str]]:
    """Split a url into its domain and its path segments, in lower case.

    The scheme, www., file extensions, and punctuation between words are removed.
    """
    parts = urlsplit(url if "://" in url or not url else f"//{url}")
    path = re.sub(r"\.(html?|php|aspx?|jsp|cfm)$", "", unquote(parts.path).lower())
    segments = [" ".join(regex.split(r"[^\p{L}\p{N}\p{M}]+", part)).strip() for part in path.split("/")]
    return (parts.hostname or "").removeprefix("www."), [part for part in segments if part]


DOCID_TEXTS: dict[str, Callable[[Document], str]] = {
    "title": title_text,
    "title_url": title_url_text,
    "ultron": ultron_text,
}
"""The setting docids.source -> a function that returns the text of a document's docid.

Keywords are not among them, because they also need word statistics of the collection.
"""


def build_text(inputs: BuilderInput, settings: TextConfig, seed: int) -> Codes:
    """Make a text docid for each document: token ids [N, L], ended by the end-of-sequence token, padded with -1.

    The codebook of every level is the whole vocabulary of the tokenizer. With docids.source=keywords, the tensor "idf"
    [HASH_SIZE] is stored in the result, with which the keywords of new documents are chosen.
    """
    codebooks = {"idf": HashedTfidf.fit(inputs.documents).idf} if settings.source == "keywords" else {}
    codes = encode_text(inputs, settings, codebooks)
    return Codes(codes, (len(inputs.tokenizer),) * codes.shape[1], codebooks)


def encode_text(inputs: BuilderInput, settings: TextConfig, codebooks: Mapping[str, NDArray[Any]]) -> NDArray[np.int32]:
    """Return the token ids [n, L] of the docids of n documents, before collisions are resolved.

    If the source gives no tokens for a document, its first words become its docid, or its doc_id if it has no text.
    """
    documents = inputs.documents
    if settings.source == "keywords":
        texts = extract_keywords(documents, settings.keywords, HashedTfidf(codebooks["idf"]))
    else:
        texts = [DOCID_TEXTS[settings.source](document) for document in documents]
    ids = token_ids(inputs.tokenizer, texts, settings.max_tokens)
    empty = [i for i, tokens in enumerate(ids) if not tokens]
    first_words = ["".join(split_units(documents[i].text)[:FIRST_WORDS]).strip() for i in empty]
    for i, tokens in zip(empty, token_ids(inputs.tokenizer, first_words, settings.max_tokens), strict=True):
        ids[i] = tokens or token_ids(inputs.tokenizer, [documents[i].id], settings.max_tokens)[0]
    return pad_docids([[*tokens, inputs.tokenizer.eos_token_id] for tokens in ids])


def token_ids(tokenizer: Any, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Return the first `max_tokens` tokens of each text without special tokens, even those that the text spells out."""
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    if not texts:
        return []
    encoded = tokenizer(list(texts), add_special_tokens=False, verbose=False)
    return [[token for token in ids[:max_tokens] if token not in special] for ids in encoded["input_ids"]]


def pad_docids(docids: Sequence[Sequence[int]]) -> NDArray[np.int32]:
    """Return docids of different lengths as one array [n, L], padded with -1."""
    length = np.array([len(docid) for docid in docids])
    codes = np.full((len(docids), int(length.max(initial=1))), -1, np.int32)
    codes[np.arange(codes.shape[1]) < length[:, None]] = np.concatenate([np.asarray(x, np.int32) for x in docids])
    return codes


def extract_keywords(documents: Sequence[Document], count: int, tfidf: HashedTfidf) -> list[str]:
    """Return the `count` words of each document with the highest TF-IDF, highest first, joined by spaces.

    Words with equal TF-IDF are in alphabetical order.
    """
    result = []
    for document in documents:
        words = sorted(set(tfidf.split_words(document.body)))
        score = tfidf.tfidf_of(words, document.body)
        best = sorted(range(len(words)), key=lambda i: (-score[i], words[i]))[:count]
        result.append(" ".join(words[i] for i in best))
    return result


def extend_text(codes: Array, tokenizer: Any, taken: Array | None = None) -> NDArray[np.int32]:
    """Number the documents that share a text docid, in their order, by the tokens of " 2", " 3", ... at its end.

    The number comes before the end-of-sequence token. The first document of a group keeps its docid, and a number that
    would give a docid in use is skipped. codes: [N, L], padded with -1. taken: [M, L'], docids that are in use. Returns
    [N, L''], where L'' is the length of the longest docid. Raises GenirError if the tokenizer cannot encode numbers.
    """
    docids = [padded[padded >= 0].tolist() for padded in codes]
    old = set() if taken is None else {tuple(padded[padded >= 0].tolist()) for padded in taken}
    group = docid_numbers(codes)
    is_first = np.zeros(len(docids), bool)
    is_first[np.unique(group, return_index=True)[1]] = True
    occupied = old | {tuple(docid) for docid, first in zip(docids, is_first, strict=True) if first}
    last_number: dict[int, int] = {}
    for i in np.flatnonzero(~is_first | [tuple(docid) in old for docid in docids]).tolist():
        number = last_number.get(int(group[i]), 1)
        docid = tuple(docids[i])
        while docid in occupied:
            number += 1
            tokens = token_ids(tokenizer, [f" {number}"], NUMBER_TOKENS)[0]
            if number > len(occupied) + 2:
                raise GenirError(
                    "docids.collisions=extend: the tokenizer has no tokens for numbers; use docids.collisions=share"
                )
            docid = (*docids[i][:-1], *tokens, docids[i][-1])
        last_number[int(group[i])] = number
        occupied.add(docid)
        docids[i] = list(docid)
    return pad_docids(docids)
