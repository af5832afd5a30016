"""The whole config of one experiment."""

import re
from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator, model_validator

from genir.config.base import Mix, PathText, Section
from genir.config.docids import DocidsConfig, RQConfig
from genir.config.experts import DenseExpertConfig, ExpertsConfig
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

TRAINING_STAGES = ("sft", "ddro", "irpo")
"""All training stages, in order. Each writes a retriever to the folder RUN/STAGE."""
MAX_NAME_BYTES = 200
"""Length of a run's name; file systems allow 255 bytes, and names of temporary files are longer than the run's."""


class Config(Section):
    """All settings of one experiment."""

    rare: ClassVar[frozenset[str]] = frozenset({"threads", "report_to"})
    name: str = Field(description="Name of the run folder; by default the name of the config file.")
    runs_dir: PathText = Field("runs", description="Folder that contains the run folder.")
    seed: int = Field(1, ge=0, le=2_000_000_000, description="Seed of all random number generators.")
    threads: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="Number of CPU threads. Null means the environment variable OMP_NUM_THREADS, or without it the "
        "cores that the process may use.",
    )
    report_to: list[str] = Field(
        ["tensorboard"],
        max_length=16,
        description="Loggers of training, by transformers' names: tensorboard, which writes to RUN/logs, or wandb, "
        "mlflow and others, which must be installed.",
    )
    collection: CollectionConfig
    embed: EmbedConfig = EmbedConfig()
    docids: DocidsConfig = RQConfig()
    queries: QueriesConfig = QueriesConfig()
    model: ModelConfig = ModelConfig()
    experts: ExpertsConfig | None = Field(
        ExpertsConfig(),
        description="Experts that score documents besides the model. Null means pure generative retrieval.",
    )
    sft: SFTConfig = SFTConfig()
    ddro: DDROConfig | None = Field(None, description="Pairwise refinement. Null means that the stage is left out.")
    irpo: IRPOConfig | None = Field(None, description="Listwise refinement. Null means that the stage is left out.")
    baseline: BaselineConfig = BaselineConfig()
    negatives: NegativesConfig = NegativesConfig()
    search: SearchConfig = SearchConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not re.fullmatch(r"[\w.-]+", name) or not name.strip("."):  # "..": the parent folder
            raise ValueError(
                f"{name!r} cannot be the name of a run folder; choose one of letters, digits, _, - and . with name=NAME"
            )
        if len(name.encode()) > MAX_NAME_BYTES:
            raise ValueError(f"{name[:40]}... is too long for the name of a run folder; {MAX_NAME_BYTES} bytes fit")
        return name

    @model_validator(mode="after")
    def _check_sections_fit_together(self) -> "Config":
        if self.evaluate.cutoff > self.search.k:
            raise ValueError(
                f"evaluate.measures need {self.evaluate.cutoff} hits per query; raise search.k ({self.search.k})"
            )
        for number, band in enumerate(self.negatives.bands):
            if band.last < band.first:
                raise ValueError(f"negatives.bands.{number}: last ({band.last}) is below first ({band.first})")
        if self.model.softmax_over == "full" and self.uses_experts:
            raise ValueError("experts need model.softmax_over=trie; with full, set experts=null")
        stages = self.training_stages
        for name in stages:
            if (metric := getattr(self, name).metric) not in self.evaluate.measures:
                raise ValueError(f"{name}.metric {metric} is not among evaluate.measures; add it there")
        for name in stages[1:]:
            if (start := self.start_of(name)) not in stages[: stages.index(name)]:
                raise ValueError(
                    f"{name}.start: {start} is not an earlier training stage; the stages are {', '.join(stages)}"
                )
        return self

    @property
    def uses_experts(self) -> bool:
        """Whether any expert takes part."""
        return self.experts is not None and (self.experts.lexical is not None or self.dense_expert is not None)

    @property
    def dense_expert(self) -> DenseExpertConfig | None:
        """The settings of the dense expert; None if it takes no part, since no model computes vectors, for example."""
        return self.experts.dense if self.experts is not None and self.embed.is_model else None

    @property
    def training_stages(self) -> tuple[str, ...]:
        """The training stages of this experiment, in order; the first is always sft."""
        return tuple(name for name in TRAINING_STAGES if getattr(self, name) is not None)

    def trains_on(self, *kinds: Mix) -> bool:
        """Whether a training mix contains one of these kinds of examples."""
        refinements = (getattr(self, name) for name in self.training_stages[1:])
        return any({*kinds} & {*part.mix} for part in (*self.sft.phases, *refinements))

    def start_of(self, name: str) -> str:
        """The training stage with whose retriever the refinement stage `name` starts."""
        given = getattr(self, name).start
        return given or self.training_stages[self.training_stages.index(name) - 1]

    @property
    def run_folder(self) -> Path:
        """The folder of this run: runs_dir/name."""
        return Path(self.runs_dir) / self.name
