"""The main result of a run, in one sentence."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

DISPLAY_NAMES = {"bm25": "BM25", "experts": "the experts alone", "sft": "SFT", "ddro": "DDRO", "irpo": "IRPO"}


def compose_headline(
    split: str, measure: str, runs: Mapping[str, Any], run: str, baseline: str, tests: Iterable[Mapping[str, Any]]
) -> str:
    """Compose a sentence with a run's result on a split, its difference from a baseline, and the significance of that.

    runs: run -> measure -> "all" -> the fields of an Interval. tests: results of the pairwise tests of a comparison,
    with the corrected p value "p_holm". The significance is omitted if the pair was not tested, and the comparison if
    the run is the baseline.
    """
    own = runs[run][measure]["all"]
    interval = f"{format_value(own['mean'])} [{format_value(own['low'])}, {format_value(own['high'])}]"
    sentence = f"On {split} ({own['queries']:,} queries), {DISPLAY_NAMES.get(run, run)} reaches {measure} {interval}"
    if run == baseline:
        return f"{sentence}."
    other = runs[baseline][measure]["all"]["mean"]
    details = [f"difference {own['mean'] - other:+.3f}".replace("+0.", "+.").replace("-0.", "-.")]
    for test in tests:
        if (test["split"], test["measure"], test["a"], test["b"]) == (split, measure, baseline, run):
            p = test["p_holm"]
            details += ["significant" if p < 0.05 else "not significant", f"Holm-corrected {_format_p(p)}"]
    name = DISPLAY_NAMES.get(baseline, baseline)
    return f"{sentence}, against {format_value(other)} for {name} ({', '.join(details)})."


def format_value(value: float) -> str:
    """Format a measure with three decimals and no leading zero, such as .123; NaN gives an empty string."""
    return "" if math.isnan(value) else f"{value:.3f}".removeprefix("0")


def _format_p(p: float) -> str:
    return "p < .001" if p < 0.001 else "p = " + f"{p:.{2 if p >= 0.1 else 3}f}".removeprefix("0")
