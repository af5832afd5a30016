"""The section experts: document scores that take part in the model's probabilities."""

from pydantic import Field

from genir.config.base import Section

_FITTED = (
    "Null means the value under which the train queries are most likely; without any, one that suits most collections."
)


class BM25ExpertConfig(Section):
    """BM25 of one part of the documents, with the text analysis of the section baseline.

    Whatever is null is fitted on train queries: the values under which the documents that they ask for are most likely.
    """

    k1: float | None = Field(None, ge=0, le=1000, description="BM25's k1. " + _FITTED)
    b: float | None = Field(None, ge=0, le=1, description="BM25's b. " + _FITTED)
    weight: float | None = Field(
        None,
        ge=0,
        le=1000,
        description="Weight of the score in a document's log prior. " + _FITTED,
    )


class LexicalExpertConfig(Section):
    """BM25 of title and text, of the title alone, and of character n-grams, whose weighted scores are added."""

    text: BM25ExpertConfig = Field(BM25ExpertConfig(), description="BM25 of title and text.")
    title: BM25ExpertConfig | None = Field(
        BM25ExpertConfig(),
        description="BM25 of the title alone, unless no document has one. Null means that it takes no part.",
    )
    characters: BM25ExpertConfig | None = Field(
        BM25ExpertConfig(),
        description="BM25 of the character 5-grams of title and text, by which similar words match. It is left out if "
        "the collection has more than 100 million characters. Null means that it takes no part.",
    )
    term_weights: bool = Field(
        True,
        description="Learn from train queries how much each of their terms counts in text and title, where this ranks "
        "held-out train queries better.",
    )


class DenseExpertConfig(Section):
    """The cosine between the vectors of a query and a document, and of its most similar sentence, times 20."""

    weight: float | None = Field(
        None,
        ge=0,
        le=1000,
        description="Weight of the score in a document's log prior. " + _FITTED,
    )


class ExpertsConfig(Section):
    """Experts score every document for a query; the model learns what they do not know."""

    lexical: LexicalExpertConfig | None = Field(
        LexicalExpertConfig(), description="BM25 as an expert. Null means that it takes no part."
    )
    dense: DenseExpertConfig | None = Field(
        DenseExpertConfig(),
        description="The vectors of the section embed as an expert, if embed.method is minilm or a "
        "sentence-transformers model. Null means that they take no part.",
    )
