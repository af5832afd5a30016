"""Measures of a run under different orders of the documents that share a docid.

The model generates documents with the same docid together and with the same score, so any order among them is equally
justified; a run file lists them in the order of the collection. The measures of the best, the worst and the expected
order show how much of a difference between two runs may be due to this arbitrary choice.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

from genir.evaluation.measures import measure
from genir.evaluation.trec import Run

SHUFFLES = 50  # random orders whose mean is the expected value


def measure_tie_orders(
    run: Run, judged: Mapping[str, Mapping[str, int]], docid: Mapping[str, int], names: Sequence[str], seed: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Evaluate a run under the best, the expected and the worst order of the documents that share a docid.

    judged: query id -> doc_id -> grade. docid: doc_id -> number of its docid. names: names of the measures. seed: the
    seed of the random orders. Returns "best", "expected" or "worst" -> measure name -> query id -> value. Expected
    values are means over SHUFFLES random orders.
    """
    rng = random.Random(seed)
    best = measure(_reorder_ties(run, docid, lambda q, d: -judged.get(q, {}).get(d, 0)), judged, names)
    worst = measure(_reorder_ties(run, docid, lambda q, d: judged.get(q, {}).get(d, 0)), judged, names)
    expected = {name: dict.fromkeys(judged, 0.0) for name in names}
    for _ in range(SHUFFLES):
        for name, by_query in measure(_reorder_ties(run, docid, lambda q, d: rng.random()), judged, names).items():
            for query, value in by_query.items():
                expected[name][query] += value / SHUFFLES
    return {"best": best, "expected": expected, "worst": worst}


def _reorder_ties(run: Run, docid: Mapping[str, int], key: Callable[[str, str], float]) -> Run:
    """Return the run with adjacent documents of the same docid sorted by `key(query, document)`.

    The scores of the result express only the order.
    """
    result: Run = {}
    for query, scores in run.items():
        ranked = sorted(scores, key=lambda document: -scores[document])
        groups = (list(group) for _, group in groupby(ranked, key=lambda document: docid.get(document, document)))
        order = [d for group in groups for d in sorted(group, key=lambda d: key(query, d))]
        result[query] = {document: -float(rank) for rank, document in enumerate(order)}
    return result
