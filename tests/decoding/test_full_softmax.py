"""The search with a softmax over the whole vocabulary, where it differs from the one over the trie."""

import numpy as np
import pytest
import torch

from genir.decoding.beam import beam_search
from genir.docids.trie import Trie
from tests.helpers.models import make_model
from tests.helpers.search import make_masses, random_codes, random_log_priors, random_queries


def test_documents_that_share_a_docid_have_its_score_and_are_in_the_order_of_the_collection():
    codes = np.array([[1, 2], [0, 1], [1, 2], [2, 0], [1, 2]])
    model, trie = make_model((3, 3), "full"), Trie.from_codes(codes)
    encoded = model.encode(*random_queries(3))
    result = beam_search(model, trie, encoded, 5, 5)
    with torch.no_grad():
        expected = model.sequence_logps(encoded, torch.from_numpy(codes).expand(3, -1, -1))
    for leaves, scores, logps in zip(result.leaves, result.scores, expected, strict=True):
        documents = trie.doc_indices[leaves].tolist()
        assert [document for document in documents if document in (0, 2, 4)] == [0, 2, 4]
        assert scores.tolist() == pytest.approx([logps[document].item() for document in documents], abs=1e-5)


def test_masses_change_nothing():
    codes = random_codes(30, (4, 4), 1)
    model, trie = make_model((4, 4), "full"), Trie.from_codes(codes)
    encoded = model.encode(*random_queries(2))
    masses = make_masses(trie, random_log_priors(2, 30, 1))
    with_masses, without = (beam_search(model, trie, encoded, 30, 10, masses=x) for x in (masses, None))
    assert torch.equal(with_masses.leaves, without.leaves)
    assert torch.equal(with_masses.scores, without.scores)
