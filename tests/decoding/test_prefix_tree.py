"""The prefix tree of a search, against a search over all prefixes whose probabilities are computed in plain math."""

import math

import numpy as np
import pytest
import torch

from genir.decoding.beam import beam_search
from genir.decoding.index import DocumentIndex
from genir.decoding.prefix_tree import SHOWN_PRUNED, build_prefix_tree, count_levels
from genir.docids.table import Codes, DocidTable
from genir.docids.trie import Trie
from tests.helpers.models import make_model
from tests.helpers.search import (
    log_sum_exp,
    make_masses,
    paths_in_order,
    prefix_logps,
    random_codes,
    random_log_priors,
    random_queries,
)

K = 4
CASES = [
    pytest.param((6, 5, 4), 30, id="three levels"),
    pytest.param((40,), 40, id="atomic"),
    pytest.param((2, 2), 20, id="shared docids"),
    pytest.param((3, 1, 1, 2, 1, 1, 3, 1), 25, id="levels without alternatives"),
    pytest.param((5, 4), 1, id="one document"),
    pytest.param((1, 1, 1, 4), 4, id="no alternatives at first"),
]


def search(sizes, count, seed, beams):
    """A traced search of one query: the result, its tree and level counts, the paths of all documents, and log p."""
    codes = random_codes(count, sizes, seed)
    model, trie, log_priors = make_model(sizes, seed=seed), Trie.from_codes(codes), random_log_priors(1, count, seed)
    names = [f"d{i}" for i in range(count)]
    table = DocidTable.from_codes(Codes(codes.astype(np.int32), sizes), doc_ids=names, titles=names)
    with torch.no_grad():
        encoded = model.encode(*random_queries(1, seed))
    masses, trace = make_masses(trie, log_priors), []
    result = beam_search(model, trie, encoded, beams, K, masses=masses, trace=trace)
    plain = beam_search(model, trie, encoded, beams, K, masses=masses)
    assert all(torch.equal(a, b) for a, b in zip(result, plain, strict=True))
    leaves = result.leaves[0].tolist()
    tree = build_prefix_tree(trace, masses, DocumentIndex(table, trie), leaves)
    logps = prefix_logps(model, encoded, 0, codes, log_priors[0].tolist())
    return result, tree, count_levels(trace, leaves), paths_in_order(codes), logps, log_priors[0].tolist()


def walk(node):
    yield node
    for child in node.children:
        yield from walk(child)


def each_search(sizes, count):
    return (search(sizes, count, seed, beams) for seed, beams in ((0, 2), (1, 3), (2, 5), (3, 50)))


def follow_beams(paths, logps, beams):
    """The beams of each level and the documents found, by a search of all prefixes in plain Python."""
    live, found, levels = [()], [], []
    if len(paths) == 1:
        return [], paths
    while live:
        bound = sorted(map(logps.get, found), reverse=True)[K - 1] if len(found) >= K else -math.inf
        children = sorted({path[: len(prefix) + 1] for prefix in live for path in paths if path[: len(prefix)] == prefix})
        children = [x for x in sorted(children, key=lambda x: -logps[x]) if logps[x] >= bound]
        single = {x for x in children if sum(path[: len(x)] == x for path in paths) == 1}
        found += [x for x in children[:beams] if x in single]
        live = [x for x in children if x not in single][:beams]
        levels.append({*live})
    return levels, sorted(found, key=lambda x: -logps[x])[:K]


@pytest.mark.parametrize(("sizes", "count"), CASES)
def test_probabilities_are_sums_over_the_documents_below_a_prefix(sizes, count):
    for _, tree, _, paths, logps, log_priors in each_search(sizes, count):
        total = log_sum_exp(log_priors)
        for node in walk(tree):
            below = [i for i, path in enumerate(paths) if path[: len(node.codes)] == node.codes]
            if node.documents == 1:  # the docid is complete, without the number that paths of shared docids end with
                below = [i for i, path in enumerate(paths) if path[: len(node.codes)] == node.codes][:1]
            documents = [logps[paths[i]] if paths[i] in logps else logps_of(paths[i], logps) for i in below]
            assert len(below) == node.documents
            assert node.logp == pytest.approx(log_sum_exp(documents), abs=1e-4)
            assert node.prior == pytest.approx(log_sum_exp([log_priors[i] for i in below]) - total, abs=1e-5)
            assert node.model == pytest.approx(node.logp - node.prior)


@pytest.mark.parametrize(("sizes", "count"), CASES)
def test_the_tree_holds_the_beams_of_each_level_and_the_hits(sizes, count):
    for result, tree, counts, paths, logps, _ in each_search(sizes, count):
        beams = next(b for b in (2, 3, 5, 50))
        levels, found = follow_beams(paths, logps, beams)
