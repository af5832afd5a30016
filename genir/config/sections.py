"""The sections of the stages before and after training, and of the model."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from genir.config.base import PathText, Section, SoftmaxOver, SplitName
from genir.config.measures import find_cutoff, parse_measure


class CollectionConfig(Section):
    """Where the documents, queries and judgments come from."""

    rare: ClassVar[frozenset[str]] = frozenset({"expect_counts", "ignore_identical_ids"})
    path: PathText = Field(
        description="A BEIR folder, an ir_datasets id such as irds:beir/nfcorpus, or hf:NAME with a data set of the "
        "Hugging Face hub, such as hf:mteb/nfcorpus, or a folder in its layout. For a published collection, the folder "
        "of its raw files."
    )
    published: str | None = Field(
        None,
        description="Published collection to rebuild from its raw files: msmarco-doc-top300k, msmarco-doc, "
        "msmarco-passage, nq320k, nq320k-ddro, or beir/SET. Null means that collection.path is used as it is.",
    )
    expect_counts: bool = Field(
        True,
        description="Require a published collection to have its published numbers of documents and queries. Set it to "
        "false for a sample of the raw files.",
    )
    splits: dict[SplitName, str] = Field(
        {},
        description="Splits that have another name in the source, such as {train: train-nq}, which uses the source's "
        "split train-nq as train.",
    )
    dev_fraction: float = Field(
        0.1, gt=0, lt=1, description="Fraction of the train queries that becomes the dev split if there is none."
    )
    ignore_identical_ids: bool = Field(
        False,
        description="Leave the document with the id of the query out of rankings, negatives and measures, for a "
        "collection whose queries are documents themselves, such as ArguAna or Quora.",
    )


class EmbedConfig(Section):
    """Document vectors, for the docid builders that need them and for the dense expert."""

    rare: ClassVar[frozenset[str]] = frozenset({"batch_size", "sentences"})
    method: PathText = Field(
        "tfidf",
        description="Source of the vectors: tfidf (TF-IDF and SVD), minilm, a .npy file, or the name or folder of a "
        "sentence-transformers model.",
    )
    dimension: int = Field(128, ge=2, le=16_384, description="Dimension of the vectors of the method tfidf.")
    batch_size: int = Field(
        64, ge=1, le=65_536, description="Documents that a model embeds at once; lower it to save memory."
    )
    sentences: bool = Field(
        True,
        description="Whether a model also embeds every sentence, for the dense expert. If the collection has more than "
        "100,000 sentences, they are left out.",
    )

    @property
    def is_model(self) -> bool:
        """Whether a sentence-transformers model computes the vectors."""
        return self.method != "tfidf" and not self.method.endswith(".npy")


class QueriesConfig(Section):
    """Pseudo queries: queries that users might ask about a document.

    They are used if a training mix contains pseudo_queries, and in place of train queries in a collection without any.
    """

    rare: ClassVar[frozenset[str]] = frozenset(
        {"max_words", "learning_rate", "top_k", "document_tokens", "query_tokens", "batch_size"}
    )
    method: PathText = Field(
        "extractive",
        description="Source of the pseudo queries: extractive (title, headings, sentences and keyphrases of the "
        "document), a .jsonl file with doc_id and text, or the name or folder of a seq2seq model such as "
        "castorini/doc2query-t5-base-msmarco.",
    )
    per_document: int = Field(10, ge=1, le=10_000, description="Largest number of pseudo queries for each document.")
    max_words: int = Field(
        12,
        ge=1,
        le=10_000,
        description="Largest number of words that the method extractive takes from a sentence; the words with the "
        "highest TF-IDF are kept.",
    )
    tune_steps: int = Field(
        0,
        ge=0,
        le=1_000_000_000,
        description="Steps of fine-tuning a model on the train queries before it generates pseudo queries.",
    )
    learning_rate: float = Field(
        3e-4, gt=0, le=1, description="Learning rate of the fine-tuning of a model on the train queries."
    )
    top_k: int = Field(
        10, ge=1, le=1_000_000, description="Number of most likely tokens from which a model samples each token."
    )
    document_tokens: int = Field(
        512, ge=4, le=65_536, description="Length in tokens to which documents are truncated for a model."
    )
    query_tokens: int = Field(64, ge=2, le=65_536, description="Longest pseudo query of a model, in tokens.")
    batch_size: int = Field(
        16, ge=1, le=65_536, description="Documents in one batch of a model; lower it to save memory."
    )

    @property
    def is_file(self) -> bool:
        """Whether the method is the path of a file of pseudo queries."""
        return self.method.endswith((".jsonl", ".jsonl.gz"))

    @model_validator(mode="after")
    def _check_method(self) -> "QueriesConfig":
        if self.method == "text":
            raise ValueError("the method text is now called extractive; write queries.method=extractive")
        if self.tune_steps and (self.is_file or self.method == "extractive"):
            raise ValueError(
                f"tune_steps trains a seq2seq model, but the method is {self.method}; set method to a model"
            )
        return self


class ModelConfig(Section):
    """The T5 model: a pretrained one, or one that is trained from scratch with a tokenizer for the corpus."""

    rare: ClassVar[frozenset[str]] = frozenset({"tokenizer", "vocab_size", "dropout", "softmax_over"})
    pretrained: PathText | None = Field(
        None, description="Hugging Face name or folder of a pretrained T5. Null means a model from scratch."
    )
    tokenizer: PathText | None = Field(
        None,
        description="Hugging Face name or folder of a tokenizer. Null means that of the pretrained model, or for a "
        "model from scratch one that is trained on the corpus.",
    )
    size: Literal["tiny", "mini", "small", "base"] = Field(
        "tiny", description="Size of a model from scratch: tiny (1 layer), mini (2), small (6) or base (12)."
    )
    vocab_size: int = Field(
        8000,
        ge=100,
        le=1_000_000,
        description="Largest vocabulary, in tokens, of a tokenizer that is trained on the corpus.",
    )
    init: Literal["bm25", "random"] = Field(
        "bm25",
        description="Initial weights of a model from scratch: random, or bm25, which lets it rank much like BM25 "
        "before any training.",
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="Dropout rate in supervised training; refinement always trains without dropout."
    )
    softmax_over: SoftmaxOver = Field(
        "trie",
        description="What the probability of a code is normalised over: trie (the codes that continue an existing "
        "docid) or full (the whole vocabulary, as Hugging Face generate does).",
    )


class BaselineConfig(Section):
    """The BM25 baseline over title and text, from whose rankings negatives are also mined."""

    backend: Literal["bm25s", "pyserini"] = Field(
        "bm25s",
        description="BM25 implementation: bm25s, which needs no Java, or pyserini, which runs Lucene as in published "
        "protocols.",
    )
    k1: float = Field(0.9, ge=0, le=1000, description="BM25's k1, the saturation of term frequency.")
    b: float = Field(0.4, ge=0, le=1, description="BM25's b, the strength of the length normalisation.")
    stemmer: str | None = Field(
        "english",
        description="Language of the Snowball stemmer. Null means no stemming, which makes a weaker baseline.",
    )


class Band(Section):
    """A band of BM25 ranks that negatives are drawn from."""

    first: int = Field(ge=1, le=1_000_000, description="First BM25 rank of the band, counted from 1.")
    last: int = Field(ge=1, le=1_000_000, description="Last BM25 rank of the band, inclusive.")
    count: int = Field(
        ge=1, le=1_000_000, description="Number of negatives that are drawn at random from the band for each query."
    )


class NegativesConfig(Section):
    """Hard negatives of the train queries, for the refinement stages that set mined_candidates."""

    bands: list[Band] = Field(
        [Band(first=1, last=100, count=10), Band(first=101, last=500, count=10), Band(first=501, last=1000, count=12)],
        description="Bands of BM25 ranks from which negatives are drawn at random; the default bands are DDRO's.",
    )
    siblings: int = Field(
        0,
        ge=0,
        le=100_000,
        description="Number of additional negatives for each positive: the documents whose docids share the longest "
        "prefixes with its docid.",
    )


class SearchConfig(Section):
    """The search with the trained retrievers, whose hits are evaluated."""

    rare: ClassVar[frozenset[str]] = frozenset({"batch_size"})
    splits: list[str] = Field(["test"], min_length=1, description="Splits whose queries are searched and evaluated.")
    k: int = Field(100, ge=1, le=100_000, description="Number of documents to retrieve for each query.")
    beams: int = Field(
        100,
        ge=1,
        le=100_000,
        description="Beam size, at least k; more beams find more of the best documents, more slowly.",
    )
    batch_size: int = Field(
        32, ge=1, le=65_536, description="Queries that are searched at once; lower it to save memory."
    )
    exact: bool = Field(
        False,
        description="Continue each search until its hits are proven to be the model's best, however long it takes.",
    )

    @model_validator(mode="after")
    def _require_enough_beams(self) -> "SearchConfig":
        if self.beams < self.k:
            raise ValueError(f"{self.beams} beams cannot give k = {self.k} documents; raise search.beams")
        return self


class EvaluateConfig(Section):
    """The measures of the runs and their confidence intervals."""

    rare: ClassVar[frozenset[str]] = frozenset({"bootstrap"})
    measures: list[str] = Field(
        ["RR@10", "nDCG@10", "Success@1", "R@10"],
        min_length=1,
        description="Measures to compute, by their ir-measures names.",
    )
    bootstrap: int = Field(
        1000, ge=100, le=1_000_000, description="Bootstrap samples of the queries for the 95 % confidence intervals."
    )

    @property
    def cutoff(self) -> int:
        """The number of hits per query that the measures need: the largest cut-off among them, at least 1."""
        return max([1, *filter(None, map(find_cutoff, self.measures))])

    @field_validator("measures")
    @classmethod
    def _require_computable(cls, measures: list[str]) -> list[str]:
        for name in measures:
            parse_measure(name)
        return measures
