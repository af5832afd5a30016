"""The sections of a config, one for each stage. Every setting has its default here and nowhere else."""

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

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


class CollectionConfig(Section):
    """Where the documents, queries and judgments come from."""

    path: str = Field(
        description="a BEIR folder, or an ir_datasets id such as irds:beir/nfcorpus; of a build: its raw files' folder"
    )
    build: str | None = Field(
        None,
        description="a published collection made from raw files: msmarco-doc-top300k, msmarco-doc, msmarco-passage, "
        "nq320k, nq320k-ddro, or beir/SET; null: path as it is",
    )
    expect_counts: bool = Field(True, description="a build must have its published counts; false: it is a sample")
    splits: dict[str, str] = Field({}, description="our split name -> the source's, where they differ")
    dev_fraction: float = Field(0.1, gt=0, lt=1, description="of the train queries, when there is no dev split")


class EmbedConfig(Section):
    """Document vectors, for the docid builders that need them."""

    method: str = Field("tfidf", description="tfidf, minilm, a .npy file, or the name of a sentence-transformers model")
    dimension: int = Field(128, ge=2, description="of the tfidf vectors")
    batch_size: int = Field(64, ge=1)


Collisions = Literal["extend", "reassign", "share"]
COLLISIONS = "of documents with the same codes: extend (one more level), reassign (nearest free code) or share"


class AtomicConfig(Section):
    """One code for each document (DSI)."""

    collisions: ClassVar[Collisions] = "share"  # there are none
    builder: Literal["atomic"] = "atomic"


class PQConfig(Section):
    """Product quantisation of the document vectors (Ultron, DDRO)."""

    builder: Literal["pq"] = "pq"
    levels: int = Field(24, ge=1, le=32, description="a divisor of the vectors' dimension")
    codes: int = Field(256, ge=2, le=65536, description="in the codebook of each level; a power of two")
    opq: bool = Field(False, description="rotate the vectors first, so that the levels hold about the same")
    collisions: Collisions = Field("extend", description=COLLISIONS)


class RQConfig(Section):
    """Residual quantisation of the document vectors (RIPOR, TIGER)."""

    builder: Literal["rq"] = "rq"
    levels: int = Field(2, ge=1, le=32)
    codes: int = Field(32, ge=2, le=65536, description="in the codebook of each level; a power of two")
    beam: int = Field(5, ge=1, description="of the encoder: residual paths kept for each document")
    collisions: Collisions = Field("extend", description=COLLISIONS)


class KMeansConfig(Section):
    """Paths of hierarchical k-means clusters of the document vectors (DSI, NCI)."""

    collisions: ClassVar[Collisions] = "extend"  # the documents of a leaf are numbered
    builder: Literal["kmeans"] = "kmeans"
    branching: int = Field(10, ge=2, le=65536, description="clusters that a cluster is split into")
    leaf_size: int = Field(100, ge=1, description="documents that a cluster may have without being split")


