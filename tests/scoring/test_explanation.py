"""The explanation of a score against the score itself and against the shares of the prior masses."""

import math

import pytest

from genir.errors import GenirError
from tests.helpers.retrievers import clear_head, find_all, growing_retriever

QUERY = "owls hunt mice"


def test_the_levels_of_an_explanation_add_up_to_the_score_of_a_search(tokenizer):
    retriever, documents, _ = growing_retriever(tokenizer, weight=1.5)
    scores = {doc_id: score for (doc_id, _), score in find_all(retriever, QUERY).items()}
    for document in documents[:30]:
        found = retriever.explain(QUERY, document.id)
        assert found.score == pytest.approx(scores[document.id], abs=1e-4)
        assert found.prior + found.model == pytest.approx(found.score, abs=1e-5)
        assert all(level.model == pytest.approx(0, abs=1e-5) for level in found.levels if level.shared)
        assert found.docid == retriever.table.docid_of(retriever.table.doc_index(document.id))


def test_the_prior_is_the_share_of_the_document_in_the_sum_of_all_masses(tokenizer):
    retriever, documents, _ = growing_retriever(tokenizer, weight=1.5)
    experts = [retriever.explain(QUERY, document.id).experts["text"] for document in documents[:30]]
    total = sum(map(math.exp, experts))
    assert max(experts) > 0
    for document, score in zip(documents[:30], experts, strict=True):
        assert retriever.explain(QUERY, document.id).prior == pytest.approx(score - math.log(total), abs=1e-4)


def test_a_model_that_has_learned_nothing_contributes_nothing(tokenizer):
    retriever, documents, _ = growing_retriever(tokenizer, weight=1.5)
    clear_head(retriever)
    for document in documents[:30]:
        assert retriever.explain(QUERY, document.id).model == pytest.approx(0, abs=1e-5)


def test_an_explanation_is_shown_with_one_line_for_each_level(tokenizer):
    retriever, documents, _ = growing_retriever(tokenizer, weight=1.5)
    found = retriever.explain(QUERY, documents[3].id)
    lines = str(found).split("\n")
    assert len(lines) == 2 + len(found.levels)
    assert lines[0].startswith(f"d3 for {QUERY!r}: log p {found.score:.3f} = prior {found.prior:.3f}")
    assert lines[1].split() == ["level", "code", "siblings", "log", "p", "prior", "model"]


def test_only_existing_documents_and_a_softmax_over_the_trie_can_be_explained(tokenizer):
    retriever, documents, _ = growing_retriever(tokenizer)
    assert retriever.explain(QUERY, documents[0].id).experts == {}
    with pytest.raises(GenirError, match="no document 'nowhere'"):
        retriever.explain(QUERY, "nowhere")
    retriever.model.softmax_over = "full"
    with pytest.raises(GenirError, match=r"model\.softmax_over=trie"):
        retriever.explain(QUERY, documents[0].id)
