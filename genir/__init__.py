"""genir: generative retrieval and ranking.

A seq2seq model reads a query and writes the identifier (docid) of the document that answers it.

    from genir import Retriever
    retriever = Retriever.from_pretrained("runs/quickstart/retriever")
    print(retriever.search("who invented the names for types of clouds", k=10))
"""

import os
from typing import TYPE_CHECKING, Any

# Both must be set before torch and tokenizers are imported. Passive waiting keeps a second OpenMP thread from
# spinning beside a busy neighbour; tokenizers must not fork its pool.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

if TYPE_CHECKING:
    from genir.collection import open_collection as open_collection
    from genir.config import load_config as load_config
    from genir.records import Document as Document
    from genir.retriever import Retriever as Retriever

__version__ = "0.1.0"
__all__ = ["Document", "Retriever", "__version__", "load_config", "open_collection"]

_HOMES = {
    "Document": "genir.records",
    "Retriever": "genir.retriever",
    "load_config": "genir.config",
    "open_collection": "genir.collection",
}


def __getattr__(name: str) -> Any:
    """Import the public names on first use, so that `import genir` and `genir --help` stay instant."""
    if name not in _HOMES:
        raise AttributeError(f"module 'genir' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