class RQVAEConfig(Section):
    """A residual-quantised autoencoder of the document vectors (TIGER)."""

    builder: Literal["rqvae"] = "rqvae"
    levels: int = Field(3, ge=1, le=32)
    codes: int = Field(256, ge=2, le=65536, description="in the codebook of each level")
    latent: int = Field(32, ge=1, description="width of the quantised vector")
    hidden: int = Field(256, ge=1, description="width of the encoder's and decoder's layer")
    epochs: int = Field(100, ge=1)
    batch_size: int = Field(1024, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    collisions: Collisions = Field("extend", description=COLLISIONS)


class TextConfig(Section):
    """Text docids: written with the model's own tokens, so that they mean something before any training."""

    builder: Literal["text"] = "text"
    source: Literal["title_url", "ultron", "title", "keywords"] = Field("title", description="what the docid says")
    max_tokens: int = Field(99, ge=1, le=200, description="before the end-of-sequence token")
    keywords: int = Field(5, ge=1, description="TF-IDF terms, for that source")
    collisions: Literal["extend", "share"] = Field("extend", description="extend: a number after the text; or share")


DocidsConfig = Annotated[
    AtomicConfig | KMeansConfig | PQConfig | RQConfig | RQVAEConfig | TextConfig, Field(discriminator="builder")
]


class QueriesConfig(Section):
    """Pseudo queries: what people might ask of each document. Made when a training mix names pseudo_queries."""

    method: str = Field(
        "text",
        description="text (title, headings, sentences, keyphrases), a .jsonl file of one's own (doc_id, text), or the "
        "name or folder of a seq2seq model that writes queries, such as castorini/doc2query-t5-base-msmarco",
    )
    per_document: int = Field(10, ge=1, description="at most")
    max_words: int = Field(12, ge=1, description="text: kept of a sentence, the most telling ones")
    tune_steps: int = Field(0, ge=0, description="model: steps of training on the train queries before it writes")
    learning_rate: float = Field(3e-4, gt=0, description="model: of that training")
    top_k: int = Field(10, ge=1, description="model: each token is drawn from this many")
    document_tokens: int = Field(512, ge=4, description="model: read of a document")
    query_tokens: int = Field(64, ge=2, description="model: written at most")
    batch_size: int = Field(16, ge=1, description="model: documents at once")

    @property
    def is_file(self) -> bool:
        """Whether the method is a file of one's own queries."""
        return self.method.endswith((".jsonl", ".jsonl.gz"))

    @model_validator(mode="after")
    def _tunes_a_model(self) -> "QueriesConfig":
        if self.tune_steps and (self.is_file or self.method == "text"):
            raise ValueError(f"tune_steps trains a seq2seq model, but the method is {self.method}; name a model there")
        return self


class ModelConfig(Section):
    """The T5: pretrained, or from scratch by size with a tokenizer trained on the corpus."""

    pretrained: str | None = Field(None, description="a Hugging Face name or folder; none: from scratch")
    tokenizer: str | None = Field(None, description="a tokenizer name or folder; none: the model's, or a new one")
    size: Literal["tiny", "mini", "small", "base"] = Field("tiny", description="from scratch: the shape")
    vocabulary: int = Field(8000, ge=100, description="from scratch: pieces of the new tokenizer")
    lexical_start: bool = Field(True, description="from scratch: start as a lexical (BM25) retriever")
    dropout: float = Field(0.0, ge=0, lt=1)
    normalize: Normalize | None = Field(
        None, description="softmax over a level's codebook (level) or the vocabulary (full); none: full for text docids"
    )


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


class BaselineConfig(Section):
    """BM25 over title and text."""

    backend: Literal["bm25s", "pyserini"] = Field("bm25s", description="pyserini: Lucene, as in published protocols")
    k1: float = Field(0.9, ge=0)
    b: float = Field(0.4, ge=0, le=1)
    stemmer: str | None = Field("english", description="a Snowball language; null: no stemming, a weaker baseline")


class Band(Section):
    """A band of BM25 ranks that negatives are drawn from."""

    first: int = Field(ge=1)
    last: int = Field(ge=1)
    count: int = Field(ge=1)


class NegativesConfig(Section):
    """Hard negatives of the train queries, for the refinement stages (ddro.mined, irpo.mined)."""

    bands: list[Band] = Field(
        [Band(first=1, last=100, count=10), Band(first=101, last=500, count=10), Band(first=501, last=1000, count=12)],
        description="of the ranks of BM25 (section baseline), drawn at random; default: DDRO's",
    )
    siblings: int = Field(0, ge=0, description="documents whose docids share the longest prefixes with a positive's")


class SearchConfig(Section):
    """Decoding: which splits, how many documents, how many beams."""

    splits: list[str] = Field(["test"], min_length=1)
    k: int = Field(100, ge=1)
    beams: int = Field(100, ge=1)
    batch_size: int = Field(32, ge=1)
    exact: bool = Field(False, description="go on until the hits are proven to be the model's best, however long")

    @model_validator(mode="after")
    def _enough_beams(self) -> "SearchConfig":
        if self.beams < self.k:
            raise ValueError(f"{self.beams} beams cannot give k = {self.k} documents; raise search.beams")
        return self


class EvaluateConfig(Section):
    """Measures, by their ir-measures names."""

    measures: list[str] = Field(["RR@10", "nDCG@10", "Success@1", "R@10"], min_length=1)
    bootstrap: int = Field(1000, ge=100, description="resamples of the queries for the 95 % intervals")

    @property
    def cutoff(self) -> int:
        """Hits that a run needs for these measures: the largest @k, at least 1."""
        return max([1, *(int(found[1]) for name in self.measures if (found := re.search(r"@(\d+)$", name)))])
