"""The docids section: one class for each docid builder."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from genir.config.base import Section

Collisions = Literal["extend", "reassign", "share"]
BUILDER = "Docid builder: atomic, kmeans, pq, rq, rqvae or text. Each has its own settings."
COLLISIONS = (
    "What happens to documents that get the same codes: extend adds one more code that numbers them, reassign moves "
    "them to the nearest free code of the last level, share lets them share one docid."
)
LEVELS = "Number of codes in a docid."
CODEBOOK_SIZE = "Number of codes in the codebook of each level."
POWER_OF_TWO = "It must be a power of two, and not exceed the number of documents."


class AtomicConfig(Section):
    """Atomic docids: one code for each document (DSI)."""

    collisions: ClassVar[Collisions] = "share"  # never applied: all codes differ
    builder: Literal["atomic"] = Field("atomic", description=BUILDER)


class PQConfig(Section):
    """Product quantisation of the document vectors (Ultron, DDRO)."""

    rare: ClassVar[frozenset[str]] = frozenset({"opq"})
    builder: Literal["pq"] = Field("pq", description=BUILDER)
    levels: int = Field(24, ge=1, le=32, description=f"{LEVELS} It must divide the dimension of the vectors.")
    codebook_size: int = Field(256, ge=2, le=65536, description=f"{CODEBOOK_SIZE} {POWER_OF_TWO}")
    opq: bool = Field(
        False,
        description="Rotate the vectors before they are quantised (OPQ), so that all levels have similar variance.",
    )
    collisions: Collisions = Field("extend", description=COLLISIONS)


class RQConfig(Section):
    """Residual quantisation of the document vectors (RIPOR, TIGER)."""

    rare: ClassVar[frozenset[str]] = frozenset({"encoder_beam"})
    builder: Literal["rq"] = Field("rq", description=BUILDER)
    levels: int = Field(2, ge=1, le=32, description=LEVELS)
    codebook_size: int = Field(32, ge=2, le=65536, description=f"{CODEBOOK_SIZE} {POWER_OF_TWO}")
    encoder_beam: int = Field(
        5,
        ge=1,
        le=1024,
        description="Beam size of the encoder: the number of partial code sequences that it keeps for each document. "
        "More of them lead to codes that approximate the vector better, but take longer.",
    )
    collisions: Collisions = Field("extend", description=COLLISIONS)


class KMeansConfig(Section):
    """Paths through hierarchical k-means clusters of the document vectors (DSI, NCI)."""

    collisions: ClassVar[Collisions] = "extend"  # the documents of a leaf are numbered
    builder: Literal["kmeans"] = Field("kmeans", description=BUILDER)
    branching: int = Field(10, ge=2, le=65536, description="Number of clusters that a cluster is split into.")
    leaf_size: int = Field(
        100,
        ge=1,
        le=1_000_000_000,
        description="Largest number of documents in a cluster that is not split but numbered.",
    )


class RQVAEConfig(Section):
    """Codes of a residual-quantised autoencoder of the document vectors (TIGER)."""

    rare: ClassVar[frozenset[str]] = frozenset({"latent_dim", "hidden_dim", "batch_size", "learning_rate"})
    builder: Literal["rqvae"] = Field("rqvae", description=BUILDER)
    levels: int = Field(3, ge=1, le=32, description=LEVELS)
    codebook_size: int = Field(256, ge=2, le=65536, description=CODEBOOK_SIZE)
    latent_dim: int = Field(32, ge=1, le=65_536, description="Dimension of the latent vector that is quantised.")
    hidden_dim: int = Field(
        256, ge=1, le=65_536, description="Width of the hidden layer of the autoencoder's encoder and of its decoder."
    )
    epochs: int = Field(
        100, ge=1, le=1_000_000, description="Training epochs of the autoencoder: passes over all documents."
    )
    batch_size: int = Field(1024, ge=1, le=1_000_000, description="Documents in one training step of the autoencoder.")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="Learning rate with which AdamW trains the autoencoder.")
    collisions: Collisions = Field("extend", description=COLLISIONS)


class TextConfig(Section):
    """Text docids: tokens of the model's vocabulary, whose meaning a pretrained model knows before any training."""

    rare: ClassVar[frozenset[str]] = frozenset({"max_tokens"})
    builder: Literal["text"] = Field("text", description=BUILDER)
    source: Literal["title_url", "ultron", "title", "keywords"] = Field(
        "title",
        description="Text that becomes the docid: title, title_url (title and url by DDRO's rule), ultron (url by "
        "Ultron's rule) or keywords (the terms with the highest TF-IDF).",
    )
    max_tokens: int = Field(
        99,
        ge=1,
        le=200,
        description="Length in tokens, without the end-of-sequence token, to which docids are truncated.",
    )
    keywords: int = Field(5, ge=1, le=1000, description="Number of terms in a docid if docids.source is keywords.")
    collisions: Literal["extend", "share"] = Field(
        "extend",
        description="What happens to documents with the same text: extend appends a number, share lets them share one "
        "docid.",
    )


DocidsConfig = Annotated[
    AtomicConfig | KMeansConfig | PQConfig | RQConfig | RQVAEConfig | TextConfig, Field(discriminator="builder")
]
