"""Measuring the rankings by each expert alone, by all experts but one, and by all of them."""

from collections.abc import Iterable, Sequence
from statistics import fmean

from genir.collection.prepared import PreparedCollection
from genir.console import track
from genir.evaluation.contributions import Contributions, ExpertContribution
from genir.evaluation.measures import measure
from genir.evaluation.trec import Run, qrels
from genir.records import Query
from genir.scoring.experts import Experts, rank_matches
from genir.scoring.lexical import LexicalIndex, add_matches
from genir.scoring.term_weights import summarise_term_weights

MAX_QUERIES = 1000
"""Number of queries, at most, that are measured: each of them is ranked once for every set of experts."""
_Names = tuple[str, ...]


def measure_experts(
    experts: Experts, doc_ids: Sequence[str], data: PreparedCollection, split: str, metric: str, k: int
) -> Contributions:
    """Measure what each expert contributes to the ranking by all of them, on the first queries of a split.

    All experts keep their weights. doc_ids [N]: the documents in the order of the trie's leaves. metric: the measure.
    k: length of the rankings.
    """
    names, queries = tuple(experts.indexes), data.queries(split)
    others = {name: tuple(other for other in names if other != name) for name in names}
    wanted = {names, *others.values(), *((name,) for name in names)} - {()}
    runs = _rank_by_sets(experts, doc_ids, data, queries[:MAX_QUERIES], wanted, k)
    judged = qrels(data.judgments(split))
    judged = {query.id: judged[query.id] for query in queries[:MAX_QUERIES]}
    values = {chosen: fmean(measure(run, judged, [metric])[metric].values()) for chosen, run in runs.items()}
    found = []
    for name, index in experts.indexes.items():
        k1, b = (index.settings.k1, index.settings.b) if isinstance(index, LexicalIndex) else (None, None)
        alone, without = values[(name,)], values.get(others[name])
        found.append(ExpertContribution(name, experts.weights[name], k1, b, alone, without))
    term_weights = next((i.term_weights for i in experts.indexes.values() if isinstance(i, LexicalIndex)), {})
    summary = summarise_term_weights(term_weights) if term_weights else None
    return Contributions(split, metric, len(judged), len(queries), found, values[names], term_weights=summary)


def _rank_by_sets(
    experts: Experts,
    doc_ids: Sequence[str],
    data: PreparedCollection,
    queries: Sequence[Query],
    wanted: Iterable[_Names],
    k: int,
) -> dict[_Names, Run]:
    """Rank documents by several sets of experts, whose indexes are searched only once for each query."""
    runs: dict[_Names, Run] = {chosen: {} for chosen in wanted}
    texts = [query.text for query in queries]
    scores = zip(*(index.score_many(texts) for index in experts.indexes.values()), strict=True)
    for query, found in zip(track(queries, "measuring the experts"), scores, strict=True):
        parts = dict(zip(experts.indexes, found, strict=True))
        for chosen, run in runs.items():
            matches = add_matches([parts[name] for name in chosen], [experts.weights[name] for name in chosen])
            ranked = [doc_ids[leaf] for leaf, _ in rank_matches(matches, k + data.ignores_identical_ids)]
            kept = [doc_id for doc_id in ranked if not data.is_ignored(query.id, doc_id)][:k]
            run[query.id] = {doc_id: -float(rank) for rank, doc_id in enumerate(kept)}
    return runs
