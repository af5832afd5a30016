"""The refinement stages ddro and irpo: their starting points, their resumption, and their losses."""

import json
import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from genir.config import DDROConfig, IRPOConfig, IRPOOptions
from genir.errors import GenirError
from genir.losses import CandidateBatch, dpop_penalty, irpo, sft
from genir.retriever import Retriever
from genir.t5.loading import load_t5, set_dropout
from genir.training.callbacks import MarkComplete
from genir.training.candidate_lists import CandidateLists, build_candidate_lists
from genir.training.examples import LabelledQuery
from genir.training.preference_data import PreferenceCollator, PreferenceDataset
from genir.training.refine import irpo_loss, main, make_preference_loss, require_comparisons, warn_of_displacement
from tests.helpers.beir import small_beir
from tests.helpers.retrievers import make_documents, with_bm25
from tests.helpers.training import CODES, copy_run, make_trained_run, score_in_groups

NOT_RESTRICTED = torch.tensor([False])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return make_trained_run(small_beir(folder / "beir"), folder)


@pytest.fixture
def config(trained, tmp_path):
    return copy_run(trained, tmp_path)


def weights(folder):
    return load_t5(str(folder)).state_dict()


def change(config, name, **settings):
    """Return the config with some settings of a refinement stage changed."""
    return config.model_copy(update={name: getattr(config, name).model_copy(update=settings)})


@pytest.mark.slow
def test_irpo_that_starts_from_sft_does_not_depend_on_ddro(config):
    found = {}
    for name, changed in {
        "with ddro": change(config, "irpo", start="sft"),
        "without ddro": config.model_copy(update={"ddro": None}),
    }.items():
        main(changed, "irpo", changed.start_of("irpo"))
        found[name] = weights(config.run_folder / "irpo")
    assert all(torch.equal(found["with ddro"][key], value) for key, value in found["without ddro"].items())


