"""The config of an experiment: its sections, reading and checking it, and what `--help` says about its settings."""

from genir.config.base import Loss, Mix, Normalize, Section, Shares
from genir.config.docids import (
    AtomicConfig,
    DocidsConfig,
    KMeansConfig,
    PQConfig,
    RQConfig,
    RQVAEConfig,
    TextConfig,
)
from genir.config.experiment import TRAINED, Config
from genir.config.help import describe
from genir.config.loading import load_config, parse_docids, save_config
from genir.config.sections import (
    Band,
    BaselineConfig,
    CollectionConfig,
    EmbedConfig,
    EvaluateConfig,
    ModelConfig,
    NegativesConfig,
    QueriesConfig,
    SearchConfig,
)
from genir.config.training import (
    DDROConfig,
    IRPOConfig,
    LoopConfig,
    PreferenceConfig,
    SFTConfig,
    SpanConfig,
    TrainStage,
)

__all__ = [
    "TRAINED",
    "AtomicConfig",
    "Band",
    "BaselineConfig",
    "CollectionConfig",
    "Config",
    "DDROConfig",
    "DocidsConfig",
    "EmbedConfig",
    "EvaluateConfig",
    "IRPOConfig",
    "KMeansConfig",
    "LoopConfig",
    "Loss",
    "Mix",
    "ModelConfig",
    "NegativesConfig",
    "Normalize",
    "PQConfig",
    "PreferenceConfig",
    "QueriesConfig",
    "RQConfig",
    "RQVAEConfig",
    "SFTConfig",
    "SearchConfig",
    "Section",
    "Shares",
    "SpanConfig",
    "TextConfig",
    "TrainStage",
    "describe",
    "load_config",
    "parse_docids",
    "save_config",
]
