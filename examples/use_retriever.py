"""Search with a trained retriever: python examples/use_retriever.py RETRIEVER [QUERY].

RETRIEVER is a retriever folder or a run folder, such as runs/quickstart after `make quickstart`.
"""

import sys

from genir import Hits, Retriever


def main(folder: str, query: str) -> None:
    """Search for a query in three ways, and print the hits."""
    retriever = Retriever.from_pretrained(folder)

    # A beam search follows the k + 10 most probable docids from level to level. `hits.exact` says whether the
    # hits are proven to have the best scores of all documents; if not, a better document may have been pruned.
    hits = retriever.search(query, k=5)
    print(hits)
    print("proven" if hits.exact else "a better document may have been pruned")

    # An exact search continues until its hits are proven.
    exact = retriever.search(query, k=5, exact=True)
    print(f"\n{count_common(hits, exact)} of these {len(hits)} hits are among the model's true {len(exact)} best")

    # `allowed` restricts the search to some documents, for example those that a user may read. It does not filter the
    # hits afterwards: the scores are the probabilities given that one of these documents is the answer.
    others = set(retriever.table.doc_ids) - {hit.doc_id for hit in hits}
    print("\nwithout these hits,", retriever.search(query, k=5, allowed=others))


def count_common(first: Hits, second: Hits) -> int:
    """Count the documents that two rankings have in common."""
    return len({hit.doc_id for hit in first} & {hit.doc_id for hit in second})


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else "who invented the names for types of clouds")
