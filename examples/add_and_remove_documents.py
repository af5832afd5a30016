"""Add a document to a trained retriever and remove it again: python examples/add_and_remove_documents.py RETRIEVER.

RETRIEVER is a retriever folder or a run folder, such as runs/quickstart after `make quickstart`. The folder is not
changed; the result is saved in a temporary folder. Neither adding nor removing needs any training.
"""

import sys
import tempfile
from pathlib import Path

from genir import Document, Retriever

EAGLE_OWL = Document(
    id="owls-11",
    title="Eurasian eagle-owl",
    text="The Eurasian eagle-owl is one of the largest owls, with orange eyes and prominent ear tufts. It hunts hares, "
    "rats and even other owls at night, and lays its eggs on cliff ledges.",
)
QUERY = "which large owl has orange eyes and ear tufts"


def main(folder: str) -> None:
    """Add a document, search for it, save and load the retriever, and remove the document."""
    retriever = Retriever.from_pretrained(folder)
    print("before:", retriever.search(QUERY))

    # The new document gets its docid from the codebooks that are stored with the retriever. The model has never seen
    # it, but BM25, the retriever's expert, knows its words at once.
    retriever.add([EAGLE_OWL])
    print("\nafter:", retriever.search(QUERY))

    with tempfile.TemporaryDirectory() as folder_name:
        retriever.save_pretrained(Path(folder_name) / "retriever")
        loaded = Retriever.from_pretrained(Path(folder_name) / "retriever")
    print(f"\nsaved and loaded: the hits are the same: {loaded.search(QUERY) == retriever.search(QUERY)}")

    retriever.remove([EAGLE_OWL.id])
    print("\nremoved:", retriever.search(QUERY))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
