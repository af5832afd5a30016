"""Random training examples, each a text and its target document, and their conversion to tensors.

Because example i depends only on the seed and on i, a resumed training run sees exactly the examples that an
uninterrupted one would have seen.

Shapes: B examples of a batch, S tokens, L levels.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from genir.collection.prepared import PreparedCollection
from genir.config import LoopConfig, Mix, SpanConfig
from genir.decoding.index import DocumentIndex
from genir.docids.order import Array
from genir.docids.table import DocidTable
from genir.errors import GenirError, error_at
from genir.evaluation.trec import qrels
from genir.files import numbered_lines, parse_json_line
from genir.records import Document
from genir.retriever import Retriever
from genir.tokenizer import tokenize
from genir.words import split_units


class Example(NamedTuple):
    """A text, and the index of the document that the model should find for it.

    with_experts: whether the experts' scores of the text take part in the probability of the document. seen_only:
    whether this is its probability among the documents with train queries instead of among all.
    """

    text: str
    doc_index: int
    with_experts: bool = True
    seen_only: bool = False


class LabelledQuery(NamedTuple):
    """A query, the indices of its relevant documents, and the gain 2^grade - 1 of each of them.

    query_id: the id of a judged query; empty for document spans and pseudo queries.
    """

    text: str
    doc_indices: tuple[int, ...]
    gains: tuple[int, ...]
    query_id: str = ""


class ExampleSources(NamedTuple):
    """The data that training examples are drawn from: documents for random spans, train queries, and pseudo queries.

    queries: the pseudo queries in a collection without train queries.
    """

    documents: Sequence[Document]
    queries: Sequence[LabelledQuery]
    pseudo_queries: Sequence[Example]


def read_sources(run: Path, data: PreparedCollection, table: DocidTable, mix: Mapping[Mix, float]) -> ExampleSources:
    """Read the documents and train queries of a run and, if the mix names them, its pseudo queries.

    If the mix names train queries and the collection has none, pseudo queries take their place.

    Raises GenirError if pseudo queries are missing or belong to a document without a docid.
    """
    texts = {query.id: query.text for query in data.queries("train")}
    queries = label_queries(texts, qrels(data.judgments("train")), table.doc_indices)
    is_replaced = "queries" in mix and not data.has_train_queries
    pseudo_queries = _read_pseudo_queries(run, table) if is_replaced or "pseudo_queries" in mix else []
    if is_replaced:
        queries = [LabelledQuery(example.text, (example.doc_index,), (1,)) for example in pseudo_queries]
    return ExampleSources(data.documents, queries, pseudo_queries)


def _read_pseudo_queries(run: Path, table: DocidTable) -> list[Example]:
    path = run / "pseudo_queries" / "queries.jsonl"
    if not path.exists():
        raise GenirError(f"{path}: missing, but training needs pseudo queries; run genir queries CONFIG first")
    examples = []
    for line, text in numbered_lines(path):
        entry = parse_json_line(text, path, line)
        match entry:
            case {"doc_id": str(doc_id), "text": str(query)} if doc_id in table.doc_indices:
                examples.append(Example(query, table.doc_indices[doc_id]))
            case _:
                raise error_at(path, line, "not the query of a document with a docid; run the queries stage again")
    return examples


def label_queries(
    texts: Mapping[str, str], judged: Mapping[str, Mapping[str, int]], doc_indices: Mapping[str, int]
) -> list[LabelledQuery]:
    """Return the queries that have a relevant document (grade above 0), with the indices and gains of these documents.

    texts: query id -> text. judged: query id -> doc_id -> grade. doc_indices: doc_id -> index in the docid table.
    """
    result = []
    for query_id, grades in judged.items():
        relevant = {doc_indices[doc_id]: 2**grade - 1 for doc_id, grade in grades.items() if grade > 0}
        if relevant:
            result.append(LabelledQuery(texts[query_id], tuple(relevant), tuple(relevant.values()), query_id))
    return result


class ExampleStream(Dataset[Example]):
    """A dataset of `length` examples drawn from a mix of document spans, train queries and pseudo queries.

    experts_for: the kinds of examples that have experts; the others are trained without.
    mix: kind of example -> relative frequency. Of several relevant documents of a query, one is drawn with a
    probability proportional to its gain. Words of the texts are dropped at random, so that the model does not come to
    depend on any single word.
    """

    def __init__(
        self,
        length: int,
        seed: int,
        mix: Mapping[Mix, float],
        sources: ExampleSources,
        settings: LoopConfig,
        experts_for: Collection[Mix] = (),
    ) -> None:
        self.length = length
        self.seed = seed
        self.kinds, self.weights = list(mix), list(mix.values())
        self.sources = sources
        self.settings = settings
        self.experts_for = experts_for

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Example:
        kind, example = self._draw(index)
        rng = random.Random(f"{self.seed}/{index}/row")
        doc_index = rng.choices(example.doc_indices, example.gains)[0]
        with_experts = kind in self.experts_for
        return Example(example.text, doc_index, with_experts, with_experts and kind == "queries")

    def draw_labelled(self, index: int) -> LabelledQuery:
        """Draw example `index` with all of its relevant documents instead of one."""
        return self._draw(index)[1]

    def _draw(self, index: int) -> tuple[Mix, LabelledQuery]:
        """Draw the kind of example `index`, and the example with all of its relevant documents."""
        rng = random.Random(f"{self.seed}/{index}")
        kind = rng.choices(self.kinds, self.weights)[0]
        if kind == "spans":
            doc_index = rng.randrange(len(self.sources.documents))
            span = random_span(self.sources.documents[doc_index], self.settings.spans, rng)
            return kind, LabelledQuery(span, (doc_index,), (1,))
        if kind == "pseudo_queries":
            pseudo_query = rng.choice(self.sources.pseudo_queries)
            query = LabelledQuery(pseudo_query.text, (pseudo_query.doc_index,), (1,))
        else:
            query = rng.choice(self.sources.queries)
        return kind, query._replace(text=drop_words(query.text, self.settings.query_word_dropout, rng))


def random_span(document: Document, settings: SpanConfig, rng: random.Random) -> str:
    """Draw consecutive words of a document's text, of which some are dropped; the title may precede them.

    Words are the units of `genir.words.split_units`: each character of a script without spaces counts as a word. The
    span of a document without text is its title. The span is empty only if the document is.
    """
    words = split_units(document.text)
    if not words:
        return drop_words(document.title, settings.word_dropout, rng)
    length = rng.randint(settings.min_words, max(settings.min_words, settings.max_words))
    start = rng.randrange(max(1, len(words) - length + 1))
    chosen = words[start : start + length]
    span = _drop_units(chosen, settings.word_dropout, rng) or "".join(chosen).strip()
    return f"{document.title} {span}" if rng.random() < settings.title_share else span


def drop_words(text: str, probability: float, rng: random.Random) -> str:
    """Drop each word independently with the given probability; if none would be left, return the text unchanged.

    The spaces around a dropped word stay, so that its neighbours are not joined to one word.
    """
    return _drop_units(split_units(text), probability, rng) or text


def _drop_units(units: Sequence[str], probability: float, rng: random.Random) -> str:
    """Drop each of some units of `split_units` and join the others."""
    draw = rng.random
    kept = [unit if draw() >= probability else unit[: len(unit) - len(unit.lstrip())] for unit in units]
    return " ".join("".join(kept).split())


class Collator:
    """Turns examples into input_ids and attention_mask [B, S], leaves [B, 1], and the scores of the experts.

    The scores are expert_keys and expert_scores [m], as in `genir.scoring.experts.ExpertScores`; examples without
    experts have none. Texts are truncated to `max_tokens` tokens.
    """

    def __init__(self, retriever: Retriever, max_tokens: int) -> None:
        self.tokenizer = retriever.tokenizer
        self.index = retriever.index
        self.max_tokens = max_tokens

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        batch = tokenize(self.tokenizer, [example.text for example in examples], self.max_tokens)
        leaves = self.index.trie.find_leaves([example.doc_index for example in examples])
        scored = [example.text if example.with_experts else "" for example in examples]
        seen_only = torch.tensor([example.seen_only for example in examples])
        return batch | {"leaves": leaves.unsqueeze(1), "seen_only": seen_only} | score_by_experts(self.index, scored)


def score_by_experts(index: DocumentIndex, texts: Sequence[str]) -> dict[str, Tensor]:
    """Return the entries expert_keys and expert_scores of a batch; without experts they are empty."""
    if index.experts is None:
        return {"expert_keys": torch.zeros(0, dtype=torch.long), "expert_scores": torch.zeros(0)}
    keys, scores = index.experts.score(texts)
    return {"expert_keys": keys, "expert_scores": scores}


def gather_codes(codes: Array, doc_indices: Any) -> Tensor:
    """Return the docids of n documents as an int64 tensor [n, L], padded with -1; L is the length of the longest."""
    chosen = torch.from_numpy(codes[doc_indices]).long()
    return chosen[:, : int((chosen >= 0).any(0).sum())]
