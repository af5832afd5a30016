"""Log-probabilities of the documents of training batches, compared with searches that reach all documents."""

import numpy as np
import pytest
import torch

from genir.docids.trie import AllowedLeaves
from genir.t5.loading import set_gradient_checkpointing
from genir.training.batch_logps import batch_logps
from genir.training.candidate_lists import make_candidate_batch
from genir.training.examples import Collator, Example
from tests.helpers.retrievers import find_all, make_documents, with_bm25
from tests.helpers.training import CODES

TEXTS = ["owls hunt", "glaciers carve tea", "nothing known"]


@pytest.fixture
def plain(make_retriever):
    return make_retriever(CODES, (3, 4))


@pytest.fixture
def expert(plain):
    """A retriever with the same model, and with BM25."""
    return with_bm25(plain, make_documents(12), 1.5)


def scores(retriever, text):
    """The scores of the documents 0 to 11."""
    found = {doc_id: score for (doc_id, _), score in find_all(retriever, text).items()}
    return [found[f"d{i}"] for i in range(12)]


@pytest.mark.parametrize("chunk", [None, 1, 5])
def test_log_probs_are_the_scores_of_an_exhaustive_search(plain, expert, chunk):
    documents = torch.arange(12).expand(len(TEXTS), -1)
    for retriever in (plain, expert):
        batch = make_candidate_batch(retriever, TEXTS, documents.numpy(), 64, torch.zeros(len(TEXTS), dtype=torch.bool))
        with torch.no_grad():
            found = batch_logps(retriever, batch, chunk)
        expected = torch.tensor([scores(retriever, text) for text in TEXTS])
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_examples_without_experts_are_scored_as_by_a_retriever_without_them(plain, expert):
    with_experts = [True, False, False]
    examples = [Example(text, i, used) for i, (text, used) in enumerate(zip(TEXTS, with_experts, strict=True))]
    with torch.no_grad():
        found = batch_logps(expert, Collator(expert, 64)(examples))[:, 0]
    chosen = [expert if used else plain for used in with_experts]
    expected = [scores(retriever, text)[i] for i, (retriever, text) in enumerate(zip(chosen, TEXTS, strict=True))]
    assert found.tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("seen", [[0, 1, 2, 3, 4, 5, 9], [1]])
def test_texts_that_ask_for_seen_documents_only_are_scored_as_by_a_search_among_these(plain, expert, seen):
    leaves = AllowedLeaves(expert.trie.find_leaves(seen).sort().values)
    allowed = [f"d{i}" for i in seen]
    for retriever in (plain, expert):
        examples = [Example(text, 1, seen_only=i != 1) for i, text in enumerate(TEXTS)]
        with torch.no_grad():
            found = batch_logps(retriever, Collator(retriever, 64)(examples), seen=leaves)[:, 0].tolist()
        for i, text in enumerate(TEXTS):
            hits = retriever.search(text, k=12, beams=12, allowed=None if i == 1 else allowed)
            assert found[i] == pytest.approx(next(hit.score for hit in hits if hit.doc_id == "d1"), abs=1e-4)


def test_a_text_that_asks_for_seen_documents_only_changes_no_vector_of_an_unseen_one(make_retriever):
    retriever = with_bm25(make_retriever(np.arange(12)[:, None], (12,)), make_documents(12), 1.5)
    seen = AllowedLeaves(torch.tensor([0, 3, 7]))

    def find_changed(**settings):
        batch = Collator(retriever, 64)([Example("owls hunt", 3, **settings)])
        head = retriever.model.t5.lm_head.weight
        (gradient,) = torch.autograd.grad(batch_logps(retriever, batch, seen=seen).sum(), head)
        return set(gradient[retriever.model.layout.base :].abs().sum(1).nonzero()[:, 0].tolist())

    assert find_changed(seen_only=True) == {0, 3, 7}
    assert find_changed(seen_only=False) == {*range(12)}


def test_the_weights_have_a_gradient_unless_the_only_document_is_certain(plain, make_retriever):
    def gradient(retriever, doc_index):
        batch = Collator(retriever, 64)([Example("owls", doc_index)])
        (gradient,) = torch.autograd.grad(batch_logps(retriever, batch).sum(), retriever.model.t5.lm_head.weight)
        return float(gradient.abs().sum())

    assert gradient(plain, 3) > 0
    lonely = make_retriever(CODES[:1], (3, 4))
    batch = Collator(lonely, 64)([Example("owls", 0)])
    assert batch_logps(lonely, batch).tolist() == [[0.0]]


def test_gradient_checkpointing_keeps_less_and_gives_the_same_gradients(make_retriever):
    retriever = make_retriever(CODES, (3, 4))
    documents = torch.arange(12).expand(len(TEXTS), -1).numpy()
    batch = make_candidate_batch(retriever, TEXTS, documents, 64, torch.zeros(len(TEXTS), dtype=torch.bool))
    t5 = retriever.model.t5.train()

    def compute_gradients():
        """The gradients of all weights, and how many numbers are kept for the backward pass besides weights."""
        own = {weight.data_ptr() for weight in t5.parameters()}
        kept = []

        def keep(tensor):
            if tensor.data_ptr() not in own:
                kept.append(tensor.numel())
            return tensor

        t5.zero_grad()
        torch.manual_seed(0)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            total = batch_logps(retriever, batch).sum()
        total.backward()
        return {name: w.grad.clone() for name, w in t5.named_parameters() if w.grad is not None}, sum(kept)

    plain, kept = compute_gradients()
    set_gradient_checkpointing(t5, True)
    recomputed, kept_less = compute_gradients()
    assert kept_less < 0.6 * kept
    assert plain.keys() == recomputed.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(recomputed[name], gradient, atol=1e-6, rtol=1e-5, msg=name)
    set_gradient_checkpointing(t5, False)
    assert compute_gradients()[1] == kept
