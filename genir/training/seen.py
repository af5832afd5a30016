"""The documents with train queries, among which train queries are trained if the experts take part."""

from typing import NamedTuple

import numpy as np

from genir.docids.trie import AllowedLeaves
from genir.retriever import Retriever
from genir.training.examples import ExampleSources


class SeenDocuments(NamedTuple):
    """The documents with train queries, by their indices, ascending, and by their leaves, on the model's device."""

    doc_indices: list[int]
    leaves: AllowedLeaves


def find_seen_documents(retriever: Retriever, sources: ExampleSources) -> SeenDocuments | None:
    """Find the documents with train queries.

    Returns None if nothing is restricted to them: without experts, if these are all documents, and in a collection
    without train queries, where pseudo queries take their place.
    """
    judged = [query for query in sources.queries if query.query_id]
    doc_indices = sorted({doc_index for query in judged for doc_index in query.doc_indices})
    if retriever.experts is None or len(doc_indices) in (0, len(retriever.table)):
        return None
    return SeenDocuments(doc_indices, retriever.index.trie.allow(np.array(doc_indices)).to(retriever.model.device))
