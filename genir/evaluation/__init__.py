"""TREC runs, measures, significance tests and the per-query results of an evaluated run folder."""

from genir.evaluation.results import FIELDS, Value, by_run, load_run_values, read_values, write_values
from genir.evaluation.significance import Interval, bootstrap_interval, holm, paired_test

__all__ = [
    "FIELDS",
    "Interval",
    "Value",
    "bootstrap_interval",
    "by_run",
    "holm",
    "load_run_values",
    "paired_test",
    "read_values",
    "write_values",
]
