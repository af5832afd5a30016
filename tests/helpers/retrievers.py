"""Retrievers to which documents can be added, and retrievers with experts."""

import numpy as np
import torch

from genir import Retriever
from genir.config import BaselineConfig, RQConfig
from genir.docids import BuilderInput, DocidTable
from genir.docids.assign import build_docids
from genir.records import Document
from genir.scoring.experts import Experts
from genir.scoring.lexical import LexicalIndex
from tests.helpers.beir import SUBJECTS
from tests.helpers.models import make_model

WORDS = " ".join(SUBJECTS).split()


def make_documents(count, seed=0):
    """Documents d0, d1, ... of random words, of which some have the same words."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(WORDS, rng.integers(1, 9))) for _ in range(count)]
    return [Document(f"d{i}", f"Title {i}", text) for i, text in enumerate(texts)]


def growing_retriever(tokenizer, weight=None):
    """A retriever of 30 documents that has codebooks; these and 10 more documents; and the vectors of all 40.

    weight: that of BM25; None means that the retriever has no experts.
    """
    vectors = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    documents = make_documents(40)
    config = RQConfig(levels=2, codebook_size=4)
    _, built = build_docids(BuilderInput(documents[:30], vectors[:30]), config, 0)
    names = [document.id for document in documents[:30]]
    table = DocidTable.from_codes(built, doc_ids=names, titles=names, settings={"docids": config.model_dump()})
    retriever = Retriever(make_model(built.sizes, base=len(tokenizer)), tokenizer, table)
    return retriever if weight is None else with_bm25(retriever, documents[:30], weight), documents, vectors


def with_bm25(retriever, documents, weight=1.0):
    """A retriever with the model and the docids of another one, and with BM25 over its documents as an expert."""
    index = LexicalIndex.build([document.body for document in documents], BaselineConfig())
    experts = Experts({"text": index.reordered(retriever.trie.doc_indices.numpy())}, {"text": weight})
    return Retriever(retriever.model, retriever.tokenizer, retriever.table, experts=experts)


def clear_head(retriever):
    """Set the output head to zero, as that of a model that has not learned anything."""
    with torch.no_grad():
        retriever.model.t5.lm_head.weight.zero_()


def find_all(retriever, query="owls"):
    """The scores of all documents for a query, {(doc_id, docid): score}."""
    return {(hit.doc_id, hit.docid): hit.score for hit in retriever.search(query, k=99, beams=99)}
