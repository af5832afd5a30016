"""Whole runs on collections that have test queries only."""

import json

import pytest

from tests.helpers.processes import ROOT, run_genir
from tests.helpers.small_run import SMALL, write_small_run

pytestmark = pytest.mark.slow

REFINEMENT = "{steps: 4, pool_size: 24, beam_candidates: 4, eval_steps: 2, mix: {queries: 1}}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with both refinement stages over a small collection without train and dev queries."""
    folder = write_small_run(tmp_path_factory.mktemp("no_train"))
    for split in ("train", "dev"):
        (folder / "beir" / "qrels" / f"{split}.tsv").unlink()
    settings = [*SMALL, f"ddro={REFINEMENT}", f"irpo={REFINEMENT}"]
    return folder, run_genir("run", "small.yaml", *settings, cwd=folder)


def read_measures(run):
    by_run = json.loads((run / "evaluation" / "measures.json").read_text())["test"]
    return {name: values["RR@10"]["all"]["mean"] for name, values in by_run.items()}


def test_no_ranking_of_the_run_is_below_bm25(finished):
    folder, _ = finished
    measures = read_measures(folder / "runs" / "small")
    assert list(measures) == ["bm25", "experts", "sft", "ddro", "irpo"]
    assert min(measures.values()) == measures["bm25"] > 0.9


def test_all_stages_finish_and_the_report_says_that_dev_has_pseudo_queries(finished):
    folder, done = finished
    assert "there is no split train, so pseudo queries take the place" in " ".join(done.stdout.split())
    again = run_genir("run", "small.yaml", *SMALL, f"ddro={REFINEMENT}", f"irpo={REFINEMENT}", cwd=folder)
    assert "queries: up to date" in again.stdout
    assert again.stdout.count("up to date") == 15
    states = run_genir("status", "runs/small", cwd=folder).stdout
    assert "queries" in states
    assert not {"stale", "not run"} & {*states.split()}
    report = (folder / "runs" / "small" / "report" / "report.md").read_text()
    assert "pseudo_queries" in report.replace("\\", "")


@pytest.mark.long
def test_a_real_collection_without_train_queries_is_ranked_no_worse_than_by_bm25(tmp_path):
    source, tokenizer = (ROOT.parent / "shared" / "data" / name for name in ("msmarco-doc-sample", "t5-tokenizer"))
    if not (source.exists() and tokenizer.exists()):
        pytest.skip("msmarco-doc-sample and t5-tokenizer are not in ../shared/data")
    quickstart = ROOT / "configs" / "quickstart.yaml"
    training = ["ddro=null", "irpo=null", "sft.phases=[{steps: 5}]", "sft.eval_steps=5", "sft.batch_size=32"]
    # To train a tokenizer on these long documents would take longer than all other stages.
    short = [*training, "search.beams=10", "threads=1", f"model.tokenizer={tokenizer}"]
    run_genir("run", quickstart, "name=x", f"collection.path={source}", *short, "--until", "evaluate", cwd=tmp_path)
    measures = read_measures(tmp_path / "runs" / "x")
    assert measures["bm25"] == pytest.approx(0.889, abs=0.005)
    assert measures["experts"] > measures["bm25"] + 0.03
    assert measures["sft"] > measures["bm25"] + 0.03
