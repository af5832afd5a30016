"""Add a document to a trained retriever and remove it again: python examples/add_and_remove_documents.py RETRIEVER.

RETRIEVER is a retriever folder or a run folder, such as runs/quickstart after `make quickstart`. It is not changed: the
result is saved in a temporary folder. Neither adding nor removing needs any training.
"""

import sys
import tempfile
from pathlib import Path

from genir import Document, Retriever

MATCHA = Document(
    id="tea-11",
    title="Matcha",
    text="Matcha is green tea ground to a fine powder between granite stones. The bushes are shaded for weeks before "
    "the harvest, and the powder is whisked with hot water in a bowl until it foams.",
)
QUERY = "which green tea is ground to powder and whisked"


def main(folder: str) -> None:
    """Add a document, search for it, save and load the retriever, and remove the document."""
    retriever = Retriever.from_pretrained(folder)
    print("before:", retriever.search(QUERY, k=3))

    # The new document gets its docid from the codebooks that are stored with the retriever. Similar documents get
    # similar docids, and the model finds the new document through the codes that it shares with them.
    retriever.add([MATCHA])
    print("\nafter:", retriever.search(QUERY, k=3))

    with tempfile.TemporaryDirectory() as place:
        retriever.save_pretrained(Path(place) / "retriever")
        loaded = Retriever.from_pretrained(Path(place) / "retriever")
    print(f"\nsaved and loaded: the hits are the same: {loaded.search(QUERY) == retriever.search(QUERY)}")

    retriever.remove([MATCHA.id])
    print("\nremoved:", retriever.search(QUERY, k=3))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
