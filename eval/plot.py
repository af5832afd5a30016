"""plot: draw training curves, the measures of each run, and the differences between runs for each query."""

if __name__ == "__main__":  # before the imports below, which take seconds
    from genir.pipeline.interrupts import handle_signals

    handle_signals()

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from genir.config import TRAINING_STAGES, Config
from genir.console import console
from genir.errors import make_printable
from genir.evaluation.results import group_by_run, load_run_values
from genir.files import atomic_folder, read_json
from genir.pipeline.command import run_stage
from genir.pipeline.stage import Stage

matplotlib.use("Agg")  # the back end that writes files and needs no display
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

plt.rcParams["text.parse_math"] = False  # a $ in the name of a run is a $

MARKERS = "os^Dv"
Panels = dict[str, dict[str, str]]
"""Label of a panel -> key of the log -> label of its curve."""


def main(config: Config) -> None:
    """Draw training curves, the measures of each run, and the gains over the first run, and write them to RUN/figures.

    The files are training.png (sft), ddro.png, irpo.png, measures.SPLIT.png and gains.SPLIT.png. The curves of a
    refinement stage are its loss, the dev measures, and diagnostics of the dev log-probs: their means over positives
    and over negatives; the margin, which is how much more the log-prob of a positive has increased over the reference
    than that of a negative; the share of pairs with a margin above 0; and CHES, which says how similar a positive and
    its best negative are to the model: the higher it is, the more likely the log-prob of the positive is to fall in
    training.
    """
    metric = config.sft.metric
    with atomic_folder(config.run_folder / "figures") as folder:
        for name in config.training_stages:
            path = config.run_folder / name / "log.json"
            if path.exists():  # an imported retriever has none
                panels = sft_panels(metric) if name == "sft" else refinement_panels(config.evaluate.measures)
                plot_curves(read_json(path), panels, folder / f"{'training' if name == 'sft' else name}.png")
        summary = read_json(config.run_folder / "evaluation" / "measures.json")
        values = load_run_values(config, config.run_folder)
        for split in config.search.splits:
            plot_measures(summary[split], split, folder / f"measures.{split}.png")
            plot_gains(group_by_run(values, split, metric), f"{metric}, {split}", folder / f"gains.{split}.png")
        names = sorted(path.name for path in folder.glob("*.png"))
    console.print(f"{config.run_folder / 'figures'}: {', '.join(names)}")


def sft_panels(metric: str) -> Panels:
    """Return the panels of the sft stage: the loss, and the dev measure by which the weights are chosen."""
    return {"loss": {"loss": "loss"}, f"dev {metric}": {f"eval_{metric}": metric}}


def refinement_panels(measures: Sequence[str]) -> Panels:
    """Return the panels of a refinement stage, whose log has the keys of `genir.training.dev.compute_diagnostics`."""
    return {
        "loss": {"loss": "loss"},
        "dev measures": {f"eval_{name}": name for name in measures},
        "mean log-prob": {"eval_positive_logp": "positives", "eval_negative_logp": "negatives"},
        "margin over the reference": {"eval_margin": "margin"},
        "pairs in the right order": {"eval_accuracy": "accuracy"},
        "CHES": {"eval_ches": "CHES"},
    }


