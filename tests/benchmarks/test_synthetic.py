"""The synthetic collection, and the small trained model inside a larger shape."""

import numpy as np
import pytest
import torch

from genir.benchmarks import synthetic
from genir.benchmarks.synthetic import CODEBOOK_SIZE, LEVELS, RANDOM_LEVELS, make_docid_model, make_docids, make_queries
from genir.docids.trie import Trie
from genir.scoring.logps import document_logps

TINY = {"d_model": 64, "num_heads": 1, "d_ff": 64, "num_layers": 1}
LARGER = {"d_model": 128, "num_heads": 2, "d_ff": 96, "num_layers": 2}


def test_most_codes_after_the_random_levels_follow_from_the_code_before_them():
    codes = make_docids(20_000)
    assert codes.shape == (20_000, LEVELS)
    assert np.array_equal(codes, make_docids(20_000))
    for level in (RANDOM_LEVELS - 1, RANDOM_LEVELS, LEVELS - 1):
        pairs = np.zeros((CODEBOOK_SIZE, CODEBOOK_SIZE), int)
        np.add.at(pairs, (codes[:, level - 1], codes[:, level]), 1)
        fraction = pairs.max(1).sum() / len(codes)  # how often the most frequent code after each code follows it
        assert fraction < 0.1 if level < RANDOM_LEVELS else 0.93 < fraction < 0.97


def test_most_tokens_of_a_query_stand_for_codes_of_its_docid():
    codes = make_docids(1000)
    queries = make_queries(codes, np.random.default_rng(0)).numpy()
    levels, query_codes = np.divmod(queries, CODEBOOK_SIZE)
    assert levels.max() == RANDOM_LEVELS - 1
    assert 0.65 < (np.take_along_axis(codes, levels, 1) == query_codes).mean() < 0.69


@pytest.fixture
def codes(monkeypatch):
    monkeypatch.setitem(synthetic.SHAPES, "trained", TINY)
    monkeypatch.setitem(synthetic.SHAPES, "small", LARGER)
    return make_docids(50)


def score_all(model, codes, ids):
    """log p of all documents, in docid order, for queries [B, S]: [B, N]."""
    trie = Trie.from_codes(codes)
    with torch.no_grad():
        encoded = model.encode(ids, torch.ones_like(ids))
        return document_logps(model, encoded, trie, torch.arange(trie.size).expand(len(ids), -1))


def test_expert_scores_are_positive_and_belong_to_different_documents_of_each_query(monkeypatch):
    monkeypatch.setattr(synthetic, "EXPERT_MATCHES", 40)
    keys, scores = synthetic.make_expert_scores(3, 50, np.random.default_rng(0))
    assert (keys // 50).tolist() == [0] * 40 + [1] * 40 + [2] * 40
    assert (keys.diff() > 0).all()
    assert (scores > 0).all()
    assert len(scores) == 120


@pytest.mark.slow
def test_a_larger_shape_has_the_log_probabilities_of_the_small_model_inside_it(codes, tmp_path):
    model = synthetic.train(
        make_docid_model(synthetic.make_random_t5("trained", RANDOM_LEVELS * CODEBOOK_SIZE), LEVELS), codes, 4
    )
    model.t5.train(False).save_pretrained(tmp_path / "trained")
    larger = make_docid_model(synthetic.make_trained_t5("small", codes, 4, tmp_path / "trained"), LEVELS)
    ids = make_queries(codes[:3], np.random.default_rng(0))
    logps = [score_all(x, codes, ids) for x in (model, larger)]
    assert larger.t5.config.d_model == 2 * model.t5.config.d_model
    torch.testing.assert_close(logps[1], logps[0], atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_the_small_model_is_trained_once(codes, tmp_path):
    folder = tmp_path / "trained"
    first = synthetic.make_trained_t5("small", codes, 2, folder)
    changed = (folder / "model.safetensors").stat().st_mtime_ns
    second = synthetic.make_trained_t5("small", codes, 2, folder)
    assert (folder / "model.safetensors").stat().st_mtime_ns == changed
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.slow
def test_training_lowers_the_loss(codes):
    model = make_docid_model(synthetic.make_random_t5("trained", RANDOM_LEVELS * CODEBOOK_SIZE), LEVELS)
    ids, leaves = make_queries(codes, np.random.default_rng(0)), Trie.from_codes(codes).leaf_of

    def loss():
        return -score_all(model, codes, ids)[range(len(codes)), leaves].mean().item()

    before = loss()
    synthetic.train(model, codes, 30)
    assert loss() < before - 0.1
