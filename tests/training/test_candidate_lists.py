"""Candidate lists: the documents in them, their reference log-probabilities, and random draws from them."""

import math

import numpy as np
import pytest
import torch

from genir.config import DDROConfig
from genir.records import Document
from genir.training.candidate_lists import (
    build_candidate_lists,
    collect_distinct_examples,
)
from genir.training.examples import ExampleSources, ExampleStream, LabelledQuery
from genir.training.preference_data import PreferenceCollator, PreferenceDataset
from genir.training.refine import make_preference_loss
from genir.training.seen import SeenDocuments
from tests.helpers.retrievers import clear_head, make_documents, with_bm25
from tests.helpers.training import CODES, score_in_groups


@pytest.fixture
def retriever(make_retriever):
    return make_retriever(CODES, (3, 4))


def test_drawn_examples_are_distinct_and_not_empty():
    queries = [LabelledQuery("owls", (0,), (1,)), LabelledQuery("owls", (1,), (1,))]
    sources = ExampleSources([Document("d0", "", "")], queries, [])
    stream = ExampleStream(50, 1, {"spans": 1, "queries": 1}, sources, DDROConfig(query_word_dropout=0))
    assert sorted(collect_distinct_examples(stream)) == queries


def test_a_list_contains_its_positives_followed_by_documents_that_are_not_relevant(retriever):
    settings = DDROConfig(beam_candidates=6, mined_candidates=2)
    examples = [
        LabelledQuery("where do owls hunt", (0, 4), (3, 1), "q"),
        LabelledQuery("tea leaves", (1,), (1,)),
    ]
    lists = build_candidate_lists(retriever, retriever, examples, {"q": [0, 4, 8]}, {"q": [8, 5, 0, 7]}, settings)
    grades = dict(zip(lists.doc_indices[0, :2].tolist(), lists.grades[0, :2].tolist(), strict=True))
    assert grades == {0: 2.0, 4: 1.0}
    negatives = [doc_index for doc_index in lists.doc_indices[0, 2:].tolist() if doc_index >= 0]
    assert not {0, 4, 8} & set(negatives)
    assert 5 in negatives
    assert len(set(negatives)) == len(negatives)
    assert not lists.grades[0, 2:].any()


def test_train_queries_have_only_seen_documents_as_candidates_and_are_scored_among_them(retriever):
    retriever = with_bm25(retriever, make_documents(12))
    settings = DDROConfig(beam_candidates=6, mined_candidates=2)
    texts = ["where do owls hunt", "tea leaves", "tea leaves"]
    examples = [LabelledQuery(text, (i,), (1,), "q" * (i != 1)) for i, text in enumerate(texts)]
    doc_indices = [0, 2, 3, 9]
    seen = SeenDocuments(doc_indices, retriever.index.trie.allow(np.array(doc_indices)))
    mined = {"q": [7, 8, 9, 3]}
    lists = build_candidate_lists(retriever, retriever, examples, {}, mined, settings, seen=seen)
    free = build_candidate_lists(retriever, retriever, examples, {}, {}, settings)
    query, span, other = ({*row} - {-1} for row in lists.doc_indices.tolist())
    assert (query, other) == ({0, 2, 3, 9}, {0, 2, 3, 9})
    assert span == {*free.doc_indices[1].tolist()} - {-1}
    assert span - {0, 1, 2, 3, 9}
    for i, text in enumerate(texts):
        allowed = None if i == 1 else [f"d{doc_index}" for doc_index in doc_indices]
        scores = {hit.doc_id: hit.score for hit in retriever.search(text, k=12, beams=12, allowed=allowed)}
        expected = [scores[f"d{doc_index}"] if doc_index >= 0 else 0 for doc_index in lists.doc_indices[i]]
        assert lists.reference[i].tolist() == pytest.approx(expected, abs=1e-4)
    data = PreferenceDataset(lists, 3, settings, 0)
    batch = PreferenceCollator(retriever, lists, 64)([data[i] for i in range(3)])
    losses = make_preference_loss(retriever, settings)(score_in_groups(retriever, batch, seen=seen.leaves), batch)
    assert losses.tolist() == pytest.approx([math.log(2)] * 3, abs=1e-4)  # the policy equals the reference


