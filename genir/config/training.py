"""The sections of the training stages: sft, ddro and irpo."""

from typing import ClassVar, Literal

from pydantic import Field

from genir.config.base import Loss, Mix, MixWeights, PathText, Section

MIX = (
    "Relative frequency of each kind of training example: spans (random spans of documents), queries (train queries), "
    "pseudo_queries (written by the queries stage)."
)
LOSS = (
    "Loss over the candidate lists: ddro (pairwise, DPO), s_dpo (each positive against all negatives), irpo (listwise, "
    "by grade), adpo (soft targets from the grades), lipo (LiPO-lambda), or sft (log-likelihood without a reference, "
    "the control). See docs/refinement.md."
)
METRIC = (
    "Measure on the dev queries that chooses the best weights and stops training early; it must be one of "
    "evaluate.measures."
)
LEARNING_RATE = "Peak learning rate of AdamW, which decays to zero along a cosine."
EMBEDDING_LR_MULTIPLIER = (
    "Learning rate of the embeddings and of the docid head, as a multiple of learning_rate; above 1 it makes up for "
    "the few gradients that most of their rows get."
)

MAX_STEPS = 1_000_000_000
"""Upper bound of numbers of steps and queries, which takes years to reach."""


class TrainingPhase(Section):
    """One phase of supervised training; each phase starts from the weights of the one before."""

    mix: MixWeights = Field({"spans": 0.7, "queries": 0.3}, description=MIX)
    steps: int = Field(
        1000,
        ge=1,
        le=MAX_STEPS,
        description="Training steps of the phase; early stopping (patience) may end it sooner.",
    )
    learning_rate: float = Field(3e-4, gt=0, le=1, description=LEARNING_RATE)
    experts_for: list[Mix] | None = Field(
        None,
        description="Kinds of examples that are trained with the experts. Null means queries and pseudo_queries: BM25 "
        "knows the document of a span almost for certain, so that with it the model would learn little from spans. "
        "Without train queries, null means all kinds, so that the model learns only what BM25 does not know.",
    )


class SpanConfig(Section):
    """Random spans of a document's words, which take the place of queries and teach the model the document's docid."""

    min_words: int = Field(3, ge=1, le=10_000, description="Shortest span in words.")
    max_words: int = Field(16, ge=1, le=10_000, description="Longest span in words; raise it if queries are long.")
    word_dropout: float = Field(0.33, ge=0, lt=1, description="Probability that a word of a span is dropped.")
    title_share: float = Field(
        0.5, ge=0, le=1, description="Fraction of the spans that are preceded by the title of their document."
    )


class LoopConfig(Section):
    """The settings that all training stages share."""

    rare: ClassVar[frozenset[str]] = frozenset(
        {
            "embedding_lr_multiplier",
            "warmup_steps",
            "weight_decay",
            "max_grad_norm",
            "eval_queries",
            "eval_beams",
            "spans",
            "query_word_dropout",
        }
    )
    batch_size: int = Field(128, ge=1, le=65_536, description="Training examples in one step; lower it to save memory.")
    max_tokens: int = Field(64, ge=4, le=65_536, description="Length in tokens to which input texts are truncated.")
    embedding_lr_multiplier: float = Field(2.0, gt=0, le=1000, description=EMBEDDING_LR_MULTIPLIER)
    warmup_steps: int = Field(
        50,
        ge=0,
        le=MAX_STEPS,
        description="Steps in which the learning rate rises to its peak, at most half of all training steps.",
    )
    weight_decay: float = Field(0.0, ge=0, le=100, description="Weight decay of AdamW.")
    max_grad_norm: float = Field(1.0, gt=0, le=1e9, description="Norm to which larger gradients are clipped.")
    eval_steps: int = Field(
        100, ge=1, le=MAX_STEPS, description="Steps between evaluations on dev, and between checkpoints."
    )
    eval_queries: int = Field(
        500, ge=1, le=MAX_STEPS, description="Largest number of dev queries that an evaluation searches."
    )
    eval_beams: int = Field(10, ge=1, le=100_000, description="Beam size of the searches of an evaluation on dev.")
    metric: str = Field("RR@10", description=METRIC)
    patience: int = Field(
        5, ge=1, le=MAX_STEPS, description="Evaluations without improvement after which training stops early."
    )
    spans: SpanConfig = SpanConfig()
    query_word_dropout: float = Field(
        0.2, ge=0, lt=1, description="Probability that a word of a query or pseudo query is dropped in training."
    )


