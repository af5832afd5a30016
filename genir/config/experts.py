"""The section experts: document scores that take part in the model's probabilities."""

from pydantic import Field

from genir.config.base import Section


class LexicalExpertConfig(Section):
    """BM25 with the text analysis, k1 and b of the section baseline, whichever its backend is."""

    weight: float | None = Field(
        None,
        ge=0,
        le=1000,
        description="Weight of the BM25 score in a document's log prior. Null means the weight under which the train "
        "queries are most likely.",
    )


class ExpertsConfig(Section):
    """Experts score every document for a query; the model learns what they do not know."""

    lexical: LexicalExpertConfig | None = Field(
        LexicalExpertConfig(), description="BM25 as an expert. Null means that it takes no part."
    )
