"""The sections of training: sft, ddro and irpo."""

from typing import Literal

from pydantic import Field

from genir.config.base import Loss, Section, Shares


class TrainStage(Section):
    """One part of the curriculum; each starts from the weights of the one before."""

    mix: Shares = Field({"spans": 0.7, "queries": 0.3}, description="share of each kind of example")
    steps: int = Field(1000, ge=1)
    learning_rate: float = Field(3e-4, gt=0)


class SpanConfig(Section):
    """Random spans of a document's words stand in for queries and teach words -> docid."""

    min_words: int = Field(3, ge=1)
    max_words: int = Field(16, ge=1)
    word_dropout: float = Field(0.33, ge=0, lt=1)
    title_share: float = Field(0.5, ge=0, le=1, description="of the spans, preceded by the title")


class LoopConfig(Section):
    """What every training loop has."""

    batch_size: int = Field(128, ge=1)
    max_tokens: int = Field(64, ge=4, description="of the input text")
    embedding_rate: float = Field(2.0, gt=0, description="learning rate of the embeddings, as a multiple")
    warmup_steps: int = Field(50, ge=0)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    eval_steps: int = Field(100, ge=1, description="steps between measures on dev, and between checkpoints")
    eval_queries: int = Field(500, ge=1, description="dev queries measured while training")
    eval_beams: int = Field(10, ge=1)
    metric: str = Field("RR@10", description="the dev measure that chooses the weights and stops early")
    patience: int = Field(5, ge=1, description="evaluations without gain before a stage stops")
    spans: SpanConfig = SpanConfig()
    query_word_dropout: float = Field(0.2, ge=0, lt=1)


class SFTConfig(LoopConfig):
    """Supervised training: text -> docid."""

    stages: list[TrainStage] = Field([TrainStage()], min_length=1)


class PreferenceConfig(LoopConfig):
    """Refinement of the stage before: candidates of a query are scored against the frozen start (the reference)."""

    start: Literal["sft", "ddro"] | None = Field(None, description="the stage to refine; null: the one before")
    loss: Loss = "ddro"
    beta: float = Field(0.4, gt=0, description="how far the policy may leave the reference: small is far")
    steps: int = Field(200, ge=1, description="in each round")
    learning_rate: float = Field(3e-5, gt=0)
    batch_size: int = Field(32, ge=1, description="queries; each brings its candidates")
    embedding_rate: float = Field(1.0, gt=0, description="learning rate of the embeddings, as a multiple")
    mix: Shares = Field({"spans": 0.5, "queries": 0.5}, description="share of each kind of example")
    pool: int = Field(4096, ge=1, description="examples drawn from the mix and given candidates in each round")
    beam: int = Field(16, ge=0, description="candidates from the policy's own beam, for every example")
    mined: int = Field(16, ge=0, description="candidates from negatives.jsonl, for the queries that are there")
    candidates: int = Field(16, ge=2, description="of an example in one step: its positives, then a random choice")
    at_once: int = Field(64, ge=1, description="candidates scored in one pass; longer lists take two exact passes")
    mean_logps: bool = Field(False, description="a docid's log-prob is the mean over its tokens, not the sum")
    positions: Literal["ideal", "model", "reference"] = Field("ideal", description="irpo: whose ranks discount gains")
    self_term: bool = Field(False, description="irpo: a candidate is also compared with itself")
    mean_rest: bool = Field(False, description="irpo: compared with the mean of the others, not their sum")
    normalize_weights: bool = Field(True, description="irpo: a query's weights sum to one")
    teacher: str | None = Field(None, description="grades the lists: a JSONL of scores, or a cross-encoder's name")
    sft_coef: float = Field(0.0, ge=0, description="of the positives' negative log-likelihood, added to the loss")
    floor_coef: float = Field(0.0, ge=0, description="of max(0, reference - policy log-prob of the positives)")
    rounds: int = Field(1, ge=1, description="candidates are drawn anew from the policy in each")
    reanchor: bool = Field(False, description="each round takes the policy as its new reference")


class DDROConfig(PreferenceConfig):
    """Pairwise refinement (DDRO)."""


class IRPOConfig(PreferenceConfig):
    """Listwise refinement (IRPO)."""

    loss: Loss = "irpo"
    metric: str = Field("nDCG@10", description="the dev measure that chooses the weights and stops early")
