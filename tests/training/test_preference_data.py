"""Random draws from candidate lists and their batches."""

import numpy as np
import pytest

from genir.config import DDROConfig
from genir.training.candidate_lists import build_candidate_lists
from genir.training.examples import LabelledQuery
from genir.training.preference_data import PreferenceCollator, PreferenceDataset
from tests.helpers.training import CODES


@pytest.fixture
def retriever(make_retriever):
    return make_retriever(CODES, (3, 4))


@pytest.mark.slow
def test_a_draw_contains_the_positives_and_depends_only_on_the_seed_and_its_index(retriever):
    settings = DDROConfig(beam_candidates=12, candidates_per_step=4)
    examples = [LabelledQuery(f"query {i}", (i, (i + 4) % 12), (3, 1)) for i in range(6)]
    lists = build_candidate_lists(retriever, retriever, examples, {}, {}, settings)
    data, same = (PreferenceDataset(lists, 60, settings, 7) for _ in range(2))
    for index in (5, 0, 59):
        assert data[index][0] == same[index][0]
        assert (data[index][1] == same[index][1]).all()
    for number, columns in (data[i] for i in range(60)):
        assert set(columns.tolist()) >= {0, 1}
        assert len(set(columns.tolist())) == len(columns) == 4
        assert (lists.doc_indices[number, columns] >= 0).all()
    assert sorted(data[i][0] for i in range(6)) == list(range(6))  # a pass visits every list once


@pytest.mark.slow
def test_the_collator_gathers_the_drawn_candidates_and_pads_shorter_draws(retriever):
    settings = DDROConfig(beam_candidates=6)
    examples = [LabelledQuery("owls", (0,), (1,)), LabelledQuery("tea", (1, 5), (1, 3))]
    lists = build_candidate_lists(retriever, retriever, examples, {}, {}, settings)
    draws = [(1, np.array([1, 0, 2])), (0, np.array([0]))]
    batch = PreferenceCollator(retriever, lists, 64)(draws)
    assert batch["mask"].tolist() == [[True, True, True], [True, False, False]]
    for place, (number, columns) in enumerate(draws):
        count = len(columns)
        documents = retriever.trie.doc_indices[batch["leaves"][place, :count]]
        assert documents.tolist() == lists.doc_indices[number, columns].tolist()
        assert batch["grades"][place, :count].tolist() == lists.grades[number, columns].tolist()
        assert batch["reference"][place, :count].tolist() == lists.reference[number, columns].tolist()
    assert batch["input_ids"].shape == batch["attention_mask"].shape
    assert len(batch["expert_keys"]) == len(batch["expert_scores"]) == 0
