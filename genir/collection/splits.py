"""The splits of a collection: checking their judgments, and carving a dev split from train if there is none.

A dev split is always needed, so that no setting or checkpoint is ever chosen on test queries. If there are neither dev
nor train queries, the prepare stage makes dev of pseudo queries (`genir.pseudo_queries.dev`).
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from genir.collection.base import Collection
from genir.errors import GenirError
from genir.records import Judgment

MAX_GRADE = 30  # gains are 2^grade - 1, and the measures store a grade in a C integer


def needs_pseudo_dev(source: Collection) -> bool:
    """Whether a collection has neither dev queries nor train queries that a dev split could be carved from."""
    return not {"train", "dev"} & {*source.splits}


def require_search_splits(source: Collection, wanted: Iterable[str]) -> None:
    """Raise GenirError unless each split of search.splits exists, or is the dev split that will be made."""
    origin = "made of pseudo queries" if needs_pseudo_dev(source) else "carved from train"
    available = source.splits if "dev" in source.splits else [*source.splits, f"dev ({origin})"]
    for split in wanted:
        if split not in (*source.splits, "dev"):
            raise GenirError(
                f"{source.name}: no split {split!r}, which search.splits names; there are: {', '.join(available)}. "
                f"Set search.splits=[dev], or name the file of a BEIR folder that contains the split: "
                f"collection.splits={{{split}: NAME}}"
            )


def read_checked_splits(
    source: Collection, dev_fraction: float, doc_ids: set[str], query_ids: set[str]
) -> Iterator[tuple[str, list[Judgment]]]:
    """Yield the name and the judgments of each split, after checking them with `check_judgments`.

    If there is no dev split, one is carved from train and comes just before it. dev_fraction: the fraction of the train
    queries that it gets. Raises GenirError for a judgment that fails the checks, and if train or dev is empty or has no
    relevant document.
    """
    for split in source.splits:
        judgments = list(check_judgments(source, split, doc_ids, query_ids))
        if split == "train" and "dev" not in source.splits:
            judgments, dev = carve_dev(judgments, dev_fraction)
            if not dev or not judgments:
                problem = "too few train queries for a dev split"
                raise GenirError(f"{source.name}: {problem}; add the split dev, or raise collection.dev_fraction")
            require_relevant(source, "dev", dev)
            yield "dev", dev
        if split in ("train", "dev"):
            require_relevant(source, split, judgments)
        yield split, judgments


def carve_dev(judgments: Iterable[Judgment], fraction: float) -> tuple[list[Judgment], list[Judgment]]:
    """Divide train judgments into (train, dev) by a hash (CRC-32) of the query id.

    About `fraction` of the queries go to dev, each with all its judgments. The choice depends only on their ids.
    """
    threshold = fraction * 2**32
    train: list[Judgment] = []
    dev: list[Judgment] = []
    for judgment in judgments:
        in_dev = zlib.crc32(judgment.query_id.encode()) < threshold
        (dev if in_dev else train).append(judgment)
    return train, dev


def check_judgments(source: Collection, split: str, doc_ids: set[str], query_ids: set[str]) -> Iterator[Judgment]:
    """Yield the judgments of a split.

    Raises GenirError, with the location, for a judgment of an unknown document or query, for a grade out of range, and
    for a pair of query and document that is judged twice; also if the split has no judgments.
    """
    seen: set[tuple[str, str]] = set()
    for location, judgment in source.judgments(split):
        if judgment.doc_id not in doc_ids:
            raise GenirError(f"{location}: document {judgment.doc_id!r} is not in the corpus")
        if judgment.query_id not in query_ids:
            raise GenirError(f"{location}: query {judgment.query_id!r} is not among the queries")
        if abs(judgment.grade) > MAX_GRADE:
            raise GenirError(
                f"{location}: the grade {judgment.grade} is out of range: the gain of a document is 2^grade - 1, so "
                f"grades go up to {MAX_GRADE}; 0 to 3 is usual"
            )
        pair = (judgment.query_id, judgment.doc_id)
        if pair in seen:
            raise GenirError(f"{location}: query {pair[0]!r} and document {pair[1]!r} are judged twice")
        seen.add(pair)
        yield judgment
    if not seen:
        raise GenirError(f"{source.name}: the split {split!r} has no judgments")


def require_relevant(source: Collection, split: str, judgments: Iterable[Judgment]) -> None:
    """Raise GenirError if no judgment of a split has a grade above 0, because train and dev need relevant documents."""
    if not any(judgment.grade > 0 for judgment in judgments):
        raise GenirError(f"{source.name}: the split {split!r} needs a relevant document, but no grade in it is above 0")


def counts_before_carving(source: Collection, splits: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Return the numbers of queries and judgments of each split, with a carved dev split counted as part of train.

    splits: name -> the split's entry in the protocol card, with the keys "queries" and "judgments".
    """
    counts = {split: {key: int(entry[key]) for key in ("queries", "judgments")} for split, entry in splits.items()}
    if "dev" in counts and "dev" not in source.splits:
        dev = counts.pop("dev")
        counts["train"] = {key: count + dev[key] for key, count in counts["train"].items()}
    return counts
