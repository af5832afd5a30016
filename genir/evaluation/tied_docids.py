"""Documents that share a docid are written together, so any order among them is as good: what that leaves open.

A run breaks these ties in the collection's order. Measures of the best, the worst and the expected order say how much
of a difference between two runs may be luck.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from genir.evaluation.measures import measure
from genir.evaluation.trec import Run

SHUFFLES = 50  # that the expectation is taken over


def tie_measures(
    run: Run, judged: Mapping[str, Mapping[str, int]], docid: Mapping[str, int], names: Sequence[str], seed: int
) -> dict[str, dict[str, dict[str, float]]]:
    """best, expected, worst -> measure -> query -> value; docid says which docid (by number) a document has."""
    rng = random.Random(seed)
    best = measure(_ordered(run, docid, lambda q, d: -judged.get(q, {}).get(d, 0)), judged, names)
    worst = measure(_ordered(run, docid, lambda q, d: judged.get(q, {}).get(d, 0)), judged, names)
    total = {name: dict.fromkeys(judged, 0.0) for name in names}
    for _ in range(SHUFFLES):
        for name, by_query in measure(_ordered(run, docid, lambda q, d: rng.random()), judged, names).items():
            for query, value in by_query.items():
                total[name][query] += value / SHUFFLES
    return {"best": best, "expected": total, "worst": worst}


def _ordered(run: Run, docid: Mapping[str, int], key: Callable[[str, str], float]) -> Run:
    """The run with the neighbours of one docid sorted by `key(query, document)`; scores only say the order."""
    result: Run = {}
    for query, scores in run.items():
        ranked = sorted(scores, key=lambda document: -scores[document])
        groups = (list(group) for _, group in groupby(ranked, key=lambda document: docid.get(document, document)))
        order = [d for group in groups for d in sorted(group, key=lambda d: key(query, d))]
        result[query] = {document: -float(place) for place, document in enumerate(order)}
    return result
