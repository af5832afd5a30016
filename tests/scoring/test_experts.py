"""The experts of a retriever, compared with bm25s, and their folder."""

import json
import math
import shutil
from collections import Counter

import numpy as np
import pytest
import torch

from genir.bm25 import BM25sIndex
from genir.config import BaselineConfig
from genir.docids.trie import Trie
from genir.embedders import fit_tfidf
from genir.errors import GenirError
from genir.scoring.dense import DenseIndex
from genir.scoring.experts import FIELDS, Experts, compute_masses
from genir.scoring.lexical import LexicalIndex, Matches
from tests.helpers.retrievers import make_documents

DOCUMENTS = make_documents(40)
QUERIES = ["owls hunt", "", "glaciers carve tea tea", "title 17", "nothing known"]
WEIGHTS = {"text": 1.5, "title": 0.5, "characters": 0.25}
CODES = np.random.default_rng(0).integers(0, 4, (40, 3))


def make_experts(trie, documents=DOCUMENTS, weights=WEIGHTS):
    order = trie.doc_indices.numpy()
    indexes = {
        name: LexicalIndex.build(map(FIELDS[name].read, documents), BaselineConfig(), FIELDS[name].ngram)
        for name in weights
    }
    return Experts({name: index.reordered(order) for name, index in indexes.items()}, weights)


@pytest.fixture
def trie():
    return Trie.from_codes(CODES)


@pytest.fixture
def experts(trie):
    return make_experts(trie)


def bm25s_scores(documents, query):
    """The scores above 0, by the index of the document."""
    hits = BM25sIndex(documents, BaselineConfig()).search_many([query], len(documents))[0]
    indices = {document.id: i for i, document in enumerate(documents)}
    return {indices[doc_id]: score for doc_id, score in hits}


def list_ngrams(text):
    """The words of these tests have at least two letters, and none of them is a stop word."""
    text = f" {' '.join(text.lower().split())} " if text else " "
    return [text[i : i + 5] for i in range(len(text) - 4)]


def ngram_scores(documents, query, k1=0.9, b=0.4):
    """BM25 over 5-grams in plain Python, without those in more than a tenth of the documents."""
    grams = [list_ngrams(" ".join(x for x in document.body.split() if len(x) > 1)) for document in documents]
    mean = sum(map(len, grams)) / len(grams)
    scores = Counter()
    for gram in list_ngrams(query):
        count = sum(gram in found for found in grams)
        for i, found in enumerate(grams):
            if gram in found and count <= len(documents) / 10:
                f, idf = found.count(gram), math.log(1 + (len(documents) - count + 0.5) / (count + 0.5))
                scores[i] += idf * f / (f + k1 * (1 - b + b * len(found) / mean))
    return scores


def expected_scores(documents, query):
    """The weighted sums of the scores of the three experts, by the index of the document."""
    total = Counter()
    titles = [document._replace(text="") for document in documents]
    for weight, scores in zip(
        WEIGHTS.values(),
        (bm25s_scores(documents, query), bm25s_scores(titles, query), ngram_scores(documents, query)),
        strict=True,
    ):
        for doc_index, score in scores.items():
            total[doc_index] += weight * score
    return total


def score_by_document(experts, trie, query):
    keys, scores = experts.score([query])
    return dict(zip(trie.doc_indices[keys].tolist(), scores.tolist(), strict=True))


def test_the_scores_of_a_batch_are_those_of_bm25_times_the_weights_at_the_leaves_of_the_documents(trie, experts):
    keys, scores = experts.score(QUERIES)
    assert keys.dtype == torch.int64
    assert (keys.diff() > 0).all()
    expected = {}
    for number, query in enumerate(QUERIES):
        for doc_index, score in expected_scores(DOCUMENTS, query).items():
            (leaf,) = np.flatnonzero(trie.doc_indices.numpy() == doc_index)
            expected[number * 40 + int(leaf)] = score
    assert dict(zip(keys.tolist(), scores.tolist(), strict=True)) == pytest.approx(expected, rel=1e-4)


def test_the_keys_of_many_queries_over_millions_of_documents_do_not_overflow():
    """The index is replaced by what the experts read of it."""
    size = 2**31 - 1

    class HugeIndex:
        def __len__(self):
            return size

        def score_many(self, texts):
            return (Matches(np.array([3, size - 1], np.int32), np.ones(2, np.float32)) for _ in texts)

    keys, _ = Experts({"text": HugeIndex()}, {"text": 1.0}).score(["owls"] * 3)
    assert keys.tolist() == [3, size - 1, size + 3, 2 * size - 1, 2 * size + 3, 3 * size - 1]


def test_documents_are_ranked_by_score_then_by_docid(trie, experts):
    for query in QUERIES:
        scores = score_by_document(experts, trie, query)
        expected = sorted(scores, key=lambda doc_index: (-scores[doc_index], trie.leaf_of[doc_index]))
        for k in (1, 5, 100):
            (ranked,) = experts.rank_many([query], k)
            assert trie.doc_indices[[leaf for leaf, _ in ranked]].tolist() == expected[:k]
            assert [score for _, score in ranked] == [scores[doc_index] for doc_index in expected[:k]]


def test_the_mass_of_the_whole_trie_is_the_sum_over_the_documents(trie, experts):
    for chosen in (experts, None):
        masses = compute_masses(chosen, QUERIES, trie, torch.device("cpu"))
        query = torch.arange(len(QUERIES))
        first, last = torch.zeros_like(query), torch.full_like(query, 40)
        children = trie.expand(0, first, last)
        logs = masses.log_masses(0, query, first, last, children)
        totals = torch.zeros(len(QUERIES)).double().index_add_(0, children.parent, logs.exp())
        expected = []
        for text in QUERIES:
            scores = expected_scores(DOCUMENTS, text) if chosen else {}
            expected.append(sum(np.exp(scores.get(i, 0)) for i in range(40)))
        assert totals.tolist() == pytest.approx(expected, rel=1e-4)


