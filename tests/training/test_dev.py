"""Evaluation on dev queries during training, compared with plain searches and plain sums."""

import numpy as np
import pytest
import torch

from genir.collection.prepared import PreparedCollection
from genir.config import DDROConfig, load_config
from genir.training.candidate_lists import build_candidate_lists, candidate_logps
from genir.training.dev import compute_diagnostics, make_dev_evaluator
from genir.training.examples import LabelledQuery
from indexing.prepare_collection import main as prepare
from tests.helpers.beir import beir_of_own_queries
from tests.helpers.training import CODES


@pytest.mark.slow
def test_the_dev_measure_is_the_mean_over_the_first_dev_queries(beir, tmp_path, make_retriever):
    (tmp_path / "c.yaml").write_text(
        f"collection: {{path: {beir}}}\nruns_dir: {tmp_path / 'runs'}\nsft: {{eval_queries: 5, eval_beams: 12}}\n"
    )
    config = load_config(tmp_path / "c.yaml")
    prepare(config)
    data, retriever = PreparedCollection(config.run_folder / "collection"), make_retriever(CODES, (3, 4))
    evaluate = make_dev_evaluator(config, config.sft, retriever, data)
    relevant = {(j.query_id, j.doc_id) for j in data.judgments("dev") if j.grade > 0}
    for _ in range(2):
        reciprocal_ranks = []
        for query in data.queries("dev")[:5]:
            hits = retriever.search(query.text, k=10, beams=12)
            ranks = [hit.rank for hit in hits if (query.id, hit.doc_id) in relevant]
            reciprocal_ranks.append(1 / ranks[0] if ranks else 0)
        assert evaluate()["RR@10"] == pytest.approx(np.mean(reciprocal_ranks))
        with torch.no_grad():  # the next evaluation must use the new weights
            retriever.model.t5.lm_head.weight.copy_(torch.randn_like(retriever.model.t5.lm_head.weight))


@pytest.mark.slow
def test_the_dev_measure_leaves_out_documents_with_the_id_of_the_query_if_they_are_ignored(tmp_path, make_retriever):
    folder = beir_of_own_queries(tmp_path / "own")
    (tmp_path / "c.yaml").write_text(
        f"collection: {{path: {folder}, ignore_identical_ids: true}}\nruns_dir: {tmp_path / 'runs'}\n"
    )
    config = load_config(tmp_path / "c.yaml")
    prepare(config)
    data, retriever = PreparedCollection(config.run_folder / "collection"), make_retriever(CODES, (3, 4))
    reciprocal_ranks = []
    for query, judgment in zip(data.queries("dev"), data.judgments("dev"), strict=True):
        hits = retriever.search(query.text, k=12, beams=12)
        others = [hit.doc_id for hit in hits if hit.doc_id != query.id]
        rank = others.index(judgment.doc_id) + 1
        reciprocal_ranks.append(1 / rank if rank <= 10 else 0)
    found = make_dev_evaluator(config, config.sft.model_copy(update={"eval_beams": 12}), retriever, data)()
    assert found["RR@10"] == pytest.approx(np.mean(reciprocal_ranks))


@pytest.mark.slow
def test_diagnostics_are_means_over_candidates_and_over_pairs_of_different_grades(make_retriever):
    policy, reference = (make_retriever(CODES, (3, 4), seed=seed) for seed in (1, 2))
    settings = DDROConfig(beam_candidates=5, batch_size=2)
    examples = [LabelledQuery(f"query {i}", (i, i + 1), (1, 3)) for i in range(3)]
    lists = build_candidate_lists(policy, reference, examples, {}, {}, settings)
    policy.model.t5.train()
    found = compute_diagnostics(policy, lists, settings)
    assert policy.model.t5.training
    policy.model.t5.eval()
    with torch.no_grad():
        logps = candidate_logps(policy, lists.texts, lists.doc_indices, settings, lists.seen_only).tolist()
    positive, negative, margins = [], [], []
    for number, row in enumerate(lists.doc_indices.tolist()):
        real = [column for column, doc_index in enumerate(row) if doc_index >= 0]
        grades, reference_row = lists.grades[number].tolist(), lists.reference[number].tolist()
        delta = [p - r for p, r in zip(logps[number], reference_row, strict=True)]
        positive += [logps[number][i] for i in real if grades[i] > 0]
        negative += [logps[number][i] for i in real if grades[i] == 0]
        margins += [delta[i] - delta[j] for i in real for j in real if grades[i] > grades[j]]
    assert found["positive_logp"] == pytest.approx(np.mean(positive), abs=1e-4)
    assert found["negative_logp"] == pytest.approx(np.mean(negative), abs=1e-4)
    assert found["margin"] == pytest.approx(np.mean(margins), abs=1e-4)
    assert found["accuracy"] == pytest.approx(np.mean([margin > 0 for margin in margins]))
    assert np.isfinite(found["ches"])


@pytest.mark.slow
def test_a_policy_that_equals_its_reference_has_no_margin(make_retriever):
    retriever = make_retriever(CODES, (3, 4))
    settings = DDROConfig(beam_candidates=5)
    lists = build_candidate_lists(retriever, retriever, [LabelledQuery("owls", (0,), (1,))], {}, {}, settings)
    assert compute_diagnostics(retriever, lists, settings)["margin"] == pytest.approx(0, abs=1e-5)
