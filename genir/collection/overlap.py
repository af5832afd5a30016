"""The overlap of the other splits with train, and judgments of a query's own document, which measures depend on."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from genir.errors import GenirError
from genir.records import Judgment


class RelevantPair(NamedTuple):
    """A query and one of its relevant documents; `query` is the text in lower case and with single spaces."""

    query: str
    doc_id: str


def relevant_pairs(judgments: Iterable[Judgment], texts: Mapping[str, str]) -> set[RelevantPair]:
    """Return the pairs of a split's judgments with a grade above 0. texts: query id -> text."""
    return {
        RelevantPair(" ".join(texts[judgment.query_id].casefold().split()), judgment.doc_id)
        for judgment in judgments
        if judgment.grade > 0
    }


def describe_overlap(pairs: Mapping[str, set[RelevantPair]]) -> Iterator[str]:
    """Yield a sentence for each split with queries that are also in train; queries are compared by their texts.

    pairs: split -> its relevant pairs.
    """
    train = pairs.get("train", set())
    train_queries = {pair.query for pair in train}
    for split, own in pairs.items():
        queries = {pair.query for pair in own}
        if split != "train" and (shared := len(queries & train_queries)):
            yield (
                f"{shared:,} of the {len(queries):,} different queries of {split} are also in train, and so are "
                f"{len(own & train):,} of its {len(own):,} judgments of relevant documents"
            )


def require_other_documents(name: str, split: str, judgments: Iterable[Judgment]) -> None:
    """Raise GenirError if a document with the id of its query is relevant, because it must not be left out then.

    name: the origin of the collection.
    """
    own = [judgment.query_id for judgment in judgments if judgment.query_id == judgment.doc_id and judgment.grade > 0]
    if own:
        raise GenirError(
            f"{name}: the split {split!r} has {len(own):,} relevant documents with the id of their query, such as "
            f"{own[0]!r}, which collection.ignore_identical_ids would leave out; set it to false"
        )
