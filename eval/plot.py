"""plot: training curves, measures by stage, and which queries gained."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from genir.command import run_stage
from genir.config import Config
from genir.console import console
from genir.evaluation import by_run, read_values
from genir.files import atomic_folder, read_json
from genir.stage import Stage

matplotlib.use("Agg")  # files only; needs no display
from matplotlib import pyplot as plt


def main(config: Config) -> None:
    """Draw figures/training.png, measures.SPLIT.png and gains.SPLIT.png."""
    metric = config.sft.metric
    with atomic_folder(config.run / "figures") as folder:
        training_curves(read_json(config.run / "sft" / "log.json"), metric, folder / "training.png")
        summary = read_json(config.run / "evaluation" / "measures.json")
        values = read_values(config.run / "evaluation" / "per_query.tsv")
        for split, runs in summary.items():
            measures_by_stage(runs, split, folder / f"measures.{split}.png")
            gains(by_run(values, split, metric), f"{metric}, {split}", folder / f"gains.{split}.png")
        names = sorted(path.name for path in folder.glob("*.png"))
    console.print(f"{config.run / 'figures'}: {', '.join(names)}")


def training_curves(log: list[dict[str, Any]], metric: str, path: Path) -> None:
    """Loss and the dev measure over all steps; stages follow one another."""
    ends = {entry["stage"]: entry["step"] for entry in log}
    before = {stage: sum(ends[s] for s in ends if s < stage) for stage in ends}
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for axes, key, label in ((left, "loss", "loss"), (right, f"eval_{metric}", f"dev {metric}")):
        points = [(before[entry["stage"]] + entry["step"], entry[key]) for entry in log if key in entry]
        axes.plot(*zip(*points, strict=True), marker="o" if key != "loss" else "")
        for end in list(before.values())[1:]:
            axes.axvline(end, color="grey", linestyle=":")
        axes.set(xlabel="step", ylabel=label)
        axes.grid(alpha=0.3)
    save(figure, path)


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


STAGE = Stage("plot", settings=("sft.metric", "evaluate.measures"), reads=("evaluation", "sft"), writes=("figures",))

if __name__ == "__main__":
    run_stage(STAGE, main)
