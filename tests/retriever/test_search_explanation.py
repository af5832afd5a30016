"""The explanation of a search: it agrees with the search, and with the explanation of each document."""

import json
import math

import numpy as np
import pytest

from genir.errors import GenirError
from tests.helpers.models import make_model
from tests.helpers.retrievers import growing_retriever

QUERY = "owls hunt mice"


@pytest.fixture(scope="module")
def retriever(tokenizer):
    return growing_retriever(tokenizer, weight=1.5)[0]


def walk(node):
    yield node
    for child in node.children:
        yield from walk(child)


@pytest.mark.parametrize(("k", "beams"), [(10, None), (3, 1), (3, 2), (1, 5), (40, 99)])
def test_an_explanation_has_the_hits_and_the_certificate_of_the_search(retriever, k, beams):
    for query in (QUERY, "bridges", "tea"):
        found, hits = retriever.explain(query, k=k, beams=beams), retriever.search(query, k, beams)
        assert found.hits == hits
        assert found.hits.num_proven == hits.num_proven == sum(hit.score > found.bound for hit in hits)
        assert found.exact is hits.exact
        assert found.query == query
        by_rank = {node.rank: node for node in walk(found.tree) if node.rank}
        for hit in hits:
            node = by_rank.pop(hit.rank)
            assert (node.doc_id, node.title, node.logp) == (hit.doc_id, hit.title, hit.score)
            assert node.codes[: len(hit.docid)] == hit.docid
        assert not by_rank


def test_the_path_to_a_hit_has_the_numbers_of_the_explanation_of_its_document(retriever):
    found = retriever.explain(QUERY)

    def follow(node, path):
        path = [*path, node] if node.level else path
        if node.rank:
            levels = retriever.explain(QUERY, node.doc_id).levels
            assert [x.level for x in levels] == [x.level for x in path]
            assert [x.logp for x in levels] == pytest.approx([x.code_logp for x in path], abs=1e-4)
            assert [x.prior for x in levels] == pytest.approx([x.code_prior for x in path], abs=1e-5)
            assert [x.model for x in levels] == pytest.approx([x.code_model for x in path], abs=1e-4)
            assert [x.shared for x in levels] == [x.shared for x in path]
        for child in node.children:
            follow(child, path)

    follow(found.tree, [])


def test_a_dict_of_an_explanation_is_json_and_says_the_same(retriever):
    found = retriever.explain(QUERY, k=3, beams=3)
    read = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert read == found.to_dict()
    assert [(hit["doc_id"], hit["score"]) for hit in read["hits"]] == [(hit.doc_id, hit.score) for hit in found.hits]
    assert (read["exact"], read["bound"], read["beams"]) == (found.exact, found.bound, 3)

    def compare(node, entry):
        assert (entry["codes"], entry["logp"], entry["model"]) == ([*node.codes], node.logp, node.model)
        assert math.exp(entry["others_logp"] or -math.inf) == node.others_p
        for child, below in zip(node.children, entry["children"], strict=True):
            compare(child, below)

    compare(found.tree, read["tree"])
    everything = retriever.explain(QUERY, k=30, beams=30)
    assert everything.bound == -math.inf
    assert everything.to_dict()["bound"] is None


def test_a_printed_explanation_has_a_line_for_each_prefix_and_each_level(retriever):
    found = retriever.explain(QUERY, k=3, beams=4)
    nodes = [*walk(found.tree)]
    lines = str(found).split("\n")
    assert len(lines) == 2 + len(nodes) + len(found.levels)
    assert lines[0].startswith(f"{QUERY!r}: 3 hits with 4 beams")
    for node, line in zip(nodes, lines[2:], strict=False):
        assert f"{node.logp:.3f}" in line
        assert f"{node.prior:.3f}" in line
        assert ("pruned:" in line) == (node.status == "pruned")
    for hit in found.hits:
        assert sum(f" {hit.rank}. {hit.doc_id} {hit.title}" in line for line in lines) == 1


def test_what_is_proven_is_printed(retriever):
    assert "proven to be the best" in str(retriever.explain(QUERY, k=30, beams=30)).split("\n")[0]
    wrong = retriever.explain(QUERY, k=10, beams=1)
    assert not wrong.exact
    assert f"log p {wrong.bound:.3f}" in str(wrong).split("\n")[0]


def test_control_characters_in_titles_are_not_printed(make_retriever):
    retriever = make_retriever(np.array([[0], [1], [2]]), (3,))
    retriever.table.titles[1] = "red \x1b[31m"
    assert "\x1b" not in str(retriever.explain(QUERY))
    assert r"red \x1b[31m" in str(retriever.explain(QUERY))


def test_wrong_arguments_are_named(make_retriever, tokenizer):
    retriever = make_retriever(np.array([[0], [1], [2]]), (3,))
    with pytest.raises(GenirError, match="k must be"):
        retriever.explain(QUERY, k=0)
    with pytest.raises(GenirError, match="beams must be"):
        retriever.explain(QUERY, beams=-1)
    with pytest.raises(GenirError, match="quer"):
        retriever.explain(" ")
    retriever.model = make_model((3,), "full", base=len(tokenizer))
    with pytest.raises(GenirError, match=r"model\.softmax_over=trie"):
        retriever.explain(QUERY)


def test_a_long_query_is_cut_to_one_line(retriever):
    query = "owls " * 20_000
    for found in (retriever.explain(query, k=3), retriever.explain(query, "d1")):
        assert len(str(found).splitlines()[0]) < 300
        assert found.query == query
