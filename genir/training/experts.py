"""Building the experts of a run, and fitting their parameters on its train queries."""

import random
from collections.abc import Sequence

import numpy as np

from genir.collection.prepared import PreparedCollection
from genir.config import BM25ExpertConfig, Config, LexicalExpertConfig
from genir.console import console, print_note
from genir.docids.table import DocidTable
from genir.docids.trie import Trie
from genir.embedders import ModelEmbedder, load_embedder, load_vectors
from genir.errors import GenirError
from genir.evaluation.trec import qrels
from genir.files import reading_own_file
from genir.scoring.dense import LEFT_OUT_FILE, SENTENCES_FILE, DenseIndex
from genir.scoring.experts import DENSE, FIELDS, Experts
from genir.scoring.fit import ExpertParameters, GivenParameters, fit_parameters
from genir.scoring.lexical import LexicalIndex
from genir.scoring.sentence_vectors import SentenceVectors
from genir.scoring.term_weights import fit_term_weights, summarise_term_weights
from genir.training.examples import LabelledQuery, label_queries

FITTED_QUERIES = 1000
"""Number of train queries, chosen at random, on which the parameters are fitted."""
WEIGHTED_QUERIES = 5000
"""Number of train queries, chosen at random, from which term weights are learned; the first are those above."""
MAX_CHARACTERS = 100_000_000
"""The index of the character n-grams takes 4.5 bytes per character of nq-union and 6.2 per character of SQuAD."""
EXPECTED = {
    "text": ExpertParameters(0.8, 0.75, 0.75),
    "title": ExpertParameters(1.1, 0.65, 0.45),
    "characters": ExpertParameters(0.4, 0.7, 0.1),
    DENSE: ExpertParameters(0.0, 0.0, 1.0),
}
"""The parameters in a collection without train queries, and the centre of the prior in others.

Those of BM25 are the means of what was fitted on train queries of quickstart, SQuAD, nq-union and NFCorpus.
"""
Index = LexicalIndex | DenseIndex


def make_experts(
    config: Config, data: PreparedCollection, trie: Trie, queries: Sequence[LabelledQuery]
) -> Experts | None:
    """Build the experts that the config asks for, None if it asks for none, and print their parameters.

    queries: train queries in a random order, on which the parameters are fitted and term weights are learned.
    """
    if config.experts is None or not config.uses_experts:
        return None
    order = trie.doc_indices.numpy()
    given: dict[str, GivenParameters] = {}
    indexes: dict[str, Index] = {}
    if config.experts.lexical is not None:
        for name, section in _choose_sections(config.experts.lexical, data).items():
            given[name] = GivenParameters(section.k1, section.b, section.weight)
            texts = map(FIELDS[name].read, data.documents)
            indexes[name] = LexicalIndex.build(texts, config.baseline, FIELDS[name].ngram).reordered(order)
    if config.dense_expert is not None:
        given[DENSE] = GivenParameters(0.0, 0.0, config.dense_expert.weight)
        indexes[DENSE] = _load_dense_index(config, len(data.documents)).reordered(order)
    own = _list_own(queries, data, trie)
    parameters = _fit(given, indexes, queries[:FITTED_QUERIES], trie, own[:FITTED_QUERIES])
    used = {name: p for name, p in parameters.items() if p.weight > 0} or dict([*parameters.items()][:1])
    shown = "; ".join(
        f"{name}: weight {p.weight:.3f}" + (f", k1 {p.k1:.2f}, b {p.b:.2f}" if name in FIELDS else "")
        for name, p in used.items()
    )
    console.print(f"experts: {shown}", style="dim")
    experts = Experts(
        {name: _with_parameters(indexes[name], p) for name, p in used.items()},
        {name: p.weight for name, p in used.items()},
    )
    if config.experts.lexical is None or not config.experts.lexical.term_weights:
        return experts
    return _with_term_weights(experts, queries, trie, own)


