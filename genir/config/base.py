"""The base class of all config sections, and the types that several sections share."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Mix = Literal["spans", "queries", "pseudo_queries"]
"""The kinds of training examples."""
SoftmaxOver = Literal["level", "full"]
"""What a code's probability is normalised over: the codebook of its level, or the whole vocabulary."""
Loss = Literal["ddro", "s_dpo", "irpo", "adpo", "lipo", "sft"]
"""The losses of the refinement stages, by their names in `genir.losses.LOSSES`."""


class Section(BaseModel):
    """Base class of every section: unknown keys are errors, and values cannot be changed once they are read.

    rare: the names of the settings that `--help` leaves out and only `--help-all` shows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    rare: ClassVar[frozenset[str]] = frozenset()


def _require_positive_weight(weights: dict[Mix, float]) -> dict[Mix, float]:
    if not sum(weights.values()) > 0:
        raise ValueError("at least one weight must be above 0, for example {spans: 1}")
    return weights


MixWeights = Annotated[
    dict[Mix, Annotated[float, Field(ge=0, allow_inf_nan=False)]], AfterValidator(_require_positive_weight)
]
"""Kind of training example -> relative frequency."""
