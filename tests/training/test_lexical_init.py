"""Before its first training step, a lexically started model ranks as BM25 does."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

from genir.collection.prepared import DocumentFile
from genir.config import ModelConfig
from genir.docids.table import CodeLayout
from genir.model import new_model
from genir.tokenizer import tokenize, train_tokenizer
from genir.training.lexical_init import K1, B, bm25_matrix, code_vectors, initialise_from_bm25, token_counts


@pytest.fixture(scope="module")
def texts(root):
    return [document.body for document in DocumentFile(root / "data" / "quickstart" / "corpus.jsonl")][:120]


@pytest.fixture(scope="module")
def tokenizer(texts):
    return train_tokenizer(texts, 4000)


def test_bm25_weights_are_the_formula_s(tokenizer, texts):
    documents = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts[:20]]
    matrix = bm25_matrix(token_counts(tokenizer, texts[:20], len(tokenizer))).toarray()
    average = sum(map(len, documents)) / 20
    frequency = Counter(token for document in documents for token in set(document))
    for row, document in enumerate(documents):
        for token, tf in Counter(document).items():
            idf = math.log(1 + (20 - frequency[token] + 0.5) / (frequency[token] + 0.5))
            weight = idf * tf / (tf + K1 * (1 - B + B * len(document) / average))
            assert matrix[token, row] == pytest.approx(weight, rel=1e-6)
    assert np.count_nonzero(matrix) == sum(len(set(document)) for document in documents)


def test_a_fresh_atomic_model_ranks_as_bm25(tokenizer, texts):
    """With as many dimensions as documents the factors are exact; what is left is the small noise of the branches."""
    torch.manual_seed(0)
    count = len(texts)
    model = new_model(ModelConfig(size="tiny"), tokenizer, (count,))
    initialise_from_bm25(model, tokenizer, texts, np.arange(count, dtype=np.int32)[:, None], seed=0)
    model.t5.train(False)
    matrix = bm25_matrix(token_counts(tokenizer, texts, len(tokenizer))).toarray()
    rng = np.random.default_rng(0)
    queries, wanted = [], []
    for row in rng.permutation(count)[:60]:
        words = texts[row].split()
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


def test_code_vectors_are_level_wise_means_of_what_is_left():
    rng = np.random.default_rng(1)
    documents = torch.from_numpy(rng.normal(size=(30, 5)))
    codes = torch.from_numpy(rng.integers(0, 3, (30, 2)))
    layout = CodeLayout(0, (3, 4))
    got = code_vectors(documents, codes, layout).numpy()
    rest = documents.numpy().copy()
    for level, (offset, size) in enumerate(zip(layout.offsets, layout.sizes, strict=True)):
        means = {c: rest[codes[:, level] == c].mean(0) for c in range(size) if (codes[:, level] == c).any()}
        for c in range(size):
            np.testing.assert_allclose(got[offset + c], means.get(c, np.zeros(5)))
        rest = rest - np.stack([means[c] for c in codes[:, level].tolist()])


def test_atomic_code_vectors_are_the_documents_themselves():
    documents = torch.randn(6, 4)
    assert torch.equal(code_vectors(documents, torch.arange(6)[:, None], CodeLayout(9, (6,))), documents)
