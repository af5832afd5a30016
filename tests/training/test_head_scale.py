"""The scale of a new model's head beside experts, compared with a grid."""

import numpy as np
import pytest
import torch

from genir.bm25.bm25s_index import BM25sIndex
from genir.config import BaselineConfig
from genir.training.batch_logps import batch_logps
from genir.training.examples import Collator, Example
from genir.training.head_scale import SMALLEST_SCALE, fit_head_scale, silence_head
from tests.helpers.retrievers import make_documents, with_bm25

DOCUMENTS = make_documents(12)
CODES = np.array([[i // 4, i % 4] for i in range(12)])


@pytest.fixture
def retriever(make_retriever):
    return with_bm25(make_retriever(CODES, (3, 4)), DOCUMENTS, 1.0)


def mean_logp(retriever, examples):
    with torch.no_grad():
        return float(batch_logps(retriever, Collator(retriever, 64)(examples)).mean())


def draw_examples(retriever, scale, count=150):
    """Queries with documents drawn with the probabilities that a head of this scale gives."""
    rng = np.random.default_rng(0)
    words = " ".join(document.text for document in DOCUMENTS).split()
    texts = [" ".join(rng.choice(words, 2)) for _ in range(count)]
    head = retriever.model.t5.lm_head.weight
    original = head.detach().clone()
    with torch.no_grad():
        head.copy_(original * scale)
        everything = [Example(text, i) for text in texts for i in range(12)]
        logps = batch_logps(retriever, Collator(retriever, 64)(everything)).view(count, 12).double()
        head.copy_(original)
    p = logps.exp() / logps.exp().sum(1, keepdim=True)
    return [Example(text, int(rng.choice(12, p=row))) for text, row in zip(texts, p.numpy(), strict=True)]


@pytest.mark.parametrize("true", [0.1, 0.5])
def test_the_scale_is_the_best_of_a_grid(retriever, true):
    head = retriever.model.t5.lm_head.weight
    with torch.no_grad():
        head *= 10  # so that the scale makes a difference
    original = head.detach().clone()
    examples = draw_examples(retriever, true)
    found = fit_head_scale(retriever, examples)
    assert torch.equal(head, original * found)
    best = mean_logp(retriever, examples)
    for scale in [SMALLEST_SCALE, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0]:
        with torch.no_grad():
            head.copy_(original * scale)
        assert mean_logp(retriever, examples) <= best + 1e-3
    assert found == pytest.approx(true, abs=0.2)


def test_a_head_that_disturbs_the_experts_gets_the_smallest_scale(retriever):
    with torch.no_grad():
        retriever.model.t5.lm_head.weight *= 100
    examples = [Example(document.body, i) for i, document in enumerate(DOCUMENTS)]
    assert fit_head_scale(retriever, examples) < 0.1


def test_a_silent_head_leaves_the_probabilities_to_the_experts(retriever):
    silence_head(retriever.model)
    text = "owls and glaciers"
    scores = {f"d{i}": 0.0 for i in range(12)} | dict(
        BM25sIndex(DOCUMENTS, BaselineConfig()).search_many([text], 12)[0]
    )
    log_total = np.log(sum(np.exp(score) for score in scores.values()))
    expected = {doc_id: score - log_total for doc_id, score in scores.items()}
    assert {hit.doc_id: hit.score for hit in retriever.search(text, k=12)} == pytest.approx(expected, abs=1e-4)


def test_a_silent_head_learns_from_the_first_step_on(retriever):
    silence_head(retriever.model)
    batch = Collator(retriever, 64)([Example(document.body, i) for i, document in enumerate(DOCUMENTS)])
    batch_logps(retriever, batch).sum().backward()
    assert retriever.model.t5.lm_head.weight.grad.abs().sum() > 0