@pytest.mark.slow
@pytest.mark.parametrize("experts", [False, True])
def test_reference_log_probs_are_the_scores_of_an_exhaustive_search(retriever, tmp_path, capsys, experts):
    retriever = with_bm25(retriever, make_documents(12)) if experts else retriever
    examples = [LabelledQuery("where do owls hunt", (0, 4), (3, 1)), LabelledQuery("tea leaves", (1,), (1,))]
    settings = DDROConfig(beam_candidates=6)
    lists = build_candidate_lists(retriever, retriever, examples, {}, {}, settings, tmp_path)
    for number, example in enumerate(examples):
        scores = {hit.doc_id: hit.score for hit in retriever.search(example.text, k=12, beams=12)}
        for doc_index, logp in zip(lists.doc_indices[number], lists.reference[number].tolist(), strict=True):
            wanted = scores[retriever.table.doc_ids[doc_index]] if doc_index >= 0 else 0
            assert logp == pytest.approx(wanted, abs=1e-4)
    (cached,) = tmp_path.glob("reference-*/*.safetensors")
    before = cached.stat().st_mtime_ns
    again = build_candidate_lists(retriever, retriever, examples, {}, {}, settings, tmp_path)
    assert torch.equal(again.reference, lists.reference)
    assert cached.stat().st_mtime_ns == before
    content = cached.read_bytes()
    cached.unlink()  # the lists still map the old file
    cached.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    again = build_candidate_lists(retriever, retriever, examples, {}, {}, settings, tmp_path)
    assert torch.equal(again.reference, lists.reference)
    assert "logps.safetensors is damaged; it is computed again" in capsys.readouterr().out


def test_cached_reference_log_probs_belong_to_the_weights_of_the_reference(retriever, tmp_path):
    """A round with an updated reference and the same lists must not read the values of the round before."""
    examples, settings = [LabelledQuery("where do owls hunt", (0,), (1,))], DDROConfig(beam_candidates=3)

    def score(folder):
        return build_candidate_lists(retriever, retriever, examples, {}, {}, settings, folder)

    before = score(tmp_path)
    with torch.no_grad():
        retriever.model.t5.lm_head.weight.mul_(1.5)
    after, fresh = score(tmp_path), score(None)
    assert torch.equal(after.reference, fresh.reference)
    assert not torch.equal(after.reference, before.reference)


def test_a_teacher_grades_the_lists_and_sorts_them_by_grade(retriever):
    def prefer_high_numbers(examples, doc_indices):
        return np.where(doc_indices >= 0, doc_indices, np.nan).astype(np.float32)

    settings = DDROConfig(beam_candidates=6)
    examples = [LabelledQuery("owls", (0,), (1,)), LabelledQuery("tea", (1, 2), (1, 1))]
    lists = build_candidate_lists(retriever, retriever, examples, {}, {}, settings, teacher=prefer_high_numbers)
    for doc_indices, grades in zip(lists.doc_indices.tolist(), lists.grades.tolist(), strict=True):
        real = [grade for doc_index, grade in zip(doc_indices, grades, strict=True) if doc_index >= 0]
        assert real == sorted(real, reverse=True)
        assert doc_indices[0] == max(doc_indices)
        assert all(doc_index < 0 for doc_index in doc_indices[len(real) :])


def test_experts_bring_the_documents_that_they_find_into_the_lists(retriever):
    """With a zero head and a large weight, the beam's negatives are the best of BM25 that are not relevant."""
    documents = make_documents(12)
    retriever = with_bm25(retriever, documents, 10.0)
    clear_head(retriever)
    example = LabelledQuery("glaciers", (0,), (1,))
    lists = build_candidate_lists(retriever, retriever, [example], {}, {}, DDROConfig(beam_candidates=4))
    found = lists.doc_indices[0, 1:]
    having = {i for i, document in enumerate(documents) if "glaciers" in document.text} - {0}
    assert len(found) >= min(3, len(having))
    assert set(found.tolist()) <= having or having <= set(found.tolist())
