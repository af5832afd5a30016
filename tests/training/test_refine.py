"""The ddro and irpo stages: candidate pools, reference log-probs, and trainings that start where the last one ended."""

import json
import math
import shutil
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import genir.train
import genir.training.refine
from genir.collection.prepared import PreparedCollection
from genir.config import DDROConfig, load_config
from genir.docids import DocidTable
from genir.errors import GenirError
from genir.pipeline.stage import execute
from genir.retriever import Retriever
from genir.t5.loading import load_t5, set_dropout
from genir.training import sft
from genir.training.candidate_lists import CandidateLists, PreferenceCollator, PreferenceData, build_candidate_lists
from genir.training.examples import LabelledQuery
from genir.training.refine import preference_loss, require_differences, warn_of_displacement
from indexing.mine_negatives import main as mine
from indexing.prepare_collection import main as prepare

CODES = np.array([[i // 4, i % 4] for i in range(12)], np.int32)
SHORT = "{steps: 6, batch_size: 4, pool_size: 24, beam_candidates: 4, mined_candidates: 3, candidates_per_step: 5, eval_steps: 3, warmup_steps: 1}"


@pytest.fixture
def config(beir, tmp_path):
    """A run folder that a short sft stage has passed, and a config with both refinements."""
    (tmp_path / "c.yaml").write_text(
        f"""
collection: {{path: {beir}}}
folder: {tmp_path / "runs"}
docids: {{builder: rq, levels: 2, codebook_size: 4}}
model: {{vocabulary: 300}}
sft: {{batch_size: 8, eval_steps: 5, warmup_steps: 1, stages: [{{mix: {{spans: 1, queries: 1}}, steps: 10}}]}}
negatives: {{bands: [{{first: 1, last: 9, count: 3}}]}}
ddro: {SHORT}
irpo: {SHORT}
"""
    )
    loaded = load_config(tmp_path / "c.yaml")
    prepare(loaded)
    data = PreparedCollection(loaded.run / "collection")
    ids, titles = zip(*((d.id, d.title) for d in data.documents), strict=True)
    DocidTable(ids, titles, CODES, (3, 4)).save(loaded.run / "docids")
    mine(loaded)
    execute(sft.STAGE, sft.main, loaded)
    return loaded


def run_train(config, *overrides):
    import typer

    app = typer.Typer()
    app.command()(genir.train.command)
    return CliRunner().invoke(app, [str(config.run_folder), *overrides])


def weights(folder):
    return load_t5(str(folder)).state_dict()


def test_each_stage_starts_from_the_one_before_and_the_last_one_is_delivered(config):
    assert run_train(config).exit_code == 0
    for name in ("ddro", "irpo"):
        log = json.loads((config.run_folder / name / "log.json").read_text())
        load_run_values = [entry for entry in log if "eval_RR@10" in entry]
        assert [entry["step"] for entry in load_run_values] == [0, 3, 6]
        assert load_run_values[0]["eval_margin"] == pytest.approx(
            0, abs=1e-4
        )  # policy and reference are one at the start
        for key in ("positive_logp", "negative_logp", "accuracy", "ches"):
            assert math.isfinite(load_run_values[-1][f"eval_{key}"])
    last, delivered = weights(config.run_folder / "irpo"), weights(config.run_folder / "retriever")
    assert all(torch.equal(last[name], delivered[name]) for name in last)
    assert not (config.run_folder / "retriever" / "log.json").exists()
    again = run_train(config)
    assert again.output.count("up to date") == 4


def test_documents_added_to_the_delivered_retriever_are_never_lost_without_a_word(config):
    """As by `genir docids --add` and --remove."""
    assert run_train(config, "ddro=null", "irpo=null").exit_code == 0
    folder = config.run_folder / "retriever"
    retriever = Retriever.from_pretrained(folder)
    retriever.remove(["d3"])
    retriever.save_pretrained(folder)
    for _ in range(2):
        again = run_train(config, "ddro=null", "irpo=null")
        assert again.exit_code == 0
        assert "changed since the training, and kept" in " ".join(again.output.split())
        assert len(Retriever.from_pretrained(folder).table) == 11
    trained = run_train(config, "ddro=null", "irpo=null", "sft.phases.0.steps=5")
    assert isinstance(trained.exception, GenirError)
    assert "and would now be made anew from sft" in str(trained.exception)
    assert len(Retriever.from_pretrained(folder).table) == 11
    shutil.rmtree(folder)
    after = run_train(config, "ddro=null", "irpo=null", "sft.phases.0.steps=5")
    assert after.output.count("up to date") == 1  # nothing is trained again
    assert len(Retriever.from_pretrained(folder).table) == 12


def test_a_delivery_that_was_cut_short_or_damaged_is_made_again(config):
    assert run_train(config, "ddro=null", "irpo=null").exit_code == 0
    folder, before = config.run_folder / "retriever", json.loads((config.run_folder / "stage.json").read_text())
    (folder / "model.safetensors").unlink()
    assert run_train(config, "ddro=null", "irpo=null").exit_code == 0
    assert (folder / "model.safetensors").exists()
    assert run_train(config, "ddro=null", "irpo=null", "sft.phases.0.steps=5").exit_code == 0
    records = json.loads((config.run_folder / "stage.json").read_text())  # as if killed before the record was written:
    (config.run_folder / "stage.json").write_text(json.dumps(records | {"retriever": before["retriever"]}))
    (config.run_folder / ".hashes.json").write_text("[")
    again = run_train(config, "ddro=null", "irpo=null", "sft.phases.0.steps=5")
    assert again.exit_code == 0
    assert "kept" not in again.output


def test_irpo_can_start_from_sft_beside_ddro(config):
    """Then it is as if there were no ddro stage."""
    found = {}
    for name, changes in {
        "beside": {"irpo": config.irpo.model_copy(update={"start": "sft"})},
        "alone": {"ddro": None},
    }.items():
        changed = config.model_copy(update=changes)
        genir.training.refine.main(changed, "irpo", changed.start("irpo"))
        found[name] = weights(config.run_folder / "irpo")
    assert all(torch.equal(found["beside"][key], value) for key, value in found["alone"].items())


def test_a_stage_starts_from_one_before_it(config, tmp_path):
    with pytest.raises(GenirError, match=r"ddro\.start ddro is not a stage before it"):
        load_config(tmp_path / "c.yaml", ["ddro.start=ddro"])
    with pytest.raises(GenirError, match=r"irpo\.start ddro is not a stage before it; there are: sft, irpo"):
        load_config(tmp_path / "c.yaml", ["ddro=null", "irpo.start=ddro"])


def test_a_killed_refinement_goes_on_to_the_same_weights(config, monkeypatch):
    original = genir.training.refine.fit
    stage, calls = genir.training.refine.stage("ddro", "sft"), []

    def main(settings):
        genir.training.refine.main(settings, "ddro", "sft")

    def broken(*args):
        calls.append(1)
        measures = args[4]
        seen = []

        def stop_at_the_second():
            seen.append(1)
            if len(seen) == 3 and len(calls) == 1:
                raise KeyboardInterrupt
            return measures()

        return original(*args[:4], stop_at_the_second, *args[5:])

    monkeypatch.setattr(genir.training.refine, "fit", broken)
    with pytest.raises(KeyboardInterrupt):
        main(config)
    execute(stage, main, config)
    cut = weights(config.run_folder / "ddro")
    monkeypatch.setattr(genir.training.refine, "fit", original)
    execute(stage, main, config, force=True)
    whole = weights(config.run_folder / "ddro")
    assert all(torch.equal(cut[name], whole[name]) for name in whole)


def test_a_pool_holds_positives_then_negatives_and_the_model_s_own_log_probs(config):
    retriever = Retriever.from_pretrained(config.run_folder / "sft")
    settings = DDROConfig(beam=6, mined=2)
    examples = [
        LabelledQuery("where do owls hunt", (0, 4), (3, 1), "q"),
        LabelledQuery("tea leaves", (1,), (1,)),
    ]
    pool = build_candidate_lists(retriever, retriever, examples, {"q": [0, 4, 8]}, {"q": [8, 5, 0, 7]}, settings)
    assert set(pool.doc_indices[0, :2]) == {0, 4}
    assert dict(zip(pool.doc_indices[0, :2].tolist(), pool.grades[0, :2].tolist(), strict=True)) == {0: 2.0, 4: 1.0}
    negatives = [row for row in pool.doc_indices[0, 2:].tolist() if row >= 0]
    assert not {0, 4, 8} & set(negatives)
    assert 5 in negatives
    assert len(set(negatives)) == len(negatives)
    for number, example in enumerate(examples):
        wanted = {hit.doc_id: hit.score for hit in retriever.search(example.text, k=12, beams=12)}
        for row, logp in zip(pool.doc_indices[number], pool.reference[number].tolist(), strict=True):
            assert logp == pytest.approx(wanted[retriever.table.doc_ids[row]] if row >= 0 else 0, abs=1e-4)


def test_draws_hold_every_positive_and_are_functions_of_seed_and_number(config):
    retriever = Retriever.from_pretrained(config.run_folder / "sft")
    settings = DDROConfig(beam=12, candidates=4)
    examples = [LabelledQuery(f"query {i}", (i, (i + 4) % 12), (3, 1)) for i in range(6)]
    pool = build_candidate_lists(retriever, retriever, examples, {}, {}, settings)
    data, same = (PreferenceData(pool, 60, settings, 7) for _ in range(2))
    for index in (5, 0, 59):
        assert data[index][0] == same[index][0]
        assert (data[index][1] == same[index][1]).all()
    for example, places in (data[i] for i in range(60)):
        assert set(places.tolist()) >= {0, 1}
        assert len(set(places.tolist())) == len(places) == 4
        assert (pool.doc_indices[example, places] >= 0).all()
    assert sorted(data[i][0] for i in range(6)) == list(range(6))  # each example once before any twice


def test_the_loss_of_an_untouched_policy_is_log_two(config):
    """Policy and reference are one: every margin is 0."""
    retriever = Retriever.from_pretrained(config.run_folder / "sft")
    settings = DDROConfig(beam=6)
    examples = [LabelledQuery("owls", (0,), (1,)), LabelledQuery("tea", (1, 5), (1, 3))]
    pool = build_candidate_lists(retriever, retriever, examples, {}, {}, settings)
    data = PreferenceData(pool, 2, settings, 0)
    batch = PreferenceCollator(retriever, pool, 64)([data[0], data[1]])
    loss = preference_loss(settings)(retriever.model, batch)
    assert loss.tolist() == pytest.approx([math.log(2)] * 2, abs=1e-4)


def test_a_policy_trained_with_dropout_is_refined_without(config):
    """Else the first loss would not be log 2: the reference's log-probs have no noise."""
    t5 = load_t5(str(config.run_folder / "sft"))
    set_dropout(t5, 0.5)
    t5.save_pretrained(config.run_folder / "sft")
    assert load_t5(str(config.run_folder / "sft")).config.dropout_rate == 0.5
    genir.training.refine.main(
        config.model_copy(update={"ddro": config.ddro.model_copy(update={"steps": 1})}), "ddro", "sft"
    )
    log = json.loads((config.run_folder / "ddro" / "log.json").read_text())
    assert log[-1]["train_loss"] == pytest.approx(math.log(2), abs=1e-3)


def test_lists_without_any_negative_are_refused_unless_the_loss_needs_none(config):
    (config.run_folder / "negatives" / "negatives.jsonl").write_text("")
    alone = config.ddro.model_copy(update={"beam": 0, "loss": "s_dpo"})
    with pytest.raises(GenirError, match=r"ddro: none of its \d+ lists has a negative: .* Raise ddro\.beam"):
        genir.training.refine.main(config.model_copy(update={"ddro": alone}), "ddro", "sft")
    more = alone.model_copy(update={"loss": "sft", "steps": 1})
    genir.training.refine.main(config.model_copy(update={"ddro": more}), "ddro", "sft")


@pytest.mark.parametrize(("loss", "refused"), [("ddro", False), ("irpo", False), ("s_dpo", True)])
def test_two_grades_are_enough_to_compare(config, loss, refused):
    pool = CandidateLists(["x"], np.array([[3, 4, -1]]), torch.tensor([[2.0, 1.0, 0.0]]), torch.zeros(1, 3))
    settings = config.ddro.model_copy(update={"loss": loss})
    with pytest.raises(GenirError) if refused else nullcontext():
        require_differences("ddro", pool, settings)


def test_what_has_no_grades_is_told_by_its_teacher(config):
    pool = CandidateLists(["x"], np.array([[3, 4, -1]]), torch.tensor([[1.0, 1.0, 0.0]]), torch.zeros(1, 3))
    with pytest.raises(GenirError, match="none of its 1 lists"):
        require_differences("ddro", pool, config.ddro)
    require_differences("ddro", pool, config.ddro.model_copy(update={"teacher": "scores.jsonl"}))


def test_falling_positives_are_told_with_their_remedies(capsys):
    warn_of_displacement("ddro", [{"eval_positive_logp": -1.0}, {"loss": 1.0}, {"eval_positive_logp": -3.5}])
    told = " ".join(capsys.readouterr().out.split())
    assert "fell by 2.50 (their probability to 8%)" in told
    assert "ddro.sft_coef=0.1" in told
    warn_of_displacement("ddro", [{"eval_positive_logp": -1.0}, {"eval_positive_logp": -1.4}])
    assert capsys.readouterr().out == ""
