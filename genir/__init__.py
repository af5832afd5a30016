"""genir: generative retrieval and ranking.

A seq2seq model reads a query and generates the identifier (docid) of the document that answers it.

    from genir import Retriever
    retriever = Retriever.from_pretrained("runs/quickstart/retriever")
    print(retriever.search("who invented the names for types of clouds", k=10))
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genir.collection import open_collection as open_collection
    from genir.config import load_config as load_config
    from genir.errors import GenirError as GenirError
    from genir.errors import SearchTimeout as SearchTimeout
    from genir.records import Document as Document
    from genir.records import Hit as Hit
    from genir.records import Hits as Hits
    from genir.records import Query as Query
    from genir.retriever import Retriever as Retriever

__version__ = "0.1.0"
__all__ = [
    "Document",
    "GenirError",
    "Hit",
    "Hits",
    "Query",
    "Retriever",
    "SearchTimeout",
    "__version__",
    "load_config",
    "open_collection",
]

_MODULES = {
    "Document": "genir.records",
    "GenirError": "genir.errors",
    "Hit": "genir.records",
    "Hits": "genir.records",
    "Query": "genir.records",
    "Retriever": "genir.retriever",
    "SearchTimeout": "genir.errors",
    "load_config": "genir.config",
    "open_collection": "genir.collection",
}
"""Public name -> the module that defines it."""


def __getattr__(name: str) -> Any:
    """Import the public names on first use, so that `import genir` does not import torch and transformers."""
    if name not in _MODULES:
        raise AttributeError(f"module 'genir' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
