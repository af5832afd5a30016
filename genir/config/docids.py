"""The docids section: one class for each docid builder."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from genir.config.base import Section

Collisions = Literal["extend", "reassign", "share"]
COLLISIONS = (
    "What happens to documents that get the same codes: extend adds one more level that numbers them, reassign moves "
    "them to the nearest free code of the last level, share lets them keep one docid."
)
CODEBOOK_SIZE = "Number of codes in the codebook of each level; must be a power of two."
LEVELS = "Number of codes in a docid."


class AtomicConfig(Section):
    """Atomic docids: one code for each document (DSI)."""

    collisions: ClassVar[Collisions] = "share"  # there are no collisions
    builder: Literal["atomic"] = "atomic"


class PQConfig(Section):
    """Product quantisation of the document vectors (Ultron, DDRO)."""

    rare: ClassVar[frozenset[str]] = frozenset({"opq"})
    builder: Literal["pq"] = "pq"
    levels: int = Field(24, ge=1, le=32, description=f"{LEVELS} It must divide the dimension of the vectors.")
    codebook_size: int = Field(256, ge=2, le=65536, description=CODEBOOK_SIZE)
    opq: bool = Field(False, description="Rotate the vectors first (OPQ), so that the levels carry similar variance.")
    collisions: Collisions = Field("extend", description=COLLISIONS)


class RQConfig(Section):
    """Residual quantisation of the document vectors (RIPOR, TIGER)."""

    rare: ClassVar[frozenset[str]] = frozenset({"encoder_beam"})
    builder: Literal["rq"] = "rq"
    levels: int = Field(2, ge=1, le=32, description=LEVELS)
    codebook_size: int = Field(32, ge=2, le=65536, description=CODEBOOK_SIZE)
    encoder_beam: int = Field(
        5, ge=1, description="Beam size of the encoder, which searches each document's codes level by level."
    )
    collisions: Collisions = Field("extend", description=COLLISIONS)


class KMeansConfig(Section):
    """Paths through hierarchical k-means clusters of the document vectors (DSI, NCI)."""

    collisions: ClassVar[Collisions] = "extend"  # the documents of a leaf are numbered
    builder: Literal["kmeans"] = "kmeans"
    branching: int = Field(10, ge=2, le=65536, description="Number of clusters that a cluster is split into.")
    leaf_size: int = Field(100, ge=1, description="Clusters with more documents than this are split.")


class RQVAEConfig(Section):
    """Codes of a residual-quantised autoencoder of the document vectors (TIGER)."""

    rare: ClassVar[frozenset[str]] = frozenset({"latent_dim", "hidden_dim", "batch_size", "learning_rate"})
    builder: Literal["rqvae"] = "rqvae"
    levels: int = Field(3, ge=1, le=32, description=LEVELS)
    codebook_size: int = Field(256, ge=2, le=65536, description="Number of codes in the codebook of each level.")
    latent_dim: int = Field(32, ge=1, description="Dimension of the latent vector that is quantised.")
    hidden_dim: int = Field(256, ge=1, description="Width of the hidden layer of the encoder and of the decoder.")
    epochs: int = Field(100, ge=1, description="Passes over all documents.")
    batch_size: int = Field(1024, ge=1, description="Documents in one training step.")
    learning_rate: float = Field(1e-3, gt=0, description="Learning rate of AdamW.")
    collisions: Collisions = Field("extend", description=COLLISIONS)


class TextConfig(Section):
    """Text docids, written with the model's own tokens, so that they have a meaning before any training."""

    rare: ClassVar[frozenset[str]] = frozenset({"max_tokens"})
    builder: Literal["text"] = "text"
    source: Literal["title_url", "ultron", "title", "keywords"] = Field(
        "title",
        description="Text of the docid: title; title_url (DDRO's rule for titles and urls); ultron (Ultron's rule for "
        "urls); or keywords.",
    )
    max_tokens: int = Field(99, ge=1, le=200, description="Longest docid in tokens, without the end-of-sequence token.")
    keywords: int = Field(5, ge=1, description="Number of TF-IDF terms in a docid, with docids.source=keywords.")
    collisions: Literal["extend", "share"] = Field(
        "extend",
        description="What happens to documents with the same text: extend appends a number, share lets them keep one "
        "docid.",
    )


DocidsConfig = Annotated[
    AtomicConfig | KMeansConfig | PQConfig | RQConfig | RQVAEConfig | TextConfig, Field(discriminator="builder")
]
