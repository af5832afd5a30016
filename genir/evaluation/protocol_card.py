"""The protocol card: what a run was measured on, so that numbers are compared only where they can be.

RUN/collection/card.json says which documents, queries and judgments; RUN/evaluation/card.json adds the fingerprint,
BM25's measures, which differ where ids are the same but texts are not.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from genir.errors import GenirError
from genir.files import read_json
from genir.records import Judgment

Card = dict[str, Any]
CUSTOM = "custom"  # the build of a collection without a name
FINGERPRINT = ("R@1", "R@10", "RR@10")


def ids_hash(ids: Iterable[str]) -> str:
    """sha256 of ids, each on a line, in alphabetical order: the same for the same set of them."""
    digest = hashlib.sha256()
    for name in sorted(ids):
        digest.update(f"{name}\n".encode())
    return digest.hexdigest()


def split_entry(judgments: Sequence[Judgment]) -> dict[str, Any]:
    """Counts and hashes of a split's judged queries and of its judgments."""
    queries = {judgment.query_id for judgment in judgments}
    return {
        "queries": len(queries),
        "judgments": len(judgments),
        "queries_sha256": ids_hash(queries),
        "judgments_sha256": ids_hash(f"{row.query_id}\t{row.doc_id}\t{row.grade}" for row in judgments),
    }


def make_card(build: str | None, source: str, doc_ids: set[str], splits: Mapping[str, Mapping[str, Any]]) -> Card:
    """A collection's card; splits: name -> what `split_entry` gave."""
    documents = {"count": len(doc_ids), "sha256": ids_hash(doc_ids)}
    return {"build": build or CUSTOM, "source": source, "documents": documents, "splits": dict(splits)}


def with_fingerprint(run: Path) -> Card:
    """The card of a run whose baseline was measured."""
    card: Card = read_json(run / "collection" / "card.json")
    return card | {"bm25": read_json(run / "baseline" / "fingerprint.json")}


def read_card(run: Path) -> Card:
    """The card of an evaluated run."""
    path = run / "evaluation" / "card.json"
    if not path.exists():
        raise GenirError(f"{path}: this run has no protocol card; run prepare, baseline and evaluate again")
    return dict(read_json(path))


def differences(a: Card, b: Card, splits: Iterable[str]) -> list[str]:
    """In what two runs differ that makes their measures on `splits` incomparable; empty when in nothing."""
    found = []
    if a["build"] != b["build"]:
        found.append(f"the build is {a['build']} and {b['build']}")
    if a["documents"]["sha256"] != b["documents"]["sha256"]:
        found.append(f"the documents differ ({a['documents']['count']:,} and {b['documents']['count']:,})")
    for split in splits:
        found += _split_differences(a, b, split)
    return found


def _split_differences(a: Card, b: Card, split: str) -> list[str]:
    left, right = (card["splits"].get(split) for card in (a, b))
    if left is None or right is None:
        return [f"only one has the split {split}"]
    found = [
        f"the {what} of {split} differ ({left[what]:,} and {right[what]:,})"
        for what in ("queries", "judgments")
        if left[f"{what}_sha256"] != right[f"{what}_sha256"]
    ]
    same_bm25 = a["bm25"]["settings"] == b["bm25"]["settings"]
    for name, value in a["bm25"]["measures"].get(split, {}).items() if same_bm25 and not found else ():
        other = b["bm25"]["measures"].get(split, {}).get(name, value)
        if not math.isclose(value, other, abs_tol=1e-6):
            found.append(f"BM25 has {name} {value:.4f} and {other:.4f} on {split}, so the documents' texts differ")
            break
    return found
