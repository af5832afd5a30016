"""Small raw files of published collections, in the official formats of MS MARCO."""

import gzip
from pathlib import Path

DOCUMENTS = [
    ("D1", "http://a.org/x", "Owls", "owls\thunt mice, a tab inside"),
    ("D2", "http://b.org/y", "", "no title"),
    ("D3", "http://c.org/z", "No body", ""),
    ("D4", "http://d.org/w", "Never clicked", "text"),
]
TRAIN = [("1", "D2"), ("2", "D1"), ("3", "D2"), ("4", "D3"), ("5", "D3"), ("6", "D1"), ("7", "D1")]
DEV = [("11", "D3"), ("12", "D4"), ("13", "D1")]
DOCUMENT_FILES = {
    "msmarco-docs.tsv.gz": DOCUMENTS,
    "msmarco-doctrain-queries.tsv.gz": [(query, f"train question {query}") for query, _ in TRAIN],
    "msmarco-doctrain-qrels.tsv.gz": [(f"{query} 0 {document} 1",) for query, document in TRAIN],
    "msmarco-docdev-queries.tsv.gz": [(query, f"dev question {query}") for query, _ in DEV],
    "msmarco-docdev-qrels.tsv.gz": [(f"{query} 0 {document} 1",) for query, document in DEV],
    "msmarco-test2019-queries.tsv.gz": [("21", "what is judged"), ("22", "what is not judged")],
    "2019qrels-docs.txt": [("21 0 D4 3",), ("21 0 D1 0",)],
    "msmarco-test2020-queries.tsv.gz": [("31", "later question")],
    "2020qrels-docs.txt": [("31 0 D2 2",)],
}
"""MS MARCO's document collection: file name -> rows of columns."""


def join_columns(rows, end="\n") -> bytes:
    """Rows as tab-separated lines that end with `end`."""
    return "".join("\t".join(row) + end for row in rows).encode()


def write_raw(folder: Path, files, end="\n") -> Path:
    """Write files, given as name -> rows, into a folder; those named .gz are compressed."""
    folder.mkdir(exist_ok=True)
    for name, rows in files.items():
        content = join_columns(rows, end)
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return folder
