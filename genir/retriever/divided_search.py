"""Searches that are divided over the processes of a job."""

from collections.abc import Collection, Sequence

from genir.console import track
from genir.processes import gather_shares, take_share
from genir.records import Hits
from genir.retriever.retriever import Retriever


def search_over_processes(
    retriever: Retriever,
    queries: Sequence[str],
    k: int,
    beams: int,
    batch_size: int = 32,
    allowed: Collection[str] | None = None,
    exact: bool = False,
    description: str | None = None,
) -> list[Hits]:
    """Search queries with the same retriever in all processes, and return the hits of all queries in all of them.

    The batches are those of `Retriever.search_many`, whose parameters these are, and so are the results, to the bit.
    description: the label of a progress bar; None shows none.
    """
    starts = take_share(range(0, len(queries), batch_size))
    found = [
        retriever.search_many(queries[start : start + batch_size], k, beams, allowed, batch_size, exact=exact)
        for start in (starts if description is None else track(starts, description))
    ]
    return [hits for batch in gather_shares(found) for hits in batch]
