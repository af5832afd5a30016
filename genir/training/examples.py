"""Training examples (text -> document), drawn at random but each a function of its number, and their tensors.

Because example i depends only on (seed, i), a resumed training sees exactly what an unbroken one would have seen.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from genir.config import LoopConfig, Mix, SpanConfig
from genir.docids.order import Array
from genir.records import Document
from genir.tokenizer import tokenize


class Example(NamedTuple):
    """A text and the row of the document that answers it."""

    text: str
    doc_index: int


class LabelledQuery(NamedTuple):
    """A query, the rows of its relevant documents, and the gain 2^grade - 1 of each."""

    text: str
    doc_indices: tuple[int, ...]
    gains: tuple[int, ...]
    query_id: str = ""


def labelled_queries(
    texts: Mapping[str, str], qrels: Mapping[str, Mapping[str, int]], doc_indices: Mapping[str, int]
) -> list[LabelledQuery]:
    """The queries that have a relevant document, with their judgments as rows of the docid table."""
    result = []
    for query_id, grades in qrels.items():
        relevant = {doc_indices[doc_id]: 2**grade - 1 for doc_id, grade in grades.items() if grade > 0}
        if relevant:
            result.append(LabelledQuery(texts[query_id], tuple(relevant), tuple(relevant.values()), query_id))
    return result


class ExampleStream(Dataset[Example]):
    """A mix of document spans, queries and pseudo queries of a given length.

    A query's document is drawn in proportion to its gain. Words are dropped at random, so that no single one is
    always there to lean on.
    """

    def __init__(
        self,
        length: int,
        seed: int,
        mix: Mapping[Mix, float],
        documents: Sequence[Document],
        queries: Sequence[LabelledQuery],
        pseudo_queries: Sequence[Example],
        settings: LoopConfig,
    ) -> None:
        self.length = length
        self.seed = seed
        self.kinds, self.weights = list(mix), list(mix.values())
        self.documents = documents
        self.queries = queries
        self.pseudo_queries = pseudo_queries
        self.settings = settings

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Example:
        example = self.labelled(index)
        rng = random.Random(f"{self.seed}/{index}/row")
        return Example(example.text, rng.choices(example.doc_indices, example.gains)[0])

    def labelled(self, index: int) -> LabelledQuery:
        """Example `index` with all its relevant documents."""
        rng = random.Random(f"{self.seed}/{index}")
        kind = rng.choices(self.kinds, self.weights)[0]
        if kind == "spans":
            doc_index = rng.randrange(len(self.documents))
            return LabelledQuery(random_span(self.documents[doc_index], self.settings.spans, rng), (doc_index,), (1,))
        if kind == "pseudo_queries":
            text, doc_index = rng.choice(self.pseudo_queries)
            query = LabelledQuery(text, (doc_index,), (1,))
        else:
            query = rng.choice(self.queries)
        return query._replace(text=drop_words(query.text, self.settings.query_word_dropout, rng))


def random_span(document: Document, settings: SpanConfig, rng: random.Random) -> str:
    """A few successive words of the text with some dropped, sometimes after the title; never empty unless the document
    is.
    """
    words = document.text.split()
    if not words:
        return drop_words(document.title, settings.word_dropout, rng)
    length = rng.randint(settings.min_words, max(settings.min_words, settings.max_words))
    start = rng.randrange(max(1, len(words) - length + 1))
    span = drop_words(" ".join(words[start : start + length]), settings.word_dropout, rng)
    return f"{document.title} {span}" if rng.random() < settings.title_share else span


def drop_words(text: str, share: float, rng: random.Random) -> str:
    """Drop each word with probability `share`; all of them never."""
    kept = [word for word in text.split() if rng.random() >= share]
    return " ".join(kept) if kept else text


class Collator:
    """Examples -> input_ids, attention_mask [B, S] and codes [B, 1, L], L as in the longest docid of the batch."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, codes: Array, max_tokens: int) -> None:
        self.tokenizer = tokenizer
        self.codes = codes
        self.max_tokens = max_tokens

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        batch = tokenize(self.tokenizer, [example.text for example in examples], self.max_tokens)
        return batch | {"codes": docid_batch(self.codes, [example.doc_index for example in examples]).unsqueeze(1)}


def docid_batch(codes: Array, doc_indices: Any) -> Tensor:
    """The docids of some rows [n]: [n, L] int64, without the levels that none of them reaches."""
    chosen = torch.from_numpy(codes[doc_indices]).long()
    return chosen[:, : int((chosen >= 0).any(0).sum())]
