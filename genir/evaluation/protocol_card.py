"""The protocol card, which identifies the documents, queries and judgments that a run was measured on.

Measures of two runs can be compared only if their cards agree. The prepare stage writes RUN/collection/card.json. The
evaluate stage writes RUN/evaluation/card.json, which also contains a fingerprint: measures of BM25, which differ if the
texts of two collections differ, even if their ids are the same.
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
CUSTOM = "custom"  # value of "collection" in the card of a collection that is not a published one
FINGERPRINT = ("R@1", "R@10", "RR@10")
"""The measures of BM25 that make up the fingerprint."""
_SPLIT_KEYS = {"queries", "judgments", "queries_sha256", "judgments_sha256"}


def hash_ids(ids: Iterable[str]) -> str:
    """Return the SHA-256 of the sorted ids, one per line, which depends on the set of ids but not on their order."""
    digest = hashlib.sha256()
    for name in sorted(ids):
        digest.update(f"{name}\n".encode())
    return digest.hexdigest()


def describe_split(judgments: Sequence[Judgment]) -> dict[str, Any]:
    """Make a card's entry for one split: the counts and hashes of its judged queries and of its judgments."""
    queries = {judgment.query_id for judgment in judgments}
    return {
        "queries": len(queries),
        "judgments": len(judgments),
        "queries_sha256": hash_ids(queries),
        "judgments_sha256": hash_ids(f"{j.query_id}\t{j.doc_id}\t{j.grade}" for j in judgments),
    }


def make_card(
    published: str | None,
    source: str,
    doc_ids: set[str],
    splits: Mapping[str, Mapping[str, Any]],
    ignore_identical_ids: bool = False,
) -> Card:
    """Make the card of a collection.

    published: name of the published collection, or None for any other. source: the folder, archive or id that the
    collection was read from. splits: name of a split -> the result of `describe_split`. ignore_identical_ids: whether
    the document with the id of a query is left out of rankings; the card has this key only if that is so.
    """
    documents = {"count": len(doc_ids), "sha256": hash_ids(doc_ids)}
    card = {"collection": published or CUSTOM, "source": source, "documents": documents, "splits": dict(splits)}
    return card | ({"ignore_identical_ids": True} if ignore_identical_ids else {})


def make_run_card(run: Path) -> Card:
    """Combine the card of a run folder's collection with the fingerprint of its BM25 baseline.

    Raises GenirError if the prepare stage has not written a card.
    """
    path = run / "baseline" / "fingerprint.json"
    fingerprint = read_json(path)
    if not _is_fingerprint(fingerprint):
        raise GenirError(f"{path}: this file is damaged; run the baseline stage again")
    return _read_card(run / "collection" / "card.json") | {"bm25": fingerprint}


def read_card(run: Path) -> Card:
    """Read the card of an evaluated run folder; raise GenirError if there is none."""
    path = run / "evaluation" / "card.json"
    card = _read_card(path)
    if not _is_fingerprint(card.get("bm25")):
        raise GenirError(f"{path}: this file is damaged; run the evaluate stage again")
    return card


def _read_card(path: Path) -> Card:
    card = read_json(path) if path.exists() else {}
    if not isinstance(card, dict) or "collection" not in card:  # cards of earlier versions call it "build"
        raise GenirError(
            f"{path}: this run has no protocol card, or one from an earlier version; "
            "run prepare, baseline and evaluate again"
        )
    match card:
        case {"documents": {"count": int(), "sha256": str()}, "splits": dict(splits)}:
            if all(isinstance(entry, dict) and entry.keys() >= _SPLIT_KEYS for entry in splits.values()):
                return dict(card)
    raise GenirError(f"{path}: this file is damaged; run prepare and evaluate again")


def _is_fingerprint(value: object) -> bool:
    """Whether a value from a JSON file has the structure of a fingerprint: settings, and measures by split."""
    match value:
        case {"settings": dict(), "measures": dict(measures)}:
            return all(
                isinstance(values, dict) and all(isinstance(x, int | float) for x in values.values())
                for values in measures.values()
            )
    return False


def find_differences(a: Card, b: Card, splits: Iterable[str]) -> list[str]:
    """List the differences between two cards that make measures on `splits` incomparable; empty if there are none."""
    found = []
    if a["collection"] != b["collection"]:
        found.append(f"the collections are {a['collection']} and {b['collection']}")
    if a["documents"]["sha256"] != b["documents"]["sha256"]:
        found.append(f"the documents differ ({a['documents']['count']:,} and {b['documents']['count']:,})")
    if a.get("ignore_identical_ids", False) != b.get("ignore_identical_ids", False):
        found.append("only one of them has collection.ignore_identical_ids")
    for split in splits:
        found += _find_split_differences(a, b, split)
    return found


def _find_split_differences(a: Card, b: Card, split: str) -> list[str]:
    left, right = (card["splits"].get(split) for card in (a, b))
    if left is None or right is None:
        return [f"only one of them has the split {split}"]
    found = [
        f"the {what} of {split} differ ({left[what]:,} and {right[what]:,})"
        for what in ("queries", "judgments")
        if left[f"{what}_sha256"] != right[f"{what}_sha256"]
    ]
    same_bm25 = a["bm25"]["settings"] == b["bm25"]["settings"]
    for name, value in a["bm25"]["measures"].get(split, {}).items() if same_bm25 and not found else ():
        other = b["bm25"]["measures"].get(split, {}).get(name, value)
        if not math.isclose(value, other, abs_tol=1e-6):
            found.append(f"BM25 reaches {name} {value:.4f} and {other:.4f} on {split}, so the documents' texts differ")
            break
    return found
