"""Docid tables, and input of docid builders, for tests."""

import numpy as np

from genir.docids import BuilderInput, Codes, DocidTable
from genir.records import Document


def random_vectors(count=60, dimension=12, seed=0):
    return np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)


def vector_inputs(vectors):
    """Documents without text, one for each vector."""
    return BuilderInput([Document(str(i), "", "") for i in range(len(vectors))], vectors)


def make_table(codes, sizes, **kwargs):
    """A table whose documents are named d0, d1, ..."""
    names = [f"d{i}" for i in range(len(codes))]
    return DocidTable.from_codes(Codes(np.asarray(codes), sizes), doc_ids=names, titles=names, **kwargs)


def code_tuples(codes):
    """The docids as tuples, without padding."""
    return [tuple(code for code in row if code >= 0) for row in codes.tolist()]
