"""Beam search against Hugging Face's `generate` with a trie of dicts, with few beams."""

import numpy as np
import pytest
import torch

from genir.benchmarks.hf_generate import generate, make_dict_trie
from genir.decoding.beam import beam_search
from genir.docids.trie import Trie
from tests.helpers.models import make_model, make_text_model
from tests.helpers.search import EOS, make_masses, random_codes, random_log_priors, random_queries, random_text_docids

BOTH = pytest.mark.parametrize("softmax_over", ["trie", "full"])


def unique_at_the_last_code(count, levels, seed):
    """Distinct docids [count, levels] of codes 0 to 5, of which each differs from another one in its last code only.

    A search whose scores end where a docid is unique then runs as many levels as `generate`.
    """
    prefixes = np.unique(random_codes(count, (6,) * (levels - 1), seed), axis=0)[: count // 2]
    return np.concatenate([np.pad(prefixes, ((0, 0), (0, 1)), constant_values=last) for last in (1, 4)])


@pytest.mark.parametrize("v10", [True, False])
@BOTH
@pytest.mark.parametrize(("levels", "beams"), [(2, 4), (3, 2), (3, 10), (12, 5)])
def test_a_search_with_few_beams_equals_generate_with_a_dict_trie(levels, beams, softmax_over, v10):
    """The same docids in the same order with the same scores."""
    model = make_model((6,) * levels, softmax_over, v10)
    codes = unique_at_the_last_code(60, levels, 2)
    trie = Trie.from_codes(codes)
    ids, mask = random_queries(4)
    log_priors, k = random_log_priors(4, trie.size, 0, 1.0), min(4, beams, trie.size)
    root = make_dict_trie(model.codes_to_tokens(trie.codes.long()))
    tokens, scores = generate(model, root, ids, mask, beams, k, torch.from_numpy(log_priors))
    result = beam_search(model, trie, model.encode(ids, mask), beams, k, masses=make_masses(trie, log_priors))
    assert model.codes_to_tokens(trie.codes[result.leaves].long()).tolist() == tokens.tolist()
    torch.testing.assert_close(result.scores, scores, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("beams", "softmax_over"), [(2, "full"), (6, "full"), (60, "trie")])
def test_a_search_of_text_docids_equals_generate(beams, softmax_over):
    """`generate` needs many beams to keep docids that are unique long before their end."""
    model = make_text_model(6, softmax_over=softmax_over)
    codes = np.unique(random_text_docids(200, 6, 2), axis=0)
    trie = Trie.from_codes(codes)
    ids, mask = random_queries(4)
    log_priors = random_log_priors(4, trie.size, 0)
    root = make_dict_trie(trie.generated_codes(torch.arange(trie.size)))
    tokens, scores = generate(model, root, ids, mask, beams, 2, torch.from_numpy(log_priors))
    result = beam_search(model, trie, model.encode(ids, mask), beams, 2, masses=make_masses(trie, log_priors))
    expected = trie.generated_codes(result.leaves)
    expected = expected.masked_fill(expected < 0, EOS)  # as `generate` pads here
    assert expected[..., : tokens.shape[-1]].tolist() == tokens.tolist()
    torch.testing.assert_close(result.scores, scores, atol=1e-4, rtol=0)