def plot_curves(log: Sequence[Mapping[str, Any]], panels: Panels, path: Path) -> None:
    """Draw each panel over all training steps, with dotted lines at the beginning of each later phase or round.

    log: the entries of log.json in order, each with its "phase" (or round) and the "step" within it. Panels and curves
    without values in the log are omitted.
    """
    last_step = {entry["phase"]: entry["step"] for entry in log}
    offsets = {phase: sum(last_step[p] for p in last_step if p < phase) for phase in last_step}
    shown: dict[str, dict[str, tuple[list[int], list[float]]]] = {}
    for label, keys in panels.items():
        for key, name in keys.items():
            if any(key in entry for entry in log):
                shown.setdefault(label, {})[name] = extract_curve(log, key, offsets)
    rows, columns = -(-len(shown) // 3), min(3, len(shown))
    figure, grid = plt.subplots(rows, columns, figsize=(4.6 * columns, 3.4 * rows), squeeze=False, layout="constrained")
    for axes in grid.flat[len(shown) :]:
        axes.remove()
    for axes, (label, lines) in zip(grid.flat, shown.items(), strict=False):
        for name, (steps, values) in lines.items():
            axes.plot(steps, values, marker="" if label == "loss" else "o", markersize=3, label=name)
        for start in list(offsets.values())[1:]:
            axes.axvline(start, color="grey", linestyle=":")
        axes.set(xlabel="step", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if label.startswith("dev "):
            zoom_to_values(axes, [value for _, values in lines.values() for value in values])
        axes.grid(alpha=0.3)
        if len(lines) > 1:  # the legend is above the panel, so that it hides no curve
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(lines), fontsize="small", frameon=False,
                        columnspacing=1, handlelength=1.2)  # fmt: skip
    save_figure(figure, path)


def extract_curve(
    log: Sequence[Mapping[str, Any]], key: str, offsets: Mapping[int, int]
) -> tuple[list[int], list[float]]:
    """Return the steps and values of one key of the log; offsets: phase -> number of steps before it."""
    points = [(offsets[entry["phase"]] + entry["step"], entry[key]) for entry in log if key in entry]
    return [step for step, _ in points], [value for _, value in points]


def plot_measures(runs: Mapping[str, Any], split: str, path: Path) -> None:
    """Draw the means of each run as points with their 95 % intervals, in one group per measure.

    runs: run -> measure -> "all" -> the fields of an Interval. The axis starts below the lowest interval, so that
    differences are visible; points are drawn because the length of a bar on such an axis would be misleading.
    """
    names = list(next(iter(runs.values())))
    figure, axes = plt.subplots(figsize=(2.5 + 1.8 * len(names), 3.8), layout="constrained")
    spacing = 0.7 / len(runs)
    for number, (run, values) in enumerate(runs.items()):
        mean, low, high = (np.array([values[name]["all"][key] for name in names]) for key in ("mean", "low", "high"))
        places = np.arange(len(names)) + (number - (len(runs) - 1) / 2) * spacing
        marker = MARKERS[number // 10 % len(MARKERS)]  # there are ten colours
        axes.errorbar(
            places, mean, [mean - low, high - mean], fmt=marker, capsize=3, clip_on=False, label=make_label(run)
        )
    for border in range(len(names) - 1):
        axes.axvline(border + 0.5, color="grey", linewidth=0.5)
    axes.set_xticks(range(len(names)), names)
    axes.set(xlim=(-0.5, len(names) - 0.5), ylabel="mean", title=f"{split}: means and 95 % bootstrap intervals")
    ends = [values[name]["all"][key] for values in runs.values() for name in names for key in ("low", "high")]
    zoom_to_values(axes, ends)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    save_figure(figure, path)


def zoom_to_values(axes: Any, values: Sequence[float]) -> None:
    """Limit the y axis to the range of the values, and say in its label where it starts.

    The axis starts at 0, and the label is not changed, unless all values are far from 0 compared with their range.
    """
    low, high = min(values), max(values)
    step = 0.05 if high - low > 0.05 else 0.01
    start = round(math.floor((low - 0.1 * (high - low)) / step) * step, 2)
    if start <= high - low:
        start = 0.0
    end = high + 0.05 * (high - start or 1)
    axes.set_ylim(start, end)
    if start:
        axes.set_ylabel(f"{axes.get_ylabel()} (axis starts at {start:g})")


def plot_gains(runs: Mapping[str, Mapping[str, float]], title: str, path: Path) -> None:
    """Draw, for each run after the first, its differences from the first run on all queries in decreasing order.

    runs: run -> query id -> value.
    """
    first, *others = runs
    figure, axes = plt.subplots(figsize=(7, 3.8), layout="constrained")
    for run in others:
        difference = sorted((runs[run][query] - runs[first][query] for query in runs[first]), reverse=True)
        better, worse = sum(x > 0 for x in difference), sum(x < 0 for x in difference)
        axes.plot(difference, drawstyle="steps-mid", label=make_label(f"{run}: {better} better, {worse} worse"))
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set(xlabel="queries, largest gain first", ylabel=f"gain over {make_printable(first)}", title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, path)


def make_label(name: str) -> str:
    """The label for the curve of a run; matplotlib leaves out labels that begin with an underscore."""
    return make_printable(f" {name}" if name.startswith("_") else name)


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure and free its memory."""
    figure.savefig(path, dpi=120)
    plt.close(figure)


STAGE = Stage(
    "plot",
    settings=("sft.metric", "evaluate.measures", "search.splits", "ddro", "irpo"),
    reads=("evaluation", *(f"{name}?" for name in TRAINING_STAGES)),
    writes=("figures",),
)

if __name__ == "__main__":
    run_stage(STAGE, main)
