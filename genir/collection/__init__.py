"""Collections of documents, queries and judgments: BEIR folders, ir_datasets datasets, and published collections."""

from genir.collection.base import Collection
from genir.collection.beir import QRELS_HEADER, BeirCollection, read_documents
from genir.collection.irds import IrDatasetsCollection
from genir.collection.opening import open_collection

__all__ = [
    "QRELS_HEADER",
    "BeirCollection",
    "Collection",
    "IrDatasetsCollection",
    "open_collection",
    "read_documents",
]
