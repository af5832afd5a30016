"""The baseline with as many beams as docids against brute force; comparison of two rankings."""

import pytest
import torch

from genir.benchmarks.hf_generate import compare_rankings, generate, make_dict_trie
from tests.helpers.models import make_model
from tests.helpers.search import brute_force, distinct, random_codes, random_queries


def test_a_dict_trie_holds_the_docids_as_paths():
    assert make_dict_trie(torch.tensor([[3, 7, 2], [3, 7, -1], [5, 1, -1]])) == {3: {7: {2: {}}}, 5: {1: {}}}


@pytest.mark.parametrize("softmax_over", ["level", "full"])
def test_generate_with_as_many_beams_as_docids_equals_scoring_every_docid(softmax_over):
    model = make_model((4, 3, 4), softmax_over)
    codes = random_codes(20, (4, 3, 4), 1)
    docids, (ids, mask) = distinct(codes), random_queries(3)
    root = make_dict_trie(model.codes_to_tokens(docids))
    tokens, scores = generate(model, root, ids, mask, len(docids), 5)
    leaves, expected = brute_force(model, codes, model.encode(ids, mask))
    torch.testing.assert_close(scores, expected[:, :5], atol=1e-4, rtol=0)
    assert tokens.tolist() == model.codes_to_tokens(docids[leaves[:, :5]]).tolist()


def test_rankings_are_equal_or_equal_up_to_ties_or_different():
    tokens, scores = torch.tensor([[[1, 2], [3, 4]]]), torch.tensor([[-1.0, -1.00001]])
    assert compare_rankings((tokens, scores), (tokens, scores)) == "yes"
    assert compare_rankings((tokens, scores), (tokens.flip(1), scores)) == "ties"
    assert compare_rankings((tokens, scores), (tokens.flip(1), scores - 0.1)) == "no"
    assert compare_rankings((tokens, scores), (tokens + 1, scores)) == "no"
    assert min(["yes", "ties", "no"]) == "no"
    assert min(["yes", "ties"]) == "ties"
