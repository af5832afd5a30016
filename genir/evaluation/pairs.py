"""Tests of the difference between every two runs, and the table that shows them."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from genir.errors import GenirError
from genir.evaluation.significance import holm, paired_test

Row = dict[str, Any]
"""One row of a result table, as it is written to JSON."""


def compare_pairs(runs: Mapping[str, Mapping[str, float]], split: str, measure: str, seed: int) -> list[Row]:
    """Test every pair of runs on one measure and return a row for each; "p_holm" is Holm-corrected over these pairs.

    runs: run -> query id -> value. seed: the seed of the randomisation test. Raises GenirError if two runs were
    measured on different queries.
    """
    rows: list[Row] = []
    for a, b in combinations(runs, 2):
        if runs[a].keys() != runs[b].keys():
            raise GenirError(
                f"{a} and {b} were measured on different queries of {split}, so they cannot be compared; "
                "genir evaluate --force writes evaluation/per_query.tsv anew"
            )
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


def make_pairs_table(rows: list[Row], split: str) -> Table:
    """Make a table with one line per measure and pair of runs; significant differences are bold.

    In a narrow terminal, names are wrapped and numbers are not.
    """
    table = Table(title=f"{split}: b - a, paired randomisation test, Holm-corrected", title_justify="left")
    table.add_column("measure", no_wrap=True, overflow="fold")
    for name in ("a", "b"):
        table.add_column(name, overflow="fold")
    for name in ("b - a", "better", "worse", "p", "p Holm"):
        table.add_column(name, justify="right", no_wrap=True, min_width=6)
    for row in rows:
        significant = float(row["p_holm"]) < 0.05
        difference = f"{row['difference']:+.3f}"
        table.add_row(
            *(str(row[name]) for name in ("measure", "a", "b")),
            Text(difference, "bold" if significant else ""),
            str(row["better"]),
            str(row["worse"]),
            f"{row['p']:.4f}",
            f"{row['p_holm']:.4f}",
        )
    return table
