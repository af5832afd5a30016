"""Evaluation: TREC runs, measures, significance tests, and the per-query results of an evaluated run folder."""

from genir.evaluation.results import FIELDS, MeasureValue, group_by_run, load_run_values, read_values, write_values
from genir.evaluation.significance import Interval, bootstrap_interval, holm, paired_test

__all__ = [
    "FIELDS",
    "Interval",
    "MeasureValue",
    "bootstrap_interval",
    "group_by_run",
    "holm",
    "load_run_values",
    "paired_test",
    "read_values",
    "write_values",
]
