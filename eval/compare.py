"""compare: test the significance of the differences between runs."""

if __name__ == "__main__":  # before the imports below, which take seconds
    from genir.pipeline.interrupts import handle_signals

    handle_signals()

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from genir.config import Config, load_config
from genir.console import console, print_note
from genir.errors import GenirError
from genir.evaluation.pairs import Row, compare_pairs, make_pairs_table
from genir.evaluation.protocol_card import find_differences, read_card
from genir.evaluation.replicates import average_over_seeds, group_by_experiment, load_replicates, unique_labels
from genir.evaluation.results import MeasureValue, group_by_run
from genir.files import atomic_folder, write_json
from genir.pipeline.command import ConfigArgument, ForceOption, OverridesArgument, run_command
from genir.pipeline.stage import Stage, execute
from genir.processes import require_single_process


def main(config: Config) -> None:
    """Test all pairs of runs of this run folder and write RUN/comparison/comparison.json."""
    compare(config, {"": [config.run_folder]}, config.run_folder / "comparison")


def compare(config: Config, experiments: Mapping[str, Sequence[Path]], out: Path) -> None:
    """Test all pairs of runs of several experiments, print the results and write them to the folder `out`.

    experiments: label -> the run folders of the experiment, one per seed. The value of a query is its mean over these
    folders. Raises GenirError if the protocol cards of two folders differ, because their measures are not comparable.
    """
    require_same_card(config, [folder for folders in experiments.values() for folder in folders])
    runs: dict[str, list[list[MeasureValue]]] = {}  # run -> its values in each folder
    for label, folders in experiments.items():
        for run, seeds in load_replicates(config, folders).items():
            # A run with the name and values of an earlier one is left out; usually it is BM25, which needs no seed.
            same = [name for name, known in runs.items() if seeds == known and name.endswith(f"/{run}")]
            if same:
                print_note(f"{label}{run} has the same values as {same[0]} and is left out")
            else:
                runs[f"{label}{run}"] = seeds
    values = [value for run, seeds in runs.items() for value in average_over_seeds(run, seeds)]
    rows = [
        row
        for split in config.search.splits
        for name in config.evaluate.measures
        for row in compare_pairs(group_by_run(values, split, name), split, name, config.seed)
    ]
    seed_rows = list_means(config, runs)
    with atomic_folder(out) as folder:
        write_json(folder / "comparison.json", rows)
        if any(len(folders) > 1 for folders in experiments.values()):
            write_json(folder / "seeds.json", seed_rows)
            console.print(make_seeds_table(seed_rows))
    for split in config.search.splits:
        if found := [row for row in rows if row["split"] == split]:
            console.print(make_pairs_table(found, split))


def require_same_card(config: Config, folders: Sequence[Path]) -> None:
    """Raise GenirError, naming the differences, unless all folders were measured on the same documents and queries.

    Different train queries do not make measures incomparable; only a note is printed.
    """
    cards = [read_card(folder) for folder in folders]
    for folder, card in zip(folders[1:], cards[1:], strict=True):
        if found := find_differences(cards[0], card, config.search.splits):
            raise GenirError(f"{folders[0]} and {folder} cannot be compared: {'; '.join(found)}")
        if cards[0]["splits"].get("train") != card["splits"].get("train"):
            print_note(f"{folders[0]} and {folder} were trained on different train queries")


def list_means(config: Config, runs: Mapping[str, Sequence[Sequence[MeasureValue]]]) -> list[Row]:
    """List the mean over queries and seeds, and the mean of each seed, for each split, measure and run."""
    rows: list[Row] = []
    for split, measure in product(config.search.splits, config.evaluate.measures):
        for run, seeds in runs.items():
            by_seed = [list(group_by_run(values, split, measure).values()) for values in seeds]
            if not all(by_seed):
                continue  # a run file that the user added may cover only some of the splits
            each = [float(np.mean(list(values[0].values()))) for values in by_seed]
            rows.append({"split": split, "measure": measure, "run": run, "mean": float(np.mean(each)), "seeds": each})
    return rows


def make_seeds_table(rows: list[Row]) -> Table:
    """Make a table with one line per measure and run: the mean over the seeds, and the value of each seed."""
    table = Table(title="means over the seeds", title_justify="left")
    for name in ("split", "measure", "run"):
        table.add_column(name, overflow="fold")
    for name in ("mean", "seeds"):
        table.add_column(name, justify="right", min_width=6)
    for row in rows:
        seeds = "  ".join(f"{value:.3f}" for value in row["seeds"])
        table.add_row(row["split"], row["measure"], row["run"], f"{row['mean']:.4f}", seeds)
    return table


def command(
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    others: Annotated[
        list[Path] | None,
        typer.Option("--other", metavar="RUN", help="Another run folder to compare with; can be given several times."),
    ] = None,
    over_seeds: Annotated[
        bool,
        typer.Option("--over-seeds", help="Average the results of run folders that differ only in the seed."),
    ] = False,
    force: ForceOption = False,
) -> None:
    """Test all pairs of runs with a paired randomisation test over queries, Holm-corrected over the pairs of a measure.

    The results are written to RUN/comparison. With --other, the runs of other run folders are compared as well; these
    folders must have the same protocol card, and the results are written to RUN/comparison_between_runs instead. If
    --over-seeds is given too, run folders that differ only in the seed count as one experiment, in which the value of a
    query is its mean over the folders.
    """
    settings = load_config(config, overrides or [])
    if not others:
        if over_seeds:
            raise GenirError("--over-seeds: name the run folders of the other seeds, each after --other")
        execute(STAGE, main, settings, force)
        return
    require_single_process()
    folders = [settings.run_folder, *others]
    for folder in folders:
        if not folder.is_dir():
            raise GenirError(f"{folder}: no such run folder")
    if over_seeds:
        experiments = group_by_experiment(folders)
    else:
        experiments = {label: [folder] for label, folder in zip(unique_labels(folders), folders, strict=True)}
    compare(settings, experiments, settings.run_folder / "comparison_between_runs")


STAGE = Stage("compare", settings=("evaluate", "search.splits"), reads=("evaluation",), writes=("comparison",))

if __name__ == "__main__":
    run_command(command, STAGE.name, STAGE.settings)
