"""The sections of the stages around training: collection, embed, queries, model, baseline, negatives, search, evaluate."""

import re
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from genir.config.base import Section, SoftmaxOver


class CollectionConfig(Section):
    """Where the documents, queries and judgments come from."""

    rare: ClassVar[frozenset[str]] = frozenset({"expect_counts"})
    path: str = Field(
        description="A BEIR folder, or an ir_datasets id such as irds:beir/nfcorpus; for a published collection, the "
        "folder of its raw files."
    )
    published: str | None = Field(
        None,
        description="Name of a published collection that is made from its raw files: msmarco-doc-top300k, msmarco-doc, "
        "msmarco-passage, nq320k, nq320k-ddro, or beir/SET; null: use the collection at path as it is.",
    )
    expect_counts: bool = Field(
        True, description="Require the published counts of documents and queries; false for a sample of the raw files."
    )
    splits: dict[str, str] = Field(
        {}, description="Splits to use under other names, as in {train: train-nq, dev: dev-nq}."
    )
    dev_fraction: float = Field(
        0.1, gt=0, lt=1, description="Share of the train queries that become the dev split where there is none."
    )


class EmbedConfig(Section):
    """Document vectors, for the docid builders that need them."""

    rare: ClassVar[frozenset[str]] = frozenset({"batch_size"})
    method: str = Field(
        "tfidf",
        description="tfidf (TF-IDF and SVD), minilm, a .npy file of vectors, or a sentence-transformers model.",
    )
    dimension: int = Field(128, ge=2, description="Dimension of the tfidf vectors.")
    batch_size: int = Field(64, ge=1, description="Documents that a model embeds at once; lower it to save memory.")


class QueriesConfig(Section):
    """Pseudo queries: what users might ask about each document; made when a training mix contains pseudo_queries."""

    rare: ClassVar[frozenset[str]] = frozenset({"top_k", "document_tokens", "query_tokens", "batch_size"})
    method: str = Field(
        "extractive",
        description="extractive (title, headings, sentences, keyphrases), a .jsonl file with doc_id and text, or a "
        "seq2seq model such as castorini/doc2query-t5-base-msmarco.",
    )
    per_document: int = Field(10, ge=1, description="Most pseudo queries of a document.")
    max_words: int = Field(12, ge=1, description="extractive: words with the highest TF-IDF kept of a sentence.")
    tune_steps: int = Field(
        0, ge=0, description="model: steps of fine-tuning on the train queries before it generates any."
    )
    learning_rate: float = Field(3e-4, gt=0, description="model: learning rate of this fine-tuning.")
    top_k: int = Field(10, ge=1, description="model: each token is sampled from this many most likely ones.")
    document_tokens: int = Field(512, ge=4, description="model: longest document in tokens; the rest is truncated.")
    query_tokens: int = Field(64, ge=2, description="model: longest pseudo query in tokens.")
    batch_size: int = Field(16, ge=1, description="model: documents in one batch.")

    @property
    def is_file(self) -> bool:
        """Whether the method is a file of pseudo queries."""
        return self.method.endswith((".jsonl", ".jsonl.gz"))

    @model_validator(mode="after")
    def _require_model_to_tune(self) -> "QueriesConfig":
        if self.method == "text":
            raise ValueError("method: text is called extractive now")
        if self.tune_steps and (self.is_file or self.method == "extractive"):
            raise ValueError(f"tune_steps trains a seq2seq model, but the method is {self.method}; name a model there")
        return self


class ModelConfig(Section):
    """The T5: pretrained, or from scratch with a tokenizer that is trained on the corpus."""

    rare: ClassVar[frozenset[str]] = frozenset({"tokenizer", "vocab_size", "dropout", "softmax_over"})
    pretrained: str | None = Field(
        None, description="Hugging Face name or folder of a pretrained T5; null: a model from scratch."
    )
    tokenizer: str | None = Field(
        None, description="Name or folder of a tokenizer; null: the pretrained model's, else one trained on the corpus."
    )
    size: Literal["tiny", "mini", "small", "base"] = Field("tiny", description="Shape of a model from scratch.")
    vocab_size: int = Field(8000, ge=100, description="Most tokens of a tokenizer that is trained on the corpus.")
    init: Literal["bm25", "random"] = Field(
        "bm25", description="First weights of a model from scratch: bm25 makes it rank as BM25 does."
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout rate in supervised training; refinement has none.")
    softmax_over: SoftmaxOver | None = Field(
        None,
        description="What probabilities are normalised over: level (the codebook of a level) or full (the whole "
        "vocabulary, as Hugging Face generate does); null: full for text docids, else level.",
    )


class BaselineConfig(Section):
    """BM25 over title and text."""

    backend: Literal["bm25s", "pyserini"] = Field(
        "bm25s", description="bm25s needs no JVM; pyserini runs Lucene, as published protocols do."
    )
    k1: float = Field(0.9, ge=0, description="Saturation of term frequency.")
    b: float = Field(0.4, ge=0, le=1, description="Strength of the length normalisation.")
    stemmer: str | None = Field(
        "english", description="Language of the Snowball stemmer; null: no stemming, a weaker baseline."
    )


class Band(Section):
    """A band of BM25 ranks that negatives are drawn from."""

    first: int = Field(ge=1, description="First rank of the band.")
    last: int = Field(ge=1, description="Last rank of the band.")
    count: int = Field(ge=1, description="Negatives that are drawn from it at random.")


class NegativesConfig(Section):
    """Hard negatives of the train queries, for the refinement stages (mined_candidates)."""

    bands: list[Band] = Field(
        [Band(first=1, last=100, count=10), Band(first=101, last=500, count=10), Band(first=501, last=1000, count=12)],
        description="Bands of BM25 ranks and how many negatives each gives; the default is DDRO's.",
    )
    siblings: int = Field(
        0, ge=0, description="Negatives per positive whose docids share the longest prefixes with its docid."
    )


class SearchConfig(Section):
    """Search: which splits, how many documents, how many beams."""

    rare: ClassVar[frozenset[str]] = frozenset({"batch_size"})
    splits: list[str] = Field(["test"], min_length=1, description="Splits whose queries are searched and evaluated.")
    k: int = Field(100, ge=1, description="Documents that are retrieved for each query.")
    beams: int = Field(100, ge=1, description="Beam size; more beams find more of the best documents, more slowly.")
    batch_size: int = Field(32, ge=1, description="Queries that are searched at once.")
    exact: bool = Field(
        False,
        description="Continue each search until the hits are proven to be the model's best, however long it takes.",
    )

    @model_validator(mode="after")
    def _require_enough_beams(self) -> "SearchConfig":
        if self.beams < self.k:
            raise ValueError(f"{self.beams} beams cannot give k = {self.k} documents; raise search.beams")
        return self


class EvaluateConfig(Section):
    """Measures, by their ir-measures names."""

    rare: ClassVar[frozenset[str]] = frozenset({"bootstrap"})
    measures: list[str] = Field(
        ["RR@10", "nDCG@10", "Success@1", "R@10"], min_length=1, description="Measures, by their ir-measures names."
    )
    bootstrap: int = Field(1000, ge=100, description="Bootstrap samples of the queries for the 95 % intervals.")

    @property
    def cutoff(self) -> int:
        """Hits that a run needs for these measures: the largest @k, at least 1."""
        return max([1, *(int(found[1]) for name in self.measures if (found := re.search(r"@(\d+)$", name)))])
