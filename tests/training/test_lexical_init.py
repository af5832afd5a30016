"""A lexically initialised model ranks as BM25 does before its first training step."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

from genir.collection.prepared import DocumentFile
from genir.config import ModelConfig
from genir.docids.table import CodeLayout
from genir.errors import GenirError
from genir.model import build_model
from genir.tokenizer import tokenize, train_tokenizer
from genir.training.lexical_init import (
    K1,
    B,
    compute_bm25_matrix,
    compute_code_vectors,
    count_tokens,
    initialise_from_bm25,
)


@pytest.fixture(scope="module")
def texts(root):
    return [document.body for document in DocumentFile(root / "data" / "quickstart" / "corpus.jsonl")][:120]


@pytest.fixture(scope="module")
def tokenizer(texts):
    return train_tokenizer(texts, 4000)


def test_bm25_weights_equal_the_formula(tokenizer, texts):
    documents = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts[:20]]
    matrix = compute_bm25_matrix(count_tokens(tokenizer, texts[:20], len(tokenizer))).toarray()
    average = sum(map(len, documents)) / 20
    frequency = Counter(token for document in documents for token in set(document))
    for number, document in enumerate(documents):
        for token, tf in Counter(document).items():
            idf = math.log(1 + (20 - frequency[token] + 0.5) / (frequency[token] + 0.5))
            weight = idf * tf / (tf + K1 * (1 - B + B * len(document) / average))
            assert matrix[token, number] == pytest.approx(weight, rel=1e-6)
    assert np.count_nonzero(matrix) == sum(len(set(document)) for document in documents)


@pytest.mark.slow
def test_a_new_model_with_atomic_docids_ranks_as_bm25(tokenizer, texts):
    """With more dimensions than documents the factorisation is exact; only the residual branches add some noise."""
    torch.manual_seed(0)
    count = len(texts)
    model = build_model(ModelConfig(size="tiny"), tokenizer, (count,))
    initialise_from_bm25(model, tokenizer, texts, np.arange(count, dtype=np.int32)[:, None], seed=0)
    model.t5.train(False)
    matrix = compute_bm25_matrix(count_tokens(tokenizer, texts, len(tokenizer))).toarray()
    rng = np.random.default_rng(0)
    queries, wanted = [], []
    for number in rng.permutation(count)[:60]:
        words = texts[number].split()
        start = rng.integers(0, len(words) - 6)
        queries.append(" ".join(words[start : start + 6]))
        ids = tokenizer(queries[-1], add_special_tokens=False)["input_ids"]
        wanted.append(matrix[ids].sum(0))
    with torch.no_grad():
        encoded = model.encode(**tokenize(tokenizer, queries, 64))
        logps = model.code_logps(encoded, torch.arange(count).view(1, -1, 1).expand(60, -1, -1)).numpy()[..., 0]
    assert np.mean(logps.argmax(1) == np.argmax(wanted, 1)) >= 0.95
    correlation = [np.corrcoef(logps[i], wanted[i])[0, 1] for i in range(60)]
    assert np.median(correlation) > 0.9


def test_code_vectors_are_means_of_the_residuals_of_each_level():
    rng = np.random.default_rng(1)
    documents = torch.from_numpy(rng.normal(size=(30, 5)))
    codes = torch.from_numpy(rng.integers(0, 3, (30, 2)))
    layout = CodeLayout(0, (3, 4))
    got = compute_code_vectors(documents, codes, layout).numpy()
    residual = documents.numpy().copy()
    for level, (offset, size) in enumerate(zip(layout.offsets, layout.sizes, strict=True)):
        means = {c: residual[codes[:, level] == c].mean(0) for c in range(size) if (codes[:, level] == c).any()}
        for c in range(size):
            np.testing.assert_allclose(got[offset + c], means.get(c, np.zeros(5)))
        residual = residual - np.stack([means[c] for c in codes[:, level].tolist()])


def test_atomic_code_vectors_equal_the_document_vectors():
    documents = torch.randn(6, 4)
    assert torch.equal(compute_code_vectors(documents, torch.arange(6)[:, None], CodeLayout(9, (6,))), documents)


def test_the_vector_of_a_text_token_is_the_mean_over_its_occurrences():
    documents = torch.tensor([[1.0, 0.0], [4.0, 3.0]])
    codes = torch.tensor([[2, 2, 0], [2, 1, -1]])
    got = compute_code_vectors(documents, codes, CodeLayout(0, (4, 4, 4), text=True))
    assert got.tolist() == [[1, 0], [4, 3], [2, 1], [0, 0]]  # token 2 occurs twice in document 0, once in document 1


def test_documents_without_tokens_are_a_one_line_error(tokenizer):
    model = build_model(ModelConfig(size="tiny"), tokenizer, (2,))
    with pytest.raises(GenirError, match="the documents contain no words"):
        initialise_from_bm25(model, tokenizer, ["", " "], np.array([[0], [1]], np.int32), seed=0)