class SFTConfig(LoopConfig):
    """Supervised fine-tuning: the model learns to generate the docid of a text."""

    phases: list[TrainingPhase] = Field(
        [TrainingPhase()], min_length=1, description="Phases of the training, one after another (a curriculum)."
    )


class IRPOOptions(Section):
    """Choices that the IRPO paper (arXiv 2504.15477) leaves open; they apply if the loss is irpo."""

    discount_by: Literal["ideal", "policy", "reference"] = Field(
        "ideal",
        description="Ranking whose positions discount the gains of the irpo loss: ideal (by grade), or the ranking by "
        "the policy or by the reference.",
    )
    self_term: bool = Field(False, description="Let the irpo loss also compare a candidate with itself.")
    average_others: bool = Field(
        False, description="Let the irpo loss average over the other candidates instead of summing over them."
    )
    normalize_weights: bool = Field(
        True, description="Scale the irpo loss's weights of a query's candidates so that they sum to one."
    )


class PreferenceConfig(LoopConfig):
    """Refinement: the candidates of a query are scored against the frozen retriever that the stage starts from."""

    rare: ClassVar[frozenset[str]] = LoopConfig.rare | {
        "start",
        "candidate_chunk",
        "mean_logps",
        "irpo_options",
        "sft_coef",
        "dpop_coef",
        "update_reference",
    }
    start: Literal["sft", "ddro"] | None = Field(
        None, description="Training stage whose retriever is refined. Null means the training stage before this one."
    )
    loss: Loss = Field("ddro", description=LOSS)
    beta: float = Field(
        0.4,
        gt=0,
        le=1000,
        description="Inverse temperature of the implicit reward: the smaller it is, the further the policy may move "
        "from the reference.",
    )
    steps: int = Field(
        200, ge=1, le=MAX_STEPS, description="Training steps in each round; early stopping may end a round sooner."
    )
    learning_rate: float = Field(3e-5, gt=0, le=1, description=LEARNING_RATE)
    batch_size: int = Field(32, ge=1, le=65_536, description="Queries in one step, each with its candidate list.")
    embedding_lr_multiplier: float = Field(1.0, gt=0, le=1000, description=EMBEDDING_LR_MULTIPLIER)
    mix: MixWeights = Field({"spans": 0.5, "queries": 0.5}, description=MIX)
    pool_size: int = Field(
        4096,
        ge=1,
        le=100_000_000,
        description="Number of examples that each round draws from the mix and builds candidate lists for.",
    )
    beam_candidates: int = Field(
        16, ge=0, le=100_000, description="Candidates of each example that come from the policy's own beam search."
    )
    mined_candidates: int = Field(
        16,
        ge=0,
        le=100_000,
        description="Candidates of each train query that come from the negatives stage; if it is 0 in all refinement "
        "stages, that stage mines nothing.",
    )
    candidates_per_step: int = Field(
        16,
        ge=2,
        le=100_000,
        description="Number of candidates of an example that one step compares, chosen at random; at most half of them "
        "are positives, if the list has negatives.",
    )
    candidate_chunk: int = Field(
        64,
        ge=1,
        le=100_000,
        description="Candidates of an example that are scored in one pass; longer lists use gradient checkpointing, "
        "which gives the same gradients with less memory and more time.",
    )
    mean_logps: bool = Field(
        False, description="Average a docid's log-probability over its tokens instead of summing it."
    )
    irpo_options: IRPOOptions = IRPOOptions()
    teacher: PathText | None = Field(
        None,
        description="Teacher that grades the candidate lists: a .jsonl file of scores, or the name of a cross-encoder. "
        "Null means that the judgments grade them.",
    )
    sft_coef: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="Weight of the positives' negative log-likelihood, which is added to the loss; raise it when "
        "positives lose probability.",
    )
    dpop_coef: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="Weight of max(0, reference - policy) on the positives' log-probabilities, the penalty of "
        "DPO-Positive (arXiv 2402.13228), which is added to the loss; raise it when positives lose probability.",
    )
    rounds: int = Field(
        1, ge=1, le=100_000, description="Number of rounds; each builds new candidate lists with the current policy."
    )
    update_reference: bool = Field(
        False,
        description="Use the policy at the start of each round as the reference of that round, rather than the "
        "retriever that the stage starts from.",
    )


class DDROConfig(PreferenceConfig):
    """Pairwise refinement (DDRO, arXiv 2504.05181)."""


class IRPOConfig(PreferenceConfig):
    """Listwise refinement (IRPO, arXiv 2504.15477)."""

    loss: Loss = Field("irpo", description=LOSS)
    metric: str = Field("nDCG@10", description=METRIC)
