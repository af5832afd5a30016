"""Dividing batches into groups of texts of similar length."""

from itertools import combinations

import numpy as np
import pytest
import torch

from genir.docids.trie import AllowedLeaves
from genir.training.batch_logps import batch_logps
from genir.training.candidate_lists import make_candidate_batch
from genir.training.length_groups import divide_lengths, group_by_length
from tests.helpers.retrievers import make_documents, with_bm25
from tests.helpers.training import CODES, score_in_groups


def list_divisions(count):
    """All ways to divide `count` neighbours into groups, as lists of sizes."""
    for number in range(count):
        for cuts in combinations(range(1, count), number):
            yield np.diff([0, *cuts, count]).tolist()


def count_tokens(lengths, sizes):
    """The number of tokens, with padding, of groups of neighbours."""
    return sum(size * max(part) for size, part in zip(sizes, np.split(lengths, np.cumsum(sizes)[:-1]), strict=True))


@pytest.mark.parametrize("seed", range(20))
def test_the_division_costs_as_little_as_the_best_of_all_divisions(seed):
    rng = np.random.default_rng(seed)
    lengths = np.sort(rng.integers(1, 40, rng.integers(1, 10)))
    cost = int(rng.integers(0, 60))
    found = divide_lengths(lengths, cost)
    assert sum(found) == len(lengths)
    best = min(count_tokens(lengths, sizes) + cost * len(sizes) for sizes in list_divisions(len(lengths)))
    assert count_tokens(lengths, found) + cost * len(found) == best


@pytest.mark.parametrize("restricted", [False, True])
def test_the_log_probs_of_a_divided_batch_are_those_of_the_whole_one(make_retriever, restricted):
    retriever = with_bm25(make_retriever(CODES, (3, 4)), make_documents(12))
    texts = ["owls hunt at night in the woods and sleep by day", "tea", "where do glaciers carve", "", "tea leaves"] * 3
    seen_only = torch.arange(len(texts)) % 2 == 0
    documents = np.random.default_rng(0).choice([0, 2, 3, 9], (len(texts), 3))
    batch = make_candidate_batch(retriever, texts, documents, 64, seen_only) | {"grades": torch.rand(len(texts), 3)}
    seen = AllowedLeaves(retriever.trie.find_leaves([0, 2, 3, 9]).sort().values) if restricted else None
    found = score_in_groups(retriever, batch, seen=seen)
    torch.testing.assert_close(found, batch_logps(retriever, batch, seen=seen), atol=1e-5, rtol=0)


def test_a_divided_batch_has_the_texts_of_the_whole_one_with_less_padding(make_retriever):
    retriever = make_retriever(CODES, (3, 4))
    texts = ["owls hunt at night in the woods and sleep by day", "tea", "where do glaciers carve", "owls"] * 8
    documents = np.arange(32)[:, None] % 12
    batch = make_candidate_batch(retriever, texts, documents, 64, torch.zeros(32, dtype=torch.bool))
    batch["grades"] = torch.rand(32, 1)
    divided = group_by_length(batch, 12, cost=8)
    assert torch.equal(divided["grades"], batch["grades"])
    rows = [row[row != retriever.tokenizer.pad_token_id] for group in divided["groups"] for row in group["input_ids"]]
    for row, position in enumerate(divided["position"].tolist()):
        assert torch.equal(rows[position], batch["input_ids"][row][batch["attention_mask"][row] == 1])
    assert sum(group["input_ids"].numel() for group in divided["groups"]) < 0.7 * batch["input_ids"].numel()
