"""Text docids: a title, url or keywords, written with the model's own tokens and ended by its end-of-sequence token.

The end token stands nowhere else, so no docid is a prefix of another.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import HashingVectorizer

from genir.config import TextConfig
from genir.docids.order import Array, docid_numbers, lengths
from genir.docids.table import Codes, Source
from genir.docids.tfidf import hashing_vectorizer, idf
from genir.errors import GenirError
from genir.records import Document

GENERIC = {"index", "page", "item", "view", "default", "home"}
FIRST_WORDS = 16  # of the text, where a document has neither title nor url


def title(document: Document) -> str:
    """The title in lower case."""
    return " ".join(document.title.lower().split())


def title_url(document: Document) -> str:
    """DDRO's TU docid (arXiv 2504.05181, appendix): the reversed path and the domain of the url when more than half of
    the path's segments say something, else title and domain, else the title; in lower case.

    A segment says something when it is not a number, not generic (index, page, item, view, default, home) and longer
    than two characters.
    """
    domain, segments = url_parts(document.url)
    telling = [part for part in segments if not part.isdigit() and part not in GENERIC and len(part) > 2]
    if segments and len(telling) > len(segments) / 2:
        return " ".join([*reversed(segments), domain])
    return f"{title(document)} {domain}".strip()


def ultron_title_url(document: Document) -> str:
    """Ultron's url docid (arXiv 2208.09257, section 3.1): the url's segments from last to first, then the domain, as
    the end of a url says most; where the url has no path, title and domain.
    """
    domain, segments = url_parts(document.url)
    return " ".join([*reversed(segments), domain]) if segments else f"{title(document)} {domain}".strip()


def url_parts(url: str) -> tuple[str, list[str]]:
    """Domain and path segments of a url in lower case: without scheme, www, file endings and signs between words."""
    parts = urlsplit(url if "://" in url or not url else f"//{url}")
    path = re.sub(r"\.(html?|php|aspx?|jsp|cfm)$", "", unquote(parts.path).lower())
    segments = [" ".join(re.split(r"[\W_]+", part)).strip() for part in path.split("/")]
    return (parts.hostname or "").removeprefix("www."), [part for part in segments if part]


VARIANTS: dict[str, Callable[[Document], str]] = {
    "title": title,
    "title_url": title_url,
    "ultron": ultron_title_url,
}


def build_text(source: Source, settings: TextConfig, seed: int) -> Codes:
    """Docids of token ids [N, L], the end token last, then -1; every level has the tokenizer's whole vocabulary.

    codebooks["idf"]: for keywords, what a new document needs.
    """
    codebooks = {"idf": idf(source.documents)} if settings.source == "keywords" else {}
    codes = encode_text(source, settings, codebooks)
    return Codes(codes, (len(source.tokenizer),) * codes.shape[1], codebooks)


def encode_text(source: Source, settings: TextConfig, codebooks: Mapping[str, NDArray[Any]]) -> NDArray[np.int32]:
    """Token ids [n, L] of documents; one without a title or url is named by its first words, else by its doc_id."""
    documents = source.documents
    if settings.source == "keywords":
        texts = keywords(documents, settings.keywords, codebooks["idf"])
    else:
        texts = [VARIANTS[settings.source](document) for document in documents]
    ids = token_ids(source.tokenizer, texts, settings.max_tokens)
    empty = [row for row, found in enumerate(ids) if not found]
    first_words = [" ".join(documents[row].text.split()[:FIRST_WORDS]) for row in empty]
    for row, found in zip(empty, token_ids(source.tokenizer, first_words, settings.max_tokens), strict=True):
        ids[row] = found or token_ids(source.tokenizer, [documents[row].id], settings.max_tokens)[0]
    return padded([[*found, source.tokenizer.eos_token_id] for found in ids])


def token_ids(tokenizer: Any, texts: Sequence[str], most: int) -> list[list[int]]:
    """At most `most` tokens of each text; special tokens that a text spells out are left out, as all others are."""
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    if not texts:
        return []
    found = tokenizer(list(texts), add_special_tokens=False, truncation=True, max_length=most, verbose=False)
    return [[token for token in ids if token not in special] for ids in found["input_ids"]]


def padded(ids: Sequence[Sequence[int]]) -> NDArray[np.int32]:
    """Lists of different lengths as one array [n, L], -1 after their ends."""
    count = np.array([len(row) for row in ids])
    codes = np.full((len(ids), int(count.max(initial=1))), -1, np.int32)
    codes[np.arange(codes.shape[1]) < count[:, None]] = np.concatenate([np.asarray(row, np.int32) for row in ids])
    return codes


def keywords(documents: Sequence[Document], count: int, weights: NDArray[np.float32]) -> list[str]:
    """The `count` words of highest TF-IDF of each document, best first, equal ones by the alphabet."""
    hashing = hashing_vectorizer()
    words = hashing.build_analyzer()
    result = []
    for document in documents:
        found = sorted(set(words(document.body)))
        score = _tfidf(hashing, document.body, found, weights)
        best = sorted(range(len(found)), key=lambda i: (-score[i], found[i]))[:count]
        result.append(" ".join(found[i] for i in best))
    return result


def _tfidf(hashing: HashingVectorizer, body: str, words: Sequence[str], weights: NDArray[np.float32]) -> Any:
    if not words:
        return []
    column = hashing.transform(words).indices  # each is a text of one word
    return np.asarray(hashing.transform([body])[:, column].todense()).ravel() * weights[column]


def extend_text(codes: Array, tokenizer: Any, taken: Array | None = None) -> NDArray[np.int32]:
    """Tell documents of one docid apart by a number before the end token (" 2", " 3", ...), in their order; the first
    keeps the docid. A number whose docid is there already is passed over. taken [M, L']: docids that are not free.
    """
    rows = [row[row >= 0].tolist() for row in codes]
    old = set() if taken is None else {tuple(row[row >= 0].tolist()) for row in taken}
    group = docid_numbers(codes)
    first = np.zeros(len(rows), bool)
    first[np.unique(group, return_index=True)[1]] = True
    occupied = old | {tuple(row) for row, keeps in zip(rows, first, strict=True) if keeps}
    numbered: dict[int, int] = {}
    for place in np.flatnonzero(~first | [tuple(row) in old for row in rows]).tolist():
        number = numbered.get(int(group[place]), 1)
        docid = tuple(rows[place])
        while docid in occupied:
            number += 1
            tokens = token_ids(tokenizer, [f" {number}"], 8)[0]
            if number > len(occupied) + 2:
                raise GenirError("docids.collisions extend: the tokenizer has no pieces for numbers; use share")
            docid = (*rows[place][:-1], *tokens, rows[place][-1])
        numbered[int(group[place])] = number
        occupied.add(docid)
        rows[place] = list(docid)
    return padded(rows)


def same_length(codes: NDArray[np.int32], levels: int) -> NDArray[np.int32]:
    """Docids [n, L] as [n, levels]; one that is longer raises GenirError."""
    if len(codes) and lengths(codes).max() > levels:
        raise GenirError(f"a docid of {lengths(codes).max()} tokens: the longest of this table has {levels}")
    wide = np.full((len(codes), max(levels, codes.shape[1])), -1, np.int32)
    wide[:, : codes.shape[1]] = codes
    return wide[:, :levels]
