"""What each expert and the model contribute to a measure: the table of evaluate and report, and its file."""

from pathlib import Path
from typing import NamedTuple

from pydantic import ConfigDict, TypeAdapter, ValidationError

from genir.errors import GenirError
from genir.evaluation.headline import format_value
from genir.files import read_json, write_json

COLUMNS = ("part", "weight", "k1", "b", "alone", "without")


class ExpertContribution(NamedTuple):
    """The parameters of an expert, and the measure of two rankings.

    weight: the factor of its scores. k1, b: those of BM25; None for other experts. alone: the measure of the ranking by
    this expert only. without: that of the ranking by all other experts; None if there are none.
    """

    name: str
    weight: float
    k1: float | None
    b: float | None
    alone: float
    without: float | None


class Contributions(NamedTuple):
    """What the parts of a retriever contribute to a measure on the first queries of a split.

    queries: how many of the split's queries were measured. total: how many it has. experts: one entry for each expert.
    together: the measure of the ranking by all experts. run, combined: the run of the last training stage and its
    measure, that is with the model; None if there is no such run. term_weights: a summary of the weights of terms that
    were learned; None if there are none.
    """

    split: str
    measure: str
    queries: int
    total: int
    experts: list[ExpertContribution]
    together: float
    run: str | None = None
    combined: float | None = None
    term_weights: str | None = None

    @property
    def rows(self) -> list[list[str]]:
        """The rows of the table as texts, with the columns COLUMNS: the experts, and the model if it was measured."""
        rows = [
            [e.name, f"{e.weight:.3f}", _format(e.k1), _format(e.b), format_value(e.alone), _format_measure(e.without)]
            for e in self.experts
        ]
        return rows if self.combined is None else [*rows, ["model", "", "", "", "", format_value(self.together)]]

    @property
    def explanation(self) -> str:
        """Sentences that say what the columns are, what all parts reach together, and which terms have weights."""
        first = f"first {self.queries:,} of the {self.total:,}" if self.queries < self.total else f"{self.total:,}"
        model = "" if self.combined is None else f", and with the model (run {self.run}) {format_value(self.combined)}"
        return (
            f'"alone" is {self.measure} of the ranking by this expert only and "without" that of the ranking by all '
            f"other experts; on the {first} queries of {self.split}, all experts together reach "
            f"{format_value(self.together)}{model}." + (f" {self.term_weights}." if self.term_weights else "")
        )


def _format(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _format_measure(value: float | None) -> str:
    return "" if value is None else format_value(value)


def write_contributions(contributions: Contributions, path: Path) -> None:
    """Write the file experts.json."""
    experts = [expert._asdict() for expert in contributions.experts]
    write_json(path, contributions._asdict() | {"experts": experts})


def read_contributions(path: Path) -> Contributions | None:
    """Read a file that `write_contributions` wrote; None if there is none. Raises GenirError if it is damaged."""
    if not path.exists():
        return None
    adapter = TypeAdapter(Contributions, config=ConfigDict(strict=True, allow_inf_nan=False))
    try:
        return adapter.validate_python(read_json(path))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise GenirError(f"{path}: damaged ({where}: {problem['msg']}); run the evaluate stage again") from None
