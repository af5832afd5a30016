"""The baseline against scores in plain math and against genir's own search; comparison of two rankings."""

import numpy as np
import pytest
import torch

from genir.benchmarks.hf_generate import compare_rankings, generate, make_dict_trie
from genir.decoding.beam import beam_search
from genir.docids.trie import Trie
from tests.helpers.models import make_model, make_text_model
from tests.helpers.search import (
    brute_force,
    make_masses,
    random_codes,
    random_log_priors,
    random_queries,
    random_text_docids,
)


def test_a_dict_trie_holds_the_docids_as_paths_and_the_documents_below_each_node():
    root = make_dict_trie(torch.tensor([[3, 7, -1], [5, 1, 2], [5, 1, 2], [5, 4, -1]]))

    def unfold(node):
        return (node.first, node.last, {token: unfold(child) for token, child in node.children.items()})

    shared = (1, 3, {2: (1, 3, {})})
    assert unfold(root) == (0, 4, {3: (0, 1, {7: (0, 1, {})}), 5: (1, 4, {1: shared, 4: (3, 4, {})})})
    assert root.find([5, 4]) is root.children[5].children[4]
    assert root.find([5, 9, 9]) is None


def test_documents_that_are_not_in_docid_order_are_refused():
    with pytest.raises(ValueError, match="document 2 is not next to the others"):
        make_dict_trie(torch.tensor([[3, 7], [5, 1], [3, 8]]))


@pytest.mark.parametrize("softmax_over", ["trie", "full"])
def test_generate_with_as_many_beams_as_docids_equals_scoring_every_docid(softmax_over):
    model = make_model((4, 3, 4), softmax_over)
    codes = np.unique(random_codes(20, (4, 3, 4), 1), axis=0)
    docids, (ids, mask) = torch.from_numpy(codes), random_queries(3)
    log_priors = random_log_priors(3, len(codes), 0)
    root = make_dict_trie(model.codes_to_tokens(docids))
    tokens, scores = generate(model, root, ids, mask, len(docids), 5, torch.from_numpy(log_priors))
    leaves, expected = brute_force(model, codes, model.encode(ids, mask), log_priors)
    torch.testing.assert_close(scores, expected[:, :5], atol=1e-4, rtol=0)
    assert tokens.tolist() == model.codes_to_tokens(docids[leaves[:, :5]]).tolist()


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("kind", ["no masses", "masses", "allowed"])
def test_generate_equals_a_search_with_and_without_masses_and_among_allowed_documents(text, kind):
    model = make_text_model(5) if text else make_model((4, 3, 4))
    codes = random_text_docids(60, 5, 1) if text else random_codes(30, (4, 3, 4), 1)
    trie, encoded_queries = Trie.from_codes(np.unique(codes, axis=0)), random_queries(3)
    count, allowed, log_priors = trie.size, None, random_log_priors(3, trie.size, 0)
    docids = trie.generated_codes(torch.arange(count))
    root = make_dict_trie(docids if text else model.codes_to_tokens(docids))
    masses, for_generate = make_masses(trie, log_priors), torch.from_numpy(log_priors)
    if kind == "no masses":
        masses, for_generate = None, None
    elif kind == "allowed":
        allowed = trie.allow(np.arange(0, count, 2))
        masses = make_masses(trie, log_priors, allowed)
        for_generate = torch.full_like(for_generate, -torch.inf)
        for_generate[:, allowed.leaves] = torch.from_numpy(log_priors)[:, allowed.leaves]
    tokens, scores = generate(model, root, *encoded_queries, count, 5, for_generate)
    result = beam_search(model, trie, model.encode(*encoded_queries), count, 5, allowed, masses=masses)
    torch.testing.assert_close(result.scores, scores, atol=1e-4, rtol=0)
    found = docids[result.leaves]
    found = found.masked_fill(found < 0, 1) if text else model.codes_to_tokens(found)  # `generate` pads with EOS
    assert found[..., : tokens.shape[-1]].tolist() == tokens.tolist()


def test_documents_that_share_a_docid_add_their_masses():
    """`generate` finds docids, whose documents then have the share of their masses."""
    model, codes = make_model((3, 4)), random_codes(40, (3, 4), 1)
    trie, encoded_queries, log_priors = Trie.from_codes(codes), random_queries(2), random_log_priors(2, 40, 0)
    docids = model.codes_to_tokens(trie.generated_codes(torch.arange(40)))
    tokens, scores = generate(model, make_dict_trie(docids), *encoded_queries, 12, 4, torch.from_numpy(log_priors))
    result = beam_search(model, trie, model.encode(*encoded_queries), 40, 40, masses=make_masses(trie, log_priors))
    for query in range(2):
        for docid, score in zip(tokens[query], scores[query].tolist(), strict=True):
            has_docid = (docids[result.leaves[query]] == docid).all(1)
            assert result.scores[query][has_docid].logsumexp(0).item() == pytest.approx(score, abs=1e-4)


def test_rankings_are_equal_or_equal_up_to_ties_or_different():
    tokens, scores = torch.tensor([[[1, 2], [3, 4]]]), torch.tensor([[-1.0, -1.00001]])
    assert compare_rankings((tokens, scores), (tokens, scores)) == "yes"
    assert compare_rankings((tokens, scores), (tokens.flip(1), scores)) == "ties"
    assert compare_rankings((tokens, scores), (tokens.flip(1), scores - 0.1)) == "no"
    assert compare_rankings((tokens, scores), (tokens + 1, scores)) == "no"
    assert min(["yes", "ties", "no"]) == "no"
    assert min(["yes", "ties"]) == "ties"
