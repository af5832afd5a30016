import inspect
import re

import pytest

import eval.plot
import genir.training.dev
from eval.plot import plot_curves, plot_gains, plot_measures, refinement_panels
from genir.config import load_config
from genir.evaluation.results import MeasureValue, write_values
from genir.files import write_json


@pytest.fixture
def figures(monkeypatch):
    """The figures that a test draws, by file name; the files are left empty."""
    found = {}

    def keep(figure, path):
        found[path.name] = figure
        path.touch()

    monkeypatch.setattr(eval.plot, "save_figure", keep)
    yield found
    eval.plot.plt.close("all")


def read_panels(figure):
    """Return label of a panel -> label of a curve -> its points."""
    return {
        axes.get_ylabel().split(" (axis")[0]: {
            line.get_label(): list(zip(*line.get_data(), strict=True)) for line in axes.lines
        }
        for axes in figure.axes
    }


LOG = [
    {"phase": 1, "step": 0, "eval_RR@10": 0.2, "eval_positive_logp": -1.0, "eval_negative_logp": -3.0},
    {"phase": 1, "step": 10, "loss": 0.7},
    {"phase": 1, "step": 10, "eval_RR@10": 0.3, "eval_positive_logp": -1.5, "eval_negative_logp": -4.0},
    {"phase": 2, "step": 0, "eval_RR@10": 0.3, "eval_positive_logp": -1.5, "eval_negative_logp": -4.0},
    {"phase": 2, "step": 5, "loss": 0.5},
    {"phase": 2, "step": 5, "eval_RR@10": 0.4, "eval_positive_logp": -1.2, "eval_negative_logp": -5.0},
]


def test_rounds_are_drawn_one_after_another_and_keys_missing_from_the_log_are_left_out(figures, tmp_path):
    plot_curves(LOG, refinement_panels(["RR@10", "AP"]), tmp_path / "ddro.png")
    panels = read_panels(figures["ddro.png"])
    assert panels.keys() == {"loss", "dev measures", "mean log-prob"}
    assert panels["loss"]["loss"] == [(10, 0.7), (15, 0.5)]
    assert panels["dev measures"]["RR@10"] == [(0, 0.2), (10, 0.3), (10, 0.3), (15, 0.4)]
    assert "AP" not in panels["dev measures"]
    assert panels["mean log-prob"]["positives"] == [(0, -1.0), (10, -1.5), (10, -1.5), (15, -1.2)]
    assert panels["mean log-prob"]["negatives"][-1] == (15, -5.0)
    border = [line for name, line in panels["loss"].items() if name != "loss"]
    assert border == [[(10, 0), (10, 1)]]  # the second coordinate is relative to the height of the panel


def interval(mean, half):
    return {"all": {"mean": mean, "low": mean - half, "high": mean + half, "queries": 9}}


def test_every_training_stage_of_an_experiment_gets_a_figure(figures, tmp_path):
    (tmp_path / "c.yaml").write_text(
        f"collection: {{path: x}}\nruns_dir: {tmp_path}\nddro: {{}}\n"
        "irpo: {metric: RR@10}\nevaluate: {measures: [RR@10]}\n"
    )
    config = load_config(tmp_path / "c.yaml")
    for name in ("sft", "ddro", "irpo"):
        write_json(config.run_folder / name / "log.json", LOG)
    values = [MeasureValue("test", run, q, True, "RR@10", x) for run, q, x in (("bm25", "a", 0.5), ("sft", "a", 1.0))]
    write_values(values, config.run_folder / "evaluation" / "per_query.tsv")
    measures = {"test": {"bm25": {"RR@10": interval(0.5, 0.1)}, "sft": {"RR@10": interval(0.5, 0.1)}}}
    write_json(config.run_folder / "evaluation" / "measures.json", measures)
    eval.plot.main(config)
    assert figures.keys() == {"training.png", "ddro.png", "irpo.png", "measures.test.png", "gains.test.png"}
    assert read_panels(figures["training.png"]).keys() == {"loss", "dev RR@10"}
    assert {path.name for path in (config.run_folder / "figures").iterdir()} == figures.keys()


def test_every_diagnostic_of_a_refinement_has_a_panel():
    """The keys are read from the source of genir.training.dev.compute_diagnostics."""
    logged = set(re.findall(r'^        "(\w+)": ', inspect.getsource(genir.training.dev.compute_diagnostics), re.M))
    assert len(logged) >= 5
    keys = {key for lines in refinement_panels([]).values() for key in lines}
    assert {f"eval_{name}" for name in logged} == keys - {"loss"}


@pytest.mark.parametrize(
    ("means", "half", "label"),
    [
        ((0.86, 0.88), 0.03, "mean (axis starts at 0.8)"),  # all values are far from 0
        ((0.862, 0.864), 0.004, "mean (axis starts at 0.85)"),
        ((0.1, 0.6), 0.05, "mean"),  # the range reaches down to about 0
        ((0.0, 0.0), 0.0, "mean"),
    ],
)
def test_the_axis_of_measures_starts_below_the_lowest_interval_and_its_label_says_where(
    figures, tmp_path, means, half, label
):
    runs = {f"run{i}": {"RR@10": interval(mean, half), "R@10": interval(mean, half)} for i, mean in enumerate(means)}
    plot_measures(runs, "test", tmp_path / "m.png")
    (axes,) = figures["m.png"].axes
    assert axes.get_ylabel() == label
    bottom, top = axes.get_ylim()
    assert bottom == (float(label.split()[-1][:-1]) if "axis" in label else 0)
    assert bottom <= min(means) - half <= max(means) + half < top
    assert len(axes.containers) == len(means)  # the axes contain points with error bars, but no bars
    assert not axes.patches


def test_names_of_runs_are_no_formulas_and_all_of_them_are_in_the_legend(figures, tmp_path):
    names = ["bm25", "_mine", "$x^2$", "\\frac $", "\x1b[31m"]
    plot_measures({name: {"RR@10": interval(0.5, 0.1)} for name in names}, "test", tmp_path / "m.png")
    (axes,) = figures["m.png"].axes
    texts = axes.get_legend().get_texts()
    assert [text.get_text().strip() for text in texts] == [*names[:4], "\\x1b[31m"]
    assert not any(text.get_parse_math() for text in texts)


def test_gains_are_the_sorted_differences_from_the_first_run(figures, tmp_path):
    runs = {"bm25": {"a": 0.5, "b": 0.5, "c": 0.5}, "sft": {"a": 0.25, "c": 1.0, "b": 0.5}}
    plot_gains(runs, "RR@10, test", tmp_path / "g.png")
    lines = read_panels(figures["g.png"])["gain over bm25"]
    assert [y for _, y in lines["sft: 1 better, 1 worse"]] == [0.5, 0, -0.25]
