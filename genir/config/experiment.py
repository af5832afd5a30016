"""The whole config of one experiment."""

import re
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from genir.config.base import Section
from genir.config.docids import DocidsConfig, RQConfig
from genir.config.sections import (
    BaselineConfig,
    CollectionConfig,
    EmbedConfig,
    EvaluateConfig,
    ModelConfig,
    NegativesConfig,
    QueriesConfig,
    SearchConfig,
)
from genir.config.training import DDROConfig, IRPOConfig, SFTConfig

TRAINED = ("sft", "ddro", "irpo")
"""The training stages, in their order; each leaves a retriever in a folder of its name."""


class Config(Section):
    """One experiment."""

    name: str = Field(description="of the run folder; default: the config file's name")
    folder: str = Field("runs", description="that holds the run folder")
    seed: int = Field(1, ge=0, le=2_000_000_000, description="of all that is drawn at random")
    threads: int | None = Field(
        None, ge=1, description="CPU threads; default: OMP_NUM_THREADS, else the cores that this process may use"
    )
    collection: CollectionConfig
    embed: EmbedConfig = EmbedConfig()
    docids: DocidsConfig = RQConfig()
    queries: QueriesConfig = QueriesConfig()
    model: ModelConfig = ModelConfig()
    sft: SFTConfig = SFTConfig()
    ddro: DDROConfig | None = Field(None, description="null: left out")
    irpo: IRPOConfig | None = Field(None, description="null: left out")
    baseline: BaselineConfig = BaselineConfig()
    negatives: NegativesConfig = NegativesConfig()
    search: SearchConfig = SearchConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        if not re.fullmatch(r"[\w.-]+", name) or not name.strip("."):  # .. would be the folder above
            raise ValueError(f"{name!r} cannot name a run folder (letters, digits, _ - .); give one with name=NAME")
        return name

    @model_validator(mode="after")
    def _fits_together(self) -> "Config":
        if self.evaluate.cutoff > self.search.k:
            raise ValueError(f"evaluate.measures need {self.evaluate.cutoff} hits, but search.k is {self.search.k}")
        for number, band in enumerate(self.negatives.bands):
            if band.last < band.first:
                raise ValueError(f"negatives.bands.{number}: last ({band.last}) is below first ({band.first})")
        for name in self.trained:
            if (metric := getattr(self, name).metric) not in self.evaluate.measures:
                raise ValueError(f"{name}.metric {metric} is not among evaluate.measures; add it there")
        for name in self.trained[1:]:
            if (start := self.start(name)) not in self.trained[: self.trained.index(name)]:
                raise ValueError(f"{name}.start {start} is not a stage before it; there are: {', '.join(self.trained)}")
        return self

    @property
    def trained(self) -> tuple[str, ...]:
        """The training stages of this experiment, in their order."""
        return tuple(name for name in TRAINED if getattr(self, name) is not None)

    @property
    def uses_pseudo_queries(self) -> bool:
        """Whether a training mix names them."""
        refinements = (getattr(self, name) for name in self.trained[1:])
        return any("pseudo_queries" in part.mix for part in (*self.sft.stages, *refinements))

    def start(self, name: str) -> str:
        """The stage that a refinement stage starts from."""
        given = getattr(self, name).start
        return given or self.trained[self.trained.index(name) - 1]

    @property
    def run(self) -> Path:
        """The run folder."""
        return Path(self.folder) / self.name