def test_experts_of_more_or_fewer_documents_are_those_that_are_built_of_them():
    some = np.array([0, 3, 17, 29])
    old, whole, part = [Trie.from_codes(codes) for codes in (CODES[:30], CODES, CODES[some])]
    extended = make_experts(old, DOCUMENTS[:30]).extended(DOCUMENTS[30:], old, whole)
    subset = make_experts(whole).subset(np.sort(whole.leaf_of[some]))
    for found, trie, documents in (extended, whole, DOCUMENTS), (subset, part, [DOCUMENTS[i] for i in some]):
        for query in QUERIES:
            expected = score_by_document(make_experts(trie, documents), trie, query)
            assert score_by_document(found, trie, query) == expected


def test_saved_experts_give_the_same_scores_and_a_missing_folder_means_none(experts, tmp_path):
    experts.save(tmp_path / "experts")
    loaded = Experts.load(tmp_path / "experts", 40)
    for ours, theirs in zip(loaded.score(QUERIES), experts.score(QUERIES), strict=True):
        assert torch.equal(ours, theirs)
    assert Experts.load(tmp_path / "none", 40) is None


@pytest.mark.parametrize("name", ["experts.json", "text/lexical.json", "title/postings.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"[]", b"\xff", b'{"text": {"weight": "x"}}'])
def test_a_missing_or_damaged_file_is_a_one_line_error_that_names_it(experts, tmp_path, name, content):
    experts.save(tmp_path / "experts")
    (tmp_path / "experts" / name).unlink()
    if content is not None:
        (tmp_path / "experts" / name).write_bytes(content)
    with pytest.raises(GenirError, match=f"experts/{name}:") as error:
        Experts.load(tmp_path / "experts", 40)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("weight", ["x", None, [1], -1, float("nan"), float("inf"), True])
def test_a_weight_that_is_not_a_number_of_at_least_zero_is_damage(experts, tmp_path, weight):
    experts.save(tmp_path / "experts")
    (tmp_path / "experts" / "experts.json").write_text(json.dumps({"text": {"weight": weight}}))
    with pytest.raises(GenirError, match=r"experts\.json: damaged"):
        Experts.load(tmp_path / "experts", 40)


def test_an_index_of_other_documents_is_refused(experts, tmp_path):
    experts.save(tmp_path / "a")
    experts.subset(np.arange(39)).save(tmp_path / "b")
    shutil.rmtree(tmp_path / "a" / "title")
    shutil.move(tmp_path / "b" / "title", tmp_path / "a" / "title")
    with pytest.raises(GenirError, match="an index of 39 documents, but the retriever has 40"):
        Experts.load(tmp_path / "a", 40)


@pytest.mark.parametrize("names", [["url"], ["text", "url"], []])
def test_unknown_experts_are_damage(experts, tmp_path, names):
    experts.save(tmp_path / "experts")
    (tmp_path / "experts" / "experts.json").write_text(json.dumps({name: {"weight": 1} for name in names}))
    with pytest.raises(GenirError, match=r"experts\.json: damaged"):
        Experts.load(tmp_path / "experts", 40)


def test_an_explanation_has_the_part_of_each_expert_in_the_score(trie, experts):
    for query in QUERIES:
        scores = score_by_document(experts, trie, query)
        for leaf, doc_index in enumerate(trie.doc_indices.tolist()):
            parts = experts.explain(query, leaf)
            assert parts.keys() == WEIGHTS.keys()
            assert sum(parts.values()) == pytest.approx(scores.get(doc_index, 0), rel=1e-5)


def make_dense_experts(trie, documents, embedder, name):
    """An expert of words and a dense one, or only the latter."""
    order = trie.doc_indices.numpy()
    indexes = {
        "text": LexicalIndex.build((document.body for document in documents), BaselineConfig()).reordered(order),
        "dense": DenseIndex(embedder.embed(documents), embedder).reordered(order),
    }
    weights = {"text": 0.5, "dense": 1.5}
    return Experts({n: indexes[n] for n in weights if n != name}, {n: weights[n] for n in weights if n != name})


@pytest.mark.parametrize("left_out", [None, "text"])
def test_dense_experts_are_added_to_the_others_extended_and_saved(trie, tmp_path, left_out):
    embedder = fit_tfidf(DOCUMENTS, 8, 0, "corpus")
    vectors = embedder.embed(DOCUMENTS)
    experts = make_dense_experts(trie, DOCUMENTS, embedder, left_out)
    old = Trie.from_codes(CODES[:30])
    extended = make_dense_experts(old, DOCUMENTS[:30], embedder, left_out).extended(DOCUMENTS[30:], old, trie)
    experts.save(tmp_path / "experts")
    for query in QUERIES:
        cosines = vectors @ embedder.embed_queries([query])[0]
        expected = {i: 30 * (x - min(cosines)) for i, x in enumerate(cosines)}
        for i, score in () if left_out else bm25s_scores(DOCUMENTS, query).items():
            expected[i] += 0.5 * score
        expected = {i: x for i, x in expected.items() if x > 1e-3 and query}
        for found in (experts, extended, Experts.load(tmp_path / "experts", 40)):
            scores = {i: x for i, x in score_by_document(found, trie, query).items() if x > 1e-3}
            assert scores == pytest.approx(expected, abs=1e-4)
