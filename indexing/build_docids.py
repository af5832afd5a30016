"""docids: give every document a docid."""

import numpy as np

from genir.command import run_stage
from genir.config import Config
from genir.console import console
from genir.docids import BUILDERS, DocidTable
from genir.prepared import DocumentFile
from genir.stage import Stage


def main(config: Config) -> None:
    """Build docids/: the table (doc_id <-> docid), its vocabulary layout and the codebooks.

    docids.builder: atomic (one code a document) or rq (residual quantisation of the vectors, levels x codes; documents
    that would share a docid get one more level).
    """
    documents = DocumentFile(config.run / "collection" / "corpus.jsonl")
    settings = config.docids.model_dump()
    vectors = np.load(config.run / "embeddings.npy", allow_pickle=False)
    built = BUILDERS[config.docids.builder].build(len(documents), vectors, settings, config.seed)
    doc_ids, titles = zip(*((document.id, document.title) for document in documents), strict=True)
    about = settings | {"embedder": config.embed.method, "seed": config.seed}
    table = DocidTable(doc_ids, titles, built.codes, built.sizes, about, built.codebooks)
    table.save(config.run / "docids")
    used = [len(np.unique(table.codes[:, level])) for level in range(len(table.sizes))]
    levels = ", ".join(f"{use} of {size}" for use, size in zip(used, table.sizes, strict=True))
    console.print(f"{len(table):,} documents, {table.unique_share:.1%} with a docid of their own; codes used: {levels}")


STAGE = Stage("docids", settings=("docids",), reads=("collection", "embeddings.npy"), writes=("docids",))

if __name__ == "__main__":
    run_stage(STAGE, main)
