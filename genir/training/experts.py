"""Building the experts of a run and fitting their weights on its train queries."""

import random

from genir.collection.prepared import PreparedCollection
from genir.config import Config
from genir.console import console
from genir.docids.table import DocidTable
from genir.docids.trie import Trie
from genir.evaluation.trec import qrels
from genir.scoring.experts import Experts
from genir.scoring.lexical import LexicalIndex
from genir.scoring.weights import fit_weight
from genir.training.examples import label_queries

FITTED_QUERIES = 1000
"""Number of train queries, chosen at random, on which a weight is fitted."""
DEFAULT_WEIGHT = 1.0
"""The weight of BM25 in a collection without train queries."""


def make_experts(config: Config, data: PreparedCollection, table: DocidTable, trie: Trie) -> Experts | None:
    """Build the experts that the config asks for, None if it asks for none, and print their weights."""
    if config.experts is None or config.experts.lexical is None:
        return None
    index = LexicalIndex.build(data.documents, config.baseline)
    weight = config.experts.lexical.weight
    if weight is None:
        weight = _fit(index, config, data, table)
    console.print(f"experts: BM25 with weight {weight:.3f}", style="dim")
    return Experts(index.reordered(trie.doc_indices.numpy()), weight)


def _fit(index: LexicalIndex, config: Config, data: PreparedCollection, table: DocidTable) -> float:
    """Fit the weight of BM25 on train queries, or return the default if there are none."""
    texts = {query.id: query.text for query in data.queries("train")}
    queries = label_queries(texts, qrels(data.judgments("train")), table.doc_indices)
    if not queries:
        return DEFAULT_WEIGHT
    chosen = random.Random(config.seed).sample(queries, min(FITTED_QUERIES, len(queries)))
    return fit_weight(index, [query.text for query in chosen], [query.doc_indices for query in chosen])
