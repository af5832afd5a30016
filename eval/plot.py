"""plot: training curves, measures by stage, and which queries gained."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from genir.config import TRAINING_STAGES, Config
from genir.console import console
from genir.evaluation.results import by_run, load_run_values
from genir.files import atomic_folder, read_json
from genir.pipeline.command import run_stage
from genir.pipeline.stage import Stage

matplotlib.use("Agg")  # files only; needs no display
from matplotlib import pyplot as plt

Panels = dict[str, dict[str, str]]
"""label of a panel -> key of the log -> label of its curve"""


def main(config: Config) -> None:
    """Draw the curves of every training stage (training, ddro and irpo.png), measures.SPLIT.png and gains.SPLIT.png.

    A refinement's curves are its loss, the dev measures, and what became of dev log-probs: their means over positives
    and negatives, the margin and accuracy against the reference, and CHES (how alike a positive and its best negative
    are to the model; the higher, the likelier that the positive is displaced).
    """
    metric = config.sft.metric
    with atomic_folder(config.run_folder / "figures") as folder:
        for name in config.training_stages:
            path = config.run_folder / name / "log.json"
            if path.exists():  # an imported retriever has none
                panels = sft_panels(metric) if name == "sft" else refinement_panels(config.evaluate.measures)
                curves(read_json(path), panels, folder / f"{'training' if name == 'sft' else name}.png")
        summary = read_json(config.run_folder / "evaluation" / "measures.json")
        values = load_run_values(config, config.run_folder)
        for split in config.search.splits:
            measures_by_stage(summary[split], split, folder / f"measures.{split}.png")
            gains(by_run(values, split, metric), f"{metric}, {split}", folder / f"gains.{split}.png")
        names = sorted(path.name for path in folder.glob("*.png"))
    console.print(f"{config.run_folder / 'figures'}: {', '.join(names)}")


def sft_panels(metric: str) -> Panels:
    """The loss, and the dev measure that chooses the weights."""
    return {"loss": {"loss": "loss"}, f"dev {metric}": {f"eval_{metric}": metric}}


def refinement_panels(measures: Sequence[str]) -> Panels:
    """What a refinement's log holds (genir.training.dev.diagnostics), by panel."""
    return {
        "loss": {"loss": "loss"},
        "dev measures": {f"eval_{name}": name for name in measures},
        "mean log-prob": {"eval_positive_logp": "positives", "eval_negative_logp": "negatives"},
        "margin over the reference": {"eval_margin": "margin"},
        "pairs in the right order": {"eval_accuracy": "accuracy"},
        "CHES": {"eval_ches": "CHES"},
    }


def curves(log: Sequence[Mapping[str, Any]], panels: Panels, path: Path) -> None:
    """One panel a group of keys, over all steps; stages or rounds follow one another, and a dotted line parts them."""
    ends = {entry["stage"]: entry["step"] for entry in log}
    before = {stage: sum(ends[s] for s in ends if s < stage) for stage in ends}
    found = {label: {x: points(log, key, before) for key, x in keys.items()} for label, keys in panels.items()}
    shown = {
        label: some for label, lines in found.items() if (some := {name: xy for name, xy in lines.items() if xy[0]})
    }
    rows, columns = -(-len(shown) // 3), min(3, len(shown))
    figure, grid = plt.subplots(rows, columns, figsize=(4.6 * columns, 3.4 * rows), squeeze=False, layout="constrained")
    for axes in grid.flat[len(shown) :]:
        axes.remove()
    for axes, (label, lines) in zip(grid.flat, shown.items(), strict=False):
        for name, (steps, values) in lines.items():
            axes.plot(steps, values, marker="" if label == "loss" else "o", markersize=3, label=name)
        for end in list(before.values())[1:]:
            axes.axvline(end, color="grey", linestyle=":")
        axes.set(xlabel="step", ylabel=label)
        axes.grid(alpha=0.3)
        if len(lines) > 1:
            axes.legend()
    save(figure, path)


def points(log: Sequence[Mapping[str, Any]], key: str, before: Mapping[int, int]) -> tuple[list[int], list[float]]:
    """(steps, values) of one key; before: steps of all stages before one. Empty where the log has no such key."""
    some = [(before[entry["stage"]] + entry["step"], entry[key]) for entry in log if key in entry]
    return [step for step, _ in some], [value for _, value in some]


def measures_by_stage(runs: dict[str, Any], split: str, path: Path) -> None:
    """Bars with 95 % intervals, one group a measure."""
    names = list(next(iter(runs.values())))
    figure, axes = plt.subplots(figsize=(1.5 + 1.8 * len(names), 3.8), layout="constrained")
    width = 0.8 / len(runs)
    for number, (run, values) in enumerate(runs.items()):
        means = np.array([values[name]["all"]["mean"] for name in names])
        low = np.array([values[name]["all"]["low"] for name in names])
        high = np.array([values[name]["all"]["high"] for name in names])
        place = np.arange(len(names)) + (number - (len(runs) - 1) / 2) * width
        axes.bar(place, means, width * 0.95, yerr=[means - low, high - means], capsize=3, label=run)
    axes.set_xticks(range(len(names)), names)
    axes.set(ylim=(0, 1), title=f"{split}, 95 % bootstrap intervals")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="lower right")
    save(figure, path)


def gains(runs: Any, title: str, path: Path) -> None:
    """For each run after the first: its difference to the first on every query, sorted."""
    first, *others = runs
    figure, axes = plt.subplots(figsize=(7, 3.8), layout="constrained")
    for run in others:
        difference = sorted((runs[run][query] - runs[first][query] for query in runs[first]), reverse=True)
        better, worse = sum(x > 0 for x in difference), sum(x < 0 for x in difference)
        axes.plot(difference, drawstyle="steps-mid", label=f"{run}: {better} better, {worse} worse")
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set(xlabel="queries, best gain first", ylabel=f"gain over {first}", title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    save(figure, path)


def save(figure: Any, path: Path) -> None:
    """Write a figure and free it."""
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
