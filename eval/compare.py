"""compare: are the differences between runs larger than chance?"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from genir.card import differences, read_card
from genir.command import ConfigArgument, ForceOption, OverridesArgument, run_command
from genir.config import Config, load_config
from genir.console import console
from genir.errors import GenirError
from genir.evaluation import Value, by_run, holm, paired_test, read_values
from genir.files import atomic_folder, write_json
from genir.stage import Stage, execute

Row = dict[str, str | float | int]


def main(config: Config) -> None:
    """Test all pairs of runs of this run folder."""
    compare(config, {"": config.run})


def compare(config: Config, folders: Mapping[str, Path]) -> None:
    """Test all pairs of runs of some run folders (label -> folder), print the table and write comparison/.

    Folders of different protocol cards are refused: their measures do not measure the same.
    """
    require_same_card(config, list(folders.values()))
    values: list[Value] = []
    for label, folder in folders.items():
        for value in read_values(folder / "evaluation" / "per_query.tsv"):
            values.append(value._replace(run=f"{label}{value.run}"))
    rows = [
        row
        for split in config.search.splits
        for name in config.evaluate.measures
        for row in all_pairs(by_run(values, split, name), split, name, config.seed)
    ]
    with atomic_folder(config.run / "comparison") as folder:
        write_json(folder / "comparison.json", rows)
    console.print(table(rows))


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


def table(rows: list[Row]) -> Table:
    """One line a pair and measure; significant differences are bold."""
    shown = Table(title="b - a, paired randomisation test, Holm-corrected", title_justify="left")
    for name in ("split", "measure", "a", "b"):
        shown.add_column(name, no_wrap=True)
    for name in ("b - a", "better", "worse", "p", "p Holm"):
        shown.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        significant = float(row["p_holm"]) < 0.05
        difference = f"{row['difference']:+.3f}"
        shown.add_row(
            *(str(row[name]) for name in ("split", "measure", "a", "b")),
            f"[bold]{difference}[/]" if significant else difference,
            str(row["better"]),
            str(row["worse"]),
            f"{row['p']:.4f}",
            f"{row['p_holm']:.4f}",
        )
    return shown


def command(
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    others: Annotated[
        list[Path] | None, typer.Option("--with", metavar="RUN", help="Another run folder; can be given several times.")
    ] = None,
    force: ForceOption = False,
) -> None:
    """Test all pairs of runs: paired randomisation test over queries, Holm-corrected over the pairs of a measure.

    With --with RUN the runs of other run folders take part; they must have the same protocol card.
    """
    settings = load_config(config, overrides or [])
    if not others:
        execute(STAGE, main, settings, force)
        return
    compare(settings, {f"{folder.name}/": folder for folder in (settings.run, *others)})


STAGE = Stage("compare", settings=("evaluate", "search.splits"), reads=("evaluation",), writes=("comparison",))

if __name__ == "__main__":
    run_command(command, STAGE.name, STAGE.settings)
