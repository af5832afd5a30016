"""The config of an experiment: its sections, loading and checking it, and the descriptions of settings for --help."""

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
from genir.config.experts import BM25ExpertConfig, DenseExpertConfig, ExpertsConfig, LexicalExpertConfig
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
    "TRAINING_STAGES",
    "AtomicConfig",
    "BM25ExpertConfig",
    "Band",
    "BaselineConfig",
    "CollectionConfig",
    "Config",
    "DDROConfig",
    "DenseExpertConfig",
    "DocidsConfig",
    "EmbedConfig",
    "EvaluateConfig",
    "ExpertsConfig",
    "IRPOConfig",
    "IRPOOptions",
    "KMeansConfig",
    "LexicalExpertConfig",
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
    "TextConfig",
    "TrainingPhase",
    "load_config",
    "parse_docids",
    "save_config",
    "setting_groups",
]
