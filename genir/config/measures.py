"""The names of effectiveness measures: parsing them, and refusing measures that cannot be computed."""

import re
from functools import cache
from typing import Any

MAX_CUTOFF = 1_000_000
EXAMPLES = "examples: nDCG@10, RR@10, R@100"
_CUTOFF = re.compile(r"(?:@|\bcutoff\s*=\s*)([0-9]+)\b(?!\.)")
_JUDGED = {"1": {"a": 2, "b": 0}, "2": {"a": 1}}
_RUN = {"1": {"a": -1.0, "b": -2.0}, "2": {"b": -1.0, "a": -2.0}}


@cache
def parse_measure(name: str) -> Any:
    """Parse a name such as nDCG@10 into an ir-measures object.

    Raises ValueError for a name that ir-measures does not know, and for a measure that cannot be computed: a parameter
    is missing or out of range, or no installed package provides the measure.
    """
    import ir_measures  # slow to import, and rarely needed, since the default measures are not checked

    try:
        measure = ir_measures.parse_measure(name)
    except (ValueError, NameError, KeyError):
        raise ValueError(f"{name!r} is not a measure that ir-measures knows; {EXAMPLES}") from None
    if not isinstance(measure.aggregator(), ir_measures.MeanAgg):
        raise ValueError(f"{name} is a count, and not a measure of quality with a mean over queries; {EXAMPLES}")
    cutoff = measure.params.get("cutoff", 1)
    if type(cutoff) is not int or not 1 <= cutoff <= MAX_CUTOFF:  # trec_eval ends the process if it is 0
        raise ValueError(f"{name}: the cut-off must be a whole number from 1 to {MAX_CUTOFF:,}; {EXAMPLES}")
    if "cutoff" in measure.params and cutoff != find_cutoff(name):  # ir-measures takes 1_0 for 10
        raise ValueError(f"{name}: write the cut-off in the digits 0 to 9; {EXAMPLES}")
    if not 0 <= measure.params.get("recall", 0) <= 1:
        raise ValueError(f"{name} cannot be computed: invalid parameter recall={measure.params['recall']:g}")
    try:
        list(ir_measures.iter_calc([measure], _JUDGED, _RUN))
    except (AssertionError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be computed: {_explain(error)}") from None
    return measure


def _explain(error: Exception) -> str:
    """Say in one line why ir-measures cannot compute a measure."""
    lines = [line.strip(" -") for line in str(error).splitlines()]
    if missing := re.match(r"invalid param (\w+)=<object", lines[0]):
        name = missing[1]
        return f"the parameter {name} is missing" + ("; write it as in R@100" if name == "cutoff" else "")
    if lines[0].startswith("Unsupported measures"):
        found = [line for line in lines[1:] if "install" in line]
        return "no installed package provides it" + (f"; it needs {' or '.join(found)}" if found else "")
    return lines[0].replace("invalid param", "invalid parameter")


def find_cutoff(name: str) -> int | None:
    """Return the cut-off in the name of a measure, such as 10 for nDCG@10; None if it has none, as AP."""
    found = _CUTOFF.search(name)
    return int(found[1]) if found else None
