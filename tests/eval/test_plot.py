"""Curves of the training stages: what of a log is drawn, and where."""

import json

import pytest

import eval.plot
from eval.plot import curves, refinement_panels
from genir.config import load_config
from genir.evaluation.results import Value, write_values
from genir.files import write_json


@pytest.fixture
def drawn(monkeypatch):
    """The figures that would be saved, by file name: each panel's label -> curve -> points."""
    figures = {}

    def keep(figure, path):
        figures[path.name] = {
            axes.get_ylabel(): {line.get_label(): list(zip(*line.get_data(), strict=True)) for line in axes.lines}
            for axes in figure.axes
        }
        path.touch()
        eval.plot.plt.close(figure)

    monkeypatch.setattr(eval.plot, "save", keep)
    return figures


LOG = [
    {"stage": 1, "step": 0, "eval_RR@10": 0.2, "eval_positive_logp": -1.0, "eval_negative_logp": -3.0},
    {"stage": 1, "step": 10, "loss": 0.7},
    {"stage": 1, "step": 10, "eval_RR@10": 0.3, "eval_positive_logp": -1.5, "eval_negative_logp": -4.0},
    {"stage": 2, "step": 0, "eval_RR@10": 0.3, "eval_positive_logp": -1.5, "eval_negative_logp": -4.0},
    {"stage": 2, "step": 5, "loss": 0.5},
    {"stage": 2, "step": 5, "eval_RR@10": 0.4, "eval_positive_logp": -1.2, "eval_negative_logp": -5.0},
]


def test_rounds_follow_one_another_and_what_was_not_logged_is_left_out(drawn, tmp_path):
    curves(LOG, refinement_panels(["RR@10", "AP"]), tmp_path / "ddro.png")
    panels = drawn["ddro.png"]
    assert panels.keys() == {"loss", "dev measures", "mean log-prob"}
    assert panels["loss"]["loss"] == [(10, 0.7), (15, 0.5)]
    assert panels["dev measures"]["RR@10"] == [(0, 0.2), (10, 0.3), (10, 0.3), (15, 0.4)]
    assert "AP" not in panels["dev measures"]
    assert panels["mean log-prob"]["positives"] == [(0, -1.0), (10, -1.5), (10, -1.5), (15, -1.2)]
    assert panels["mean log-prob"]["negatives"][-1] == (15, -5.0)
    border = [line for name, line in panels["loss"].items() if name != "loss"]
    assert border == [[(10, 0), (10, 1)]]  # in the height of the panel


def test_every_stage_of_an_experiment_is_drawn(drawn, tmp_path):
    (tmp_path / "c.yaml").write_text(
        f"collection: {{path: x}}\nruns_dir: {tmp_path}\nddro: {{}}\n"
        "irpo: {metric: RR@10}\nevaluate: {measures: [RR@10]}\n"
    )
    config = load_config(tmp_path / "c.yaml")
    for name in ("sft", "ddro", "irpo"):
        (config.run_folder / name).mkdir(parents=True)
        (config.run_folder / name / "log.json").write_text(json.dumps(LOG))
    values = [Value("test", run, q, True, "RR@10", x) for run, q, x in (("bm25", "a", 0.5), ("sft", "a", 1.0))]
    write_values(values, config.run_folder / "evaluation" / "per_query.tsv")
    interval = {"all": {"mean": 0.5, "low": 0.4, "high": 0.6, "queries": 1}}
    measures = {"test": {"bm25": {"RR@10": interval}, "sft": {"RR@10": interval}}}
    write_json(config.run_folder / "evaluation" / "measures.json", measures)
    eval.plot.main(config)
    assert drawn.keys() == {"training.png", "ddro.png", "irpo.png", "measures.test.png", "gains.test.png"}
    assert drawn["training.png"].keys() == {"loss", "dev RR@10"}
    assert {path.name for path in (config.run_folder / "figures").iterdir()} == drawn.keys()


def test_what_a_refinement_logs_is_what_is_drawn():
    """The keys of genir.training.dev.diagnostics, read from its own source, all have a panel."""
    import inspect
    import re

    import genir.training.dev

    logged = set(re.findall(r'^        "(\w+)": ', inspect.getsource(genir.training.dev.diagnostics), re.M))
    assert len(logged) >= 5
    keys = {key for lines in refinement_panels([]).values() for key in lines}
    assert {f"eval_{name}" for name in logged} == keys - {"loss"}
