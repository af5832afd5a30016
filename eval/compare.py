"""compare: are the differences between runs larger than chance?"""

from collections.abc import Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from genir.config import Config, load_config
from genir.console import console
from genir.errors import GenirError
from genir.evaluation.protocol_card import differences, read_card
from genir.evaluation.replicates import by_name, experiments_of, labels, mean_over_seeds
from genir.evaluation.results import Value, by_run
from genir.evaluation.significance import holm, paired_test
from genir.files import atomic_folder, write_json
from genir.pipeline.command import ConfigArgument, ForceOption, OverridesArgument, run_command
from genir.pipeline.stage import Stage, execute

Row = dict[str, Any]


def main(config: Config) -> None:
    """Test all pairs of runs of this run folder."""
    compare(config, {"": [config.run_folder]}, config.run_folder / "comparison")


def compare(config: Config, experiments: Mapping[str, Sequence[Path]], out: Path) -> None:
    """Test all pairs of runs of some experiments (label -> its run folders, one a seed), print the tables and write
    them into a folder.

    A query's value is its mean over an experiment's folders. Folders of different protocol cards are refused: their
    measures do not measure the same.
    """
    require_same_card(config, [folder for folders in experiments.values() for folder in folders])
    runs: dict[str, list[list[Value]]] = {}  # a run's values in each folder
    for label, folders in experiments.items():
        for run, seeds in by_name(config, folders).items():
            if not any(seeds == known and name.endswith(f"/{run}") for name, known in runs.items()):  # BM25, mostly
                runs[f"{label}{run}"] = seeds
    values = [value for run, seeds in runs.items() for value in mean_over_seeds(run, seeds)]
    rows = [
        row
        for split in config.search.splits
        for name in config.evaluate.measures
        for row in all_pairs(by_run(values, split, name), split, name, config.seed)
    ]
    seeds_table = means(config, runs)
    with atomic_folder(out) as folder:
        write_json(folder / "comparison.json", rows)
        if any(len(folders) > 1 for folders in experiments.values()):
            write_json(folder / "seeds.json", seeds_table)
            console.print(table_of_seeds(seeds_table))
    for split in config.search.splits:
        if found := [row for row in rows if row["split"] == split]:
            console.print(table(found, split))


def means(config: Config, runs: Mapping[str, Sequence[Sequence[Value]]]) -> list[Row]:
    """The mean of each measure and run, over queries and seeds, and of each seed."""
    rows: list[Row] = []
    for split, measure in product(config.search.splits, config.evaluate.measures):
        for run, seeds in runs.items():
            by_seed = [list(by_run(values, split, measure).values()) for values in seeds]
            if not all(by_seed):
                continue  # a run file of one's own may be of some splits only
            each = [float(np.mean(list(values[0].values()))) for values in by_seed]
            rows.append({"split": split, "measure": measure, "run": run, "mean": float(np.mean(each)), "seeds": each})
    return rows


def require_same_card(config: Config, folders: Sequence[Path]) -> None:
    """Raise GenirError, with what differs, unless all folders were measured on the same documents and queries."""
    cards = [read_card(folder) for folder in folders]
    for folder, card in zip(folders[1:], cards[1:], strict=True):
        if found := differences(cards[0], card, config.search.splits):
            raise GenirError(f"{folders[0]} and {folder} cannot be compared: {'; '.join(found)}")
        if cards[0]["splits"].get("train") != card["splits"].get("train"):
            console.print(f"[yellow]note:[/] {folders[0]} and {folder} were trained on different train queries")


def all_pairs(runs: Mapping[str, Mapping[str, float]], split: str, measure: str, seed: int) -> list[Row]:
    """Every pair of runs on one measure; p values are corrected (Holm) over the pairs."""
    rows: list[Row] = []
    for a, b in combinations(runs, 2):
        if runs[a].keys() != runs[b].keys():
            raise GenirError(f"{a} and {b} were measured on different queries of {split}; they cannot be compared")
        left, right = [runs[a][query] for query in runs[a]], [runs[b][query] for query in runs[a]]
        difference = np.asarray(right) - np.asarray(left)
        rows.append(
            {
                "split": split,
                "measure": measure,
                "a": a,
                "b": b,
                "difference": float(difference.mean()),
                "better": int((difference > 0).sum()),
                "worse": int((difference < 0).sum()),
                "p": paired_test(left, right, seed),
            }
        )
    for row, corrected in zip(rows, holm([float(row["p"]) for row in rows]), strict=True):
        row["p_holm"] = float(corrected)
    return rows


def table(rows: list[Row], split: str) -> Table:
    """One line a pair and measure; significant differences are bold. Long names are folded, numbers are never cut."""
    shown = Table(title=f"{split}: b - a, paired randomisation test, Holm-corrected", title_justify="left")
    shown.add_column("measure", no_wrap=True, overflow="fold")
    for name in ("a", "b"):
        shown.add_column(name, overflow="fold")
    for name in ("b - a", "better", "worse", "p", "p Holm"):
        shown.add_column(name, justify="right", no_wrap=True, min_width=6)
    for row in rows:
        significant = float(row["p_holm"]) < 0.05
        difference = f"{row['difference']:+.3f}"
        shown.add_row(
            *(str(row[name]) for name in ("measure", "a", "b")),
            f"[bold]{difference}[/]" if significant else difference,
            str(row["better"]),
            str(row["worse"]),
            f"{row['p']:.4f}",
            f"{row['p_holm']:.4f}",
        )
    return shown


def table_of_seeds(rows: list[Row]) -> Table:
    """One line a measure and run: the mean, and what each seed gave."""
    shown = Table(title="means over the seeds", title_justify="left")
    for name in ("split", "measure", "run"):
        shown.add_column(name, overflow="fold")
    for name in ("mean", "seeds"):
        shown.add_column(name, justify="right", min_width=6)
    for row in rows:
        seeds = "  ".join(f"{value:.3f}" for value in row["seeds"])
        shown.add_row(row["split"], row["measure"], row["run"], f"{row['mean']:.4f}", seeds)
    return shown


def command(
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    others: Annotated[
        list[Path] | None,
        typer.Option("--other", metavar="RUN", help="Another run folder; can be given several times."),
    ] = None,
    over_seeds: Annotated[
        bool, typer.Option("--over-seeds", help="Run folders that differ in their seed only are one experiment.")
    ] = False,
    force: ForceOption = False,
) -> None:
    """Test all pairs of runs: paired randomisation test over queries, Holm-corrected over the pairs of a measure.

    With --other RUN the runs of other run folders take part; they must have the same protocol card, and what was found
    goes to comparison_with/, beside the run's own comparison/. With --over-seeds as well, folders that differ only in
    their seed count as one, and a query's value is its mean over them.
    """
    settings = load_config(config, overrides or [])
    if not others:
        if over_seeds:
            raise GenirError("--over-seeds: name the run folders of the other seeds, each after --other")
        execute(STAGE, main, settings, force)
        return
    folders = [settings.run_folder, *others]
    for folder in folders:
        if not folder.is_dir():
            raise GenirError(f"{folder}: no such run folder")
    if over_seeds:
        experiments = experiments_of(folders)
    else:
        experiments = {label: [folder] for label, folder in zip(labels(folders), folders, strict=True)}
    compare(settings, experiments, settings.run_folder / "comparison_with")


STAGE = Stage("compare", settings=("evaluate", "search.splits"), reads=("evaluation",), writes=("comparison",))

if __name__ == "__main__":
    run_command(command, STAGE.name, STAGE.settings)