def _with_term_weights(
    experts: Experts, queries: Sequence[LabelledQuery], trie: Trie, own: Sequence[Sequence[int]]
) -> Experts:
    """Return the experts with term weights that are learned from train queries, and print the most extreme ones."""
    texts, relevant = [query.text for query in queries], _list_relevant(queries, trie)
    weights = fit_term_weights(experts, texts, relevant, own)
    if not weights:
        return experts
    console.print(f"experts: {summarise_term_weights(weights)}", style="dim")

    def add_weights(index: Index) -> Index:
        return index.with_term_weights(weights) if isinstance(index, LexicalIndex) and not index.ngram else index

    return Experts({name: add_weights(index) for name, index in experts.indexes.items()}, experts.weights)


def _list_own(queries: Sequence[LabelledQuery], data: PreparedCollection, trie: Trie) -> list[list[int]]:
    """List the leaf of the document that each query is itself, which its ranking leaves out; mostly there is none."""
    if not data.ignores_identical_ids:
        return [[] for _ in queries]
    numbers = {document.id: number for number, document in enumerate(data.documents)}
    leaves = trie.leaf_of
    return [[int(leaves[numbers[query.query_id]])] if query.query_id in numbers else [] for query in queries]


def _list_relevant(queries: Sequence[LabelledQuery], trie: Trie) -> list[list[int]]:
    """List the leaves of the relevant documents of each query."""
    return [trie.leaf_of[list(query.doc_indices)].tolist() for query in queries]


def _load_dense_index(config: Config, documents: int) -> DenseIndex:
    """Load the vectors that the embed stage wrote, in the order of the collection, and its embedder.

    Raises GenirError if the stage has not run with the present embed.method.
    """
    run, method = config.run_folder, config.embed.method
    embedder = load_embedder(run / "embedder")
    if not isinstance(embedder, ModelEmbedder) or embedder.name != method:
        raise GenirError(f"{run / 'embedder'}: not of embed.method={method}; run genir embed CONFIG first")
    vectors, sentences = np.asarray(load_vectors(run / "embeddings.npy", documents)), None
    folder = run / "sentences"
    if config.embed.sentences and not folder.exists():
        raise GenirError(f"{folder}: no vectors of sentences (embed.sentences=true); run genir embed CONFIG first")
    if config.embed.sentences and not (folder / LEFT_OUT_FILE).exists():
        with reading_own_file(folder / SENTENCES_FILE) as path:
            sentences = SentenceVectors.load(path, *vectors.shape)
    return DenseIndex(vectors, embedder, sentences)


def _with_parameters(index: Index, parameters: ExpertParameters) -> Index:
    """Return the index with fitted parameters of BM25, of which a dense index has none."""
    return index if isinstance(index, DenseIndex) else index.with_parameters(parameters.k1, parameters.b)


def _choose_sections(settings: LexicalExpertConfig, data: PreparedCollection) -> dict[str, BM25ExpertConfig]:
    """Return the sections of those parts of the lexical expert that the collection has a use for."""
    sections = {"text": settings.text}
    if settings.title is not None and any(document.title for document in data.documents):
        sections["title"] = settings.title
    if settings.characters is not None:
        characters = sum(len(document.body) for document in data.documents)
        if characters <= MAX_CHARACTERS:
            sections["characters"] = settings.characters
        else:
            print_note(
                f"the collection has {characters:,} characters, so experts.lexical.characters is left out: its index "
                f"would be too large above {MAX_CHARACTERS:,}"
            )
    return sections


def _fit(
    given: dict[str, GivenParameters],
    indexes: dict[str, Index],
    queries: Sequence[LabelledQuery],
    trie: Trie,
    own: Sequence[Sequence[int]],
) -> dict[str, ExpertParameters]:
    """Fit what the config leaves open."""
    found = fit_parameters(
        list(indexes.values()),
        [query.text for query in queries],
        _list_relevant(queries, trie),
        [EXPECTED[name] for name in indexes],
        list(given.values()),
        own,
    )
    return dict(zip(indexes, found, strict=True))


def choose_fitted_queries(data: PreparedCollection, table: DocidTable, seed: int) -> list[LabelledQuery]:
    """Choose at most WEIGHTED_QUERIES train queries at random."""
    texts = {query.id: query.text for query in data.queries("train")}
    queries = label_queries(texts, qrels(data.judgments("train")), table.doc_indices)
    return random.Random(seed).sample(queries, min(WEIGHTED_QUERIES, len(queries)))
