"""What all sections of a config share."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Mix = Literal["spans", "queries", "pseudo_queries"]
Normalize = Literal["level", "full"]
Loss = Literal["ddro", "s_dpo", "irpo", "adpo", "lipo", "sft"]


class Section(BaseModel):
    """Base of every section: unknown keys are refused, values are fixed once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _has_a_share(mix: dict[Mix, float]) -> dict[Mix, float]:
    if not sum(mix.values()) > 0:
        raise ValueError("at least one share must be above 0, for example {spans: 1}")
    return mix


Shares = Annotated[dict[Mix, Annotated[float, Field(ge=0, allow_inf_nan=False)]], AfterValidator(_has_a_share)]
