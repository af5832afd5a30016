"""Synthetic BM25 indexes and queries with the statistics of MS MARCO passages, for the benchmark of the experts.

Shapes: N documents, V terms, P postings.
"""

import numpy as np
from numpy.typing import NDArray

from genir.config import BaselineConfig
from genir.scoring.lexical import LexicalIndex
from genir.scoring.postings import Postings

TERMS_PER_DOCUMENT = 35
"""Mean number of distinct terms of a passage, without stop words."""
MAX_SHARE = 0.2
"""Share of the documents that contain the most frequent term which is no stop word."""
QUERY_TERMS = 4
COMMON_TERMS = 30
"""Number of the most frequent terms that queries do not contain."""


def make_document_frequencies(documents: int, terms: int) -> NDArray[np.int64]:
    """Return in how many documents each term occurs [V], by Zipf's law: proportional to 1 / rank, at most MAX_SHARE."""
    wanted, limit = TERMS_PER_DOCUMENT * documents, MAX_SHARE * documents
    inverse_ranks = 1 / np.arange(1, terms + 1)
    low, high = 0.0, float(wanted)
    for _ in range(60):  # the factor at which the frequencies have the wanted sum
        middle = (low + high) / 2
        if np.minimum(middle * inverse_ranks, limit).clip(1).sum() < wanted:
            low = middle
        else:
            high = middle
    return np.minimum(low * inverse_ranks, limit).clip(1).round().astype(np.int64)


def make_index(documents: int, terms: int, seed: int = 0) -> LexicalIndex:
    """Make a BM25 index of passages whose terms are t0000000, t0000001, ... from the most frequent to the rarest."""
    rng = np.random.default_rng(seed)
    counts = make_document_frequencies(documents, terms)
    chosen = [_choose_documents(documents, count, rng) for count in counts.tolist()]
    starts = np.append(0, np.cumsum([len(part) for part in chosen]))
    frequencies = rng.geometric(0.7, starts[-1]).clip(max=255).astype(np.uint8)
    numbers = np.concatenate(chosen)
    lengths = np.bincount(numbers, frequencies, documents).clip(max=255).astype(np.uint8)
    names = bytearray("".join(f"t{number:07d}" for number in range(terms)), "ascii")
    postings = Postings(
        text=np.frombuffer(names, np.uint8),
        text_starts=np.arange(0, 8 * terms + 1, 8),
        starts=starts,
        documents=numbers,
        frequencies=frequencies,
        lengths=lengths,
        posting_lengths=lengths[numbers],
    )
    return LexicalIndex(postings, BaselineConfig())


def _choose_documents(documents: int, count: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Choose about `count` different documents at random, in ascending order."""
    if count <= documents // 50:
        return np.unique(rng.integers(0, documents, count, dtype=np.int32))
    numbers = np.cumsum(rng.geometric(count / documents, int(count * 1.1) + 50)) - 1
    return numbers[numbers < documents].astype(np.int32)


def make_queries(documents: int, terms: int, queries: int, seed: int = 1) -> list[str]:
    """Make queries of QUERY_TERMS terms, each as probable as its number of documents, but not the COMMON_TERMS."""
    shares = make_document_frequencies(documents, terms).astype(float)
    shares[:COMMON_TERMS] = 0
    drawn = np.random.default_rng(seed).choice(terms, (queries, QUERY_TERMS), p=shares / shares.sum())
    return [" ".join(f"t{number:07d}" for number in numbers) for numbers in drawn.tolist()]
