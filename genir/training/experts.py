"""Building the experts of a run, and fitting their parameters on its train queries."""

import random
from collections.abc import Sequence

from genir.collection.prepared import PreparedCollection
from genir.config import BM25ExpertConfig, Config, LexicalExpertConfig
from genir.console import console, print_note
from genir.docids.table import DocidTable
from genir.docids.trie import Trie
from genir.evaluation.trec import qrels
from genir.scoring.experts import FIELDS, Experts
from genir.scoring.fit import BM25Parameters, GivenParameters, fit_parameters
from genir.scoring.lexical import LexicalIndex
from genir.training.examples import LabelledQuery, label_queries

FITTED_QUERIES = 1000
"""Number of train queries, chosen at random, on which the parameters are fitted."""
MAX_CHARACTERS = 100_000_000
"""The index of the character n-grams takes 4.5 bytes per character of nq-union and 6.2 per character of SQuAD."""
EXPECTED_WEIGHTS = {"text": 1.0, "title": 0.0, "characters": 0.0}
"""The weights in a collection without train queries."""


def make_experts(
    config: Config, data: PreparedCollection, trie: Trie, queries: Sequence[LabelledQuery]
) -> Experts | None:
    """Build the experts that the config asks for, None if it asks for none, and print their parameters.

    queries: the train queries on which the parameters are fitted.
    """
    if config.experts is None or config.experts.lexical is None:
        return None
    sections = _choose_sections(config.experts.lexical, data, has_queries=bool(queries))
    order = trie.doc_indices.numpy()
    indexes = {}
    for name in sections:
        texts = map(FIELDS[name].read, data.documents)
        indexes[name] = LexicalIndex.build(texts, config.baseline, FIELDS[name].ngram).reordered(order)
    parameters = _fit(config, sections, indexes, queries, trie)
    used = {name: p for name, p in parameters.items() if p.weight > 0 or name == "text"}
    shown = "; ".join(f"{name}: k1 {p.k1:.2f}, b {p.b:.2f}, weight {p.weight:.3f}" for name, p in used.items())
    console.print(f"experts: BM25 of {shown}", style="dim")
    return Experts(
        {name: indexes[name].with_parameters(p.k1, p.b) for name, p in used.items()},
        {name: p.weight for name, p in used.items()},
    )


def _choose_sections(
    settings: LexicalExpertConfig, data: PreparedCollection, has_queries: bool
) -> dict[str, BM25ExpertConfig]:
    """Return the sections of those parts of the lexical expert that can get a weight above 0 in the collection.

    has_queries: whether there are queries on which weights can be fitted.
    """
    optional = {"title": settings.title, "characters": settings.characters}
    sections = {"text": settings.text}
    for name, section in optional.items():
        expected = EXPECTED_WEIGHTS[name] if not has_queries else 1.0  # any weight can be found by fitting
        if section is not None and (expected if section.weight is None else section.weight) > 0:
            sections[name] = section
    if "title" in sections and not any(document.title for document in data.documents):
        del sections["title"]
    if "characters" in sections:
        characters = sum(len(document.body) for document in data.documents)
        if characters > MAX_CHARACTERS:
            del sections["characters"]
            print_note(
                f"the collection has {characters:,} characters, so experts.lexical.characters is left out: its index "
                f"would be too large above {MAX_CHARACTERS:,}"
            )
    return sections


def _fit(
    config: Config,
    sections: dict[str, BM25ExpertConfig],
    indexes: dict[str, LexicalIndex],
    queries: Sequence[LabelledQuery],
    trie: Trie,
) -> dict[str, BM25Parameters]:
    """Fit what the config leaves open."""
    found = fit_parameters(
        list(indexes.values()),
        [query.text for query in queries],
        [trie.leaf_of[list(query.doc_indices)].tolist() for query in queries],
        [BM25Parameters(config.baseline.k1, config.baseline.b, EXPECTED_WEIGHTS[name]) for name in sections],
        [GivenParameters(section.k1, section.b, section.weight) for section in sections.values()],
    )
    return dict(zip(sections, found, strict=True))


def choose_fitted_queries(data: PreparedCollection, table: DocidTable, seed: int) -> list[LabelledQuery]:
    """Choose at most FITTED_QUERIES train queries at random."""
    texts = {query.id: query.text for query in data.queries("train")}
    queries = label_queries(texts, qrels(data.judgments("train")), table.doc_indices)
    return random.Random(seed).sample(queries, min(FITTED_QUERIES, len(queries)))
