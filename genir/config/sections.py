"""The sections of a config, one for each stage."""

import re
from typing import Literal

from pydantic import Field, model_validator

from genir.config.base import Normalize, Section


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
