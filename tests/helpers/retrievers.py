"""A retriever to which documents can be added."""

import numpy as np

from genir import Retriever
from genir.config import RQConfig
from genir.docids import BuilderInput, DocidTable
from genir.docids.assign import build_docids
from genir.records import Document
from tests.helpers.models import make_model


def growing_retriever(tokenizer):
    """A retriever of 30 documents that has codebooks; these and 10 more documents; and the vectors of all 40."""
    vectors = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    documents = [Document(f"d{i}", f"Title {i}", "") for i in range(40)]
    config = RQConfig(levels=2, codebook_size=4)
    _, built = build_docids(BuilderInput(documents[:30], vectors[:30]), config, 0)
    names = [document.id for document in documents[:30]]
    table = DocidTable.from_codes(built, doc_ids=names, titles=names, settings={"docids": config.model_dump()})
    return Retriever(make_model(built.sizes, base=len(tokenizer)), tokenizer, table), documents, vectors


def find_all(retriever):
    """The scores of all documents for one query, {(doc_id, docid): score}."""
    return {(hit.doc_id, hit.docid): hit.score for hit in retriever.search("owls", k=99, beams=99)}
