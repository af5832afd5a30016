"""The prefix tree of a search, against a search over all prefixes whose probabilities are computed in plain math."""

import math
from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest
import torch

from genir.decoding.beam import beam_search
from genir.decoding.index import DocumentIndex
from genir.decoding.prefix_tree import SHOWN_PRUNED, Prefix, build_prefix_tree, count_levels
from genir.docids.table import Codes, DocidTable
from genir.docids.trie import Trie
from tests.helpers.models import make_model, make_text_model
from tests.helpers.search import (
    log_sum_exp,
    make_masses,
    paths_in_order,
    prefix_logps,
    random_codes,
    random_log_priors,
    random_queries,
    random_text_docids,
)

K = 4
CASES = [
    pytest.param(((), 40), id="text of different lengths"),
    pytest.param(((6, 5, 4), 30), id="three levels"),
    pytest.param(((40,), 40), id="atomic"),
    pytest.param(((2, 2), 20), id="shared docids"),
    pytest.param(((3, 1, 1, 2, 1, 1, 3, 1), 25), id="levels without alternatives"),
    pytest.param(((5, 4), 1), id="one document"),
    pytest.param(((1, 1, 1, 4), 4), id="no alternatives at first"),
]


class Found(NamedTuple):
    """A traced search of one query with K hits, and all documents in docid order with log p in plain math."""

    beams: int
    scores: list
    tree: Prefix
    counts: list
    paths: list
    logps: dict
    log_priors: list


def search(sizes, count, seed, beams):
    if sizes:
        codes, model = random_codes(count, sizes, seed), make_model(sizes, seed=seed)
    else:
        codes, model = random_text_docids(count, 5, seed), make_text_model(5, seed=seed)
    trie, log_priors = Trie.from_codes(codes), random_log_priors(1, count, seed)
    names = [f"d{i}" for i in range(count)]
    table = DocidTable.from_codes(Codes(codes.astype(np.int32), model.layout.sizes), doc_ids=names, titles=names)
    with torch.no_grad():
        encoded = model.encode(*random_queries(1, seed))
    masses, trace = make_masses(trie, log_priors), []
    result = beam_search(model, trie, encoded, beams, K, masses=masses, trace=trace)
    untraced = beam_search(model, trie, encoded, beams, K, masses=masses)
    assert all(torch.equal(a, b) for a, b in zip(result, untraced, strict=True))
    leaves, log_priors = result.leaves[0].tolist(), log_priors[0].tolist()
    tree = build_prefix_tree(trace, masses, DocumentIndex(table, trie), leaves)
    logps = prefix_logps(model, encoded, 0, codes, log_priors)
    counts, scores = count_levels(trace, leaves), result.scores[0].tolist()
    return Found(beams, scores, tree, counts, paths_in_order(codes), logps, log_priors)


def walk(node):
    yield node
    for child in node.children:
        yield from walk(child)


def follow_beams(paths, logps, beams):
    """The beams of each level and the documents found, by a search of all prefixes in plain Python."""
    if len(paths) == 1:
        return [], paths
    live, found, levels = [()], [], []
    while live:
        bound = sorted(map(logps.get, found), reverse=True)[K - 1] if len(found) >= K else -math.inf
        children = {path[: len(live[0]) + 1] for path in paths if path[: len(live[0])] in live}
        children = sorted((x for x in children if logps[x] >= bound), key=lambda x: (-logps[x], x))
        single = {x for x in children if count_below(x, paths) == 1}
        found += [path for x in children[:beams] if x in single for path in paths if path[: len(x)] == x]
        live = [x for x in children if x not in single][:beams]
        levels.append({*live})
    return levels, sorted(found, key=lambda x: (-logps[x], x))[:K]


def count_below(prefix, paths):
    return sum(path[: len(prefix)] == prefix for path in paths)


@pytest.fixture(params=CASES, scope="module")
def searches(request):
    sizes, count = request.param
    return [search(sizes, count, seed, beams) for seed, beams in ((0, 2), (1, 3), (2, 5), (3, 50))]


def test_probabilities_are_sums_over_the_documents_below_a_prefix(searches):
    for found in searches:
        total = log_sum_exp(found.log_priors)
        for node in walk(found.tree):
            below = [i for i, path in enumerate(found.paths) if path[: len(node.codes)] == node.codes]
            assert len(below) == node.documents
            assert node.logp == pytest.approx(log_sum_exp([found.logps[found.paths[i]] for i in below]), abs=1e-4)
            assert node.prior == pytest.approx(log_sum_exp([found.log_priors[i] for i in below]) - total, abs=1e-5)


def test_the_tree_holds_the_beams_of_each_level_and_the_hits(searches):
    for found in searches:
        levels, best = follow_beams(found.paths, found.logps, found.beams)
        nodes = [*walk(found.tree)]
        assert [n.codes for n in sorted(nodes, key=lambda n: n.rank or 0) if n.rank] == best
        assert sorted(n.logp for n in nodes if n.status == "hit") == sorted(x for x in found.scores if x > -math.inf)
        for level, beams in enumerate(levels, 1):
            kept = [n for n in nodes if n.status == "kept" and n.level <= level <= len(n.codes)]
            assert {n.codes[:level] for n in kept} == beams
            assert len(kept) == len(beams)


def test_the_children_of_a_prefix_add_up_to_it(searches):
    for found in searches:
        for node in walk(found.tree):
            if not node.children and not node.others:
                assert node.status != "kept"
                continue
            following = {path[: len(node.codes) + 1] for path in found.paths if path[: len(node.codes)] == node.codes}
            assert len(node.children) + node.others == len(following)
            assert sum(child.p for child in node.children) + node.others_p == pytest.approx(node.p, rel=1e-4)
            for child in node.children:
                assert child.code_logp == pytest.approx(child.logp - node.logp, abs=1e-5)
                assert child.code_prior == pytest.approx(child.prior - node.prior, abs=1e-5)
            assert [c.logp for c in node.children] == sorted((c.logp for c in node.children), reverse=True)


def test_only_prefixes_with_siblings_have_nodes_and_few_pruned_ones(searches):
    for found in searches:
        pruned = Counter()
        for node in walk(found.tree):
            for child in node.children:
                assert child.level == len(node.codes) + 1
                assert len(node.children) + node.others > 1
                pruned[child.level] += child.status == "pruned"
        assert all(count <= SHOWN_PRUNED for count in pruned.values())


def test_the_levels_count_every_prefix_once(searches):
    for found in searches:
        levels, _ = follow_beams(found.paths, found.logps, found.beams)
        nodes = [*walk(found.tree)]
        for counts in found.counts:
            above = levels[counts.level - 2] if counts.level > 1 else {()}
            considered = {path[: counts.level] for path in found.paths if path[: counts.level - 1] in above}
            assert counts.considered == len(considered)
            assert counts.kept == len(levels[counts.level - 1])
            assert counts.hits == sum(n.status == "hit" and n.level == counts.level for n in nodes)
            hits = {n.codes[: counts.level] for n in nodes if n.status == "hit" and n.level == counts.level}
            pruned = considered - levels[counts.level - 1] - hits
            assert counts.pruned_p == pytest.approx(sum(math.exp(found.logps[x]) for x in pruned), rel=1e-4, abs=1e-12)
