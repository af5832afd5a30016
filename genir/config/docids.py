"""The docids section: one class for each docid builder."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from genir.config.base import Section

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
