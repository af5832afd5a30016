"""The config of an experiment: its sections, reading and checking it, and what `--help` says about its settings."""

from genir.config.base import Loss, Mix, MixWeights, Section, SoftmaxOver
from genir.config.docids import (
    AtomicConfig,
    DocidsConfig,
    KMeansConfig,
    PQConfig,
    RQConfig,
    RQVAEConfig,
    TextConfig,
)
from genir.config.experiment import TRAINING_STAGES, Config
from genir.config.help import SettingGroup, setting_groups
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
    IRPOOptions,
    LoopConfig,
    PreferenceConfig,
    SFTConfig,
    SpanConfig,
    TrainingPhase,
)

__all__ = [
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
    "IRPOOptions",
    "KMeansConfig",
    "LoopConfig",
    "Loss",
    "Mix",
    "MixWeights",
    "ModelConfig",
    "NegativesConfig",
    "PQConfig",
    "PreferenceConfig",
    "QueriesConfig",
    "RQConfig",
    "RQVAEConfig",
    "SFTConfig",
    "SearchConfig",
    "Section",
    "SettingGroup",
    "SoftmaxOver",
    "SpanConfig",
    "TRAINING_STAGES",
    "TextConfig",
    "TrainingPhase",
    "load_config",
    "parse_docids",
    "save_config",
    "setting_groups",
]
