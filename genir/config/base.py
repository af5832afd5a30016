"""The base class of all config sections, and the types that several sections share."""

import os
import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Mix = Literal["spans", "queries", "pseudo_queries"]
"""The kinds of training examples."""
SoftmaxOver = Literal["trie", "full"]
"""What a code's probability is normalised over: the codes that continue an existing docid, or the whole vocabulary."""
Loss = Literal["ddro", "s_dpo", "irpo", "adpo", "lipo", "sft"]
"""The losses of the refinement stages, by their names in `genir.losses.LOSSES`."""


class Section(BaseModel):
    """Base class of every section: unknown keys are errors, and values cannot be changed once they are read.

    Values are not converted between strings, numbers and booleans, and numbers are finite.

    rare: the names of the settings that `--help` leaves out and only `--help-all` shows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    rare: ClassVar[frozenset[str]] = frozenset()


def _require_positive_weight(weights: dict[Mix, float]) -> dict[Mix, float]:
    if not sum(weights.values()) > 0:
        raise ValueError("at least one weight must be above 0, for example {spans: 1}")
    return weights


MixWeights = Annotated[dict[Mix, Annotated[float, Field(ge=0, le=1e9)]], AfterValidator(_require_positive_weight)]
"""Kind of training example -> relative frequency."""


def _expand_path(text: str) -> str:
    """Expand ~ and environment variables, and raise ValueError for a text that cannot be a path.

    A path that exists as it is written is not expanded: the names of folders may begin with ~ or contain a $.
    """
    if os.path.exists(text):  # noqa: PTH110  Path.exists raises an error for a name that is too long
        return text
    path = os.path.expanduser(os.path.expandvars(text))  # noqa: PTH111  a Path would shorten names such as ./x
    if not path.strip():
        raise ValueError("is empty; give a path or a name")
    if unset := re.search(r"\$(\w+|\{\w+\})", path):
        raise ValueError(f"the environment variable {unset[0]} is not set")
    if path.startswith("~"):
        raise ValueError(f"there is no user {path.split('/')[0]}; write ./{path} for a file of this name")
    if any(character < " " for character in path):
        raise ValueError(f"{path!r} contains a control character")
    if len(path.encode(errors="replace")) >= 4096 or any(len(os.fsencode(name)) > 255 for name in path.split("/")):
        raise ValueError(f"{path[:40]}... is too long for a path: a name has at most 255 bytes, and a path 4,095")
    return path


PathText = Annotated[str, AfterValidator(_expand_path)]
"""A path, in which ~ and environment variables such as $HOME are expanded; or a name, such as that of a model."""

SPLIT_NAME = r"[\w-][\w.-]*"
"""The names that a split can have, which become parts of file names."""
SplitName = Annotated[str, Field(pattern=f"^{SPLIT_NAME}$", max_length=80)]