@pytest.mark.slow
def test_an_interrupted_refinement_resumes_with_identical_results(config, monkeypatch):
    """The second of two rounds is interrupted after its first checkpoint."""
    config = change(config, "ddro", rounds=2, update_reference=True)
    original, saves = MarkComplete.on_save, []

    def stop_at_the_third(self, args, state, control, **kwargs):
        original(self, args, state, control, **kwargs)
        saves.append(state.global_step)
        if len(saves) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(MarkComplete, "on_save", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        main(config, "ddro", "sft")
    main(config, "ddro", "sft")
    assert saves == [3, 6, 3, 6]
    interrupted = weights(config.run_folder / "ddro")
    log = json.loads((config.run_folder / "ddro" / "log.json").read_text())
    assert [(e["phase"], e["step"]) for e in log if "eval_RR@10" in e] == [
        (1, 0),
        (1, 3),
        (1, 6),
        (2, 0),
        (2, 3),
        (2, 6),
    ]
    main(config, "ddro", "sft")
    uninterrupted = weights(config.run_folder / "ddro")
    assert all(torch.equal(interrupted[name], uninterrupted[name]) for name in uninterrupted)


@pytest.mark.slow
def test_a_policy_that_was_trained_with_dropout_is_refined_without_dropout(config):
    """With dropout, the first loss would not be log 2, because the log-probs of the policy would be noisy."""
    retriever = Retriever.from_pretrained(config.run_folder / "sft")
    set_dropout(retriever.model.t5, 0.5)
    retriever.save_pretrained(config.run_folder / "sft")
    assert load_t5(str(config.run_folder / "sft")).config.dropout_rate == 0.5
    main(change(config, "ddro", steps=10, learning_rate=1e-12), "ddro", "sft")
    log = json.loads((config.run_folder / "ddro" / "log.json").read_text())
    assert [entry["loss"] for entry in log if "loss" in entry] == [pytest.approx(math.log(2), abs=1e-3)]


@pytest.mark.slow
def test_lists_without_any_negative_are_an_error_unless_the_loss_compares_nothing(config):
    (config.run_folder / "negatives" / "negatives.jsonl").write_text("")
    with pytest.raises(GenirError, match=r"ddro: none of the \d+ candidate lists has a negative: .* Raise ddro\.beam_"):
        main(change(config, "ddro", beam_candidates=0, loss="s_dpo"), "ddro", "sft")
    main(change(config, "ddro", beam_candidates=0, loss="sft", steps=1), "ddro", "sft")


@pytest.mark.parametrize(("loss", "refused"), [("ddro", False), ("irpo", False), ("s_dpo", True)])
def test_only_s_dpo_needs_a_candidate_of_grade_zero(loss, refused):
    lists = CandidateLists(
        ["x"], np.array([[3, 4, -1]]), torch.tensor([[2.0, 1.0, 0.0]]), torch.zeros(1, 3), NOT_RESTRICTED
    )
    with pytest.raises(GenirError) if refused else nullcontext():
        require_comparisons("ddro", lists, DDROConfig(loss=loss))


def test_equal_grades_are_an_error_without_a_teacher():
    lists = CandidateLists(
        ["x"], np.array([[3, 4, -1]]), torch.tensor([[1.0, 1.0, 0.0]]), torch.zeros(1, 3), NOT_RESTRICTED
    )
    with pytest.raises(GenirError, match="none of the 1 candidate lists"):
        require_comparisons("ddro", lists, DDROConfig())
    require_comparisons("ddro", lists, DDROConfig(teacher="scores.jsonl"))


@pytest.fixture(params=[False, True])
def batch(make_retriever, request):
    """A policy, with or without experts, and a batch of candidate lists whose reference has the same weights."""
    retriever = make_retriever(CODES, (3, 4))
    if request.param:
        retriever = with_bm25(retriever, make_documents(12))
    settings = DDROConfig(beam_candidates=6)
    examples = [LabelledQuery("owls", (0,), (1,)), LabelledQuery("tea", (1, 5), (1, 3))]
    lists = build_candidate_lists(retriever, retriever, examples, {}, {}, settings)
    data = PreferenceDataset(lists, 2, settings, 0)
    return retriever, PreferenceCollator(retriever, lists, 64)([data[0], data[1]])


def compute_loss(policy, settings, tensors):
    """The loss of each list of a batch under the current weights of the policy."""
    logps = score_in_groups(policy, tensors, candidate_chunk=settings.candidate_chunk)
    return make_preference_loss(policy, settings)(logps, tensors)


def test_the_pairwise_loss_of_a_policy_that_equals_its_reference_is_log_two(batch):
    policy, tensors = batch
    assert compute_loss(policy, DDROConfig(), tensors).tolist() == pytest.approx([math.log(2)] * 2, abs=1e-4)


@pytest.mark.slow
def test_remedies_add_their_terms_times_their_coefficients(batch):
    policy, tensors = batch
    logps = tensors["reference"]
    tensors = tensors | {"reference": logps + 0.5}  # every positive has lost 0.5
    plain = compute_loss(policy, DDROConfig(), tensors)
    with_remedies = compute_loss(policy, DDROConfig(sft_coef=0.1, dpop_coef=2), tensors)
    c = CandidateBatch(logps, tensors["reference"], tensors["grades"], tensors["mask"])
    assert dpop_penalty(c).tolist() == pytest.approx([0.5, 0.5], abs=1e-4)
    torch.testing.assert_close(with_remedies, plain + 0.1 * sft(c, 1.0) + 1.0, rtol=1e-4, atol=1e-4)


def test_mean_logps_divides_log_probs_by_the_length_of_the_docid(batch):
    policy, tensors = batch
    tensors = tensors | {"reference": torch.zeros_like(tensors["reference"])}
    halved = compute_loss(policy, DDROConfig(mean_logps=True, beta=2.0), tensors)  # docids have two codes
    torch.testing.assert_close(halved, compute_loss(policy, DDROConfig(beta=1.0), tensors))


def test_scoring_candidates_in_chunks_changes_neither_the_loss_nor_its_gradients(batch):
    policy, tensors = batch
    tensors = tensors | {"reference": torch.zeros_like(tensors["reference"])}
    found = []
    for chunk in (64, 1, 3):
        policy.model.t5.zero_grad()
        loss = compute_loss(policy, DDROConfig(candidate_chunk=chunk), tensors)
        loss.sum().backward()
        found.append((loss.detach(), {name: p.grad.clone() for name, p in policy.model.t5.named_parameters()}))
    for loss, gradients in found[1:]:
        torch.testing.assert_close(loss, found[0][0])
        torch.testing.assert_close(gradients, found[0][1], atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize(
    ("discount_by", "positions"), [("ideal", None), ("policy", [[3, 1, 2, 4]]), ("reference", [[1, 2, 3, 4]])]
)
def test_irpo_discounts_by_the_ranking_of_the_chosen_scores(discount_by, positions):
    mask = torch.tensor([[True, True, True, False]])
    c = CandidateBatch(
        torch.tensor([[-3.0, -1.0, -2.0, 0.0]]),
        torch.tensor([[-1.0, -2.0, -3.0, 0.0]]),
        torch.tensor([[2, 1, 0, 0]]),
        mask,
    )
    settings = IRPOConfig(irpo_options=IRPOOptions(discount_by=discount_by, average_others=True))
    wanted = irpo(c, settings.beta, positions and torch.tensor(positions), average_others=True)
    torch.testing.assert_close(irpo_loss(c, settings), wanted)


def test_a_large_drop_in_the_log_probability_of_positives_prints_a_warning_with_remedies(capsys):
    warn_of_displacement("ddro", [{"eval_positive_logp": -1.0}, {"loss": 1.0}, {"eval_positive_logp": -3.5}])
    output = " ".join(capsys.readouterr().out.split())
    assert "fell by 2.50 (their probability to 8% of its first value)" in output
    assert "ddro.sft_coef=0.1" in output
    warn_of_displacement("ddro", [{"eval_positive_logp": -1.0}, {"eval_positive_logp": -1.4}])
    assert capsys.readouterr().out == ""
