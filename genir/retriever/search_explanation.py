"""What a search did, level by level: which prefixes the beams held, which were pruned, and which became hits."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genir.decoding.beam import beam_search
from genir.decoding.deadline import Deadline
from genir.decoding.index import DocumentIndex
from genir.decoding.prefix_tree import LevelCounts, Prefix, build_prefix_tree, count_levels
from genir.decoding.search import TracedLevel
from genir.errors import make_printable, quote, shorten
from genir.model import DocidModel, Encoded
from genir.records import Hits
from genir.retriever.search_html import draw_html
from genir.retriever.search_picture import describe_outcome, draw_plot, format_p
from genir.scoring.masses import Masses

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = ("p", "log p", "prior", "model")
_LONGEST_LABEL = 24


@dataclass(frozen=True)
class SearchExplanation:
    """A search as the tree of the prefixes that it considered; shown as such in a terminal and in a notebook.

    hits: the documents found, as `Retriever.search` returns them. beams: the beam size. bound: the best log p of a
    pruned prefix that might have led to one of the hits, -inf if there is none; the hits above it are proven. tree: the
    empty docid, with the prefixes below it (`genir.decoding.prefix_tree.Prefix`). levels: what became of the prefixes
    of each level at which there was a choice (`genir.decoding.prefix_tree.LevelCounts`). experts: the names of the
    experts that gave the prior; without any, it is the share of the documents.
    """

    hits: Hits
    beams: int
    bound: float
    tree: Prefix
    levels: list[LevelCounts]
    experts: list[str]

    @property
    def query(self) -> str:
        """The query."""
        return self.hits.query

    @property
    def exact(self) -> bool:
        """Whether the hits are proven to be the model's best documents."""
        return self.hits.exact

    def to_dict(self) -> dict[str, Any]:
        """The explanation as JSON types; a bound of -inf is None."""
        return {
            "query": self.query,
            "beams": self.beams,
            "exact": self.exact,
            "num_proven": self.hits.num_proven,
            "bound": self.bound if self.bound > -math.inf else None,
            "hits": [hit._asdict() | {"docid": list(hit.docid)} for hit in self.hits],
            "experts": self.experts,
            "levels": [counts._asdict() for counts in self.levels],
            "tree": self.tree.to_dict(),
        }

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the tree with matplotlib, one column for each level; on new axes unless there are some.

        The picture is saved with `explanation.plot().figure.savefig("search.png")`. Raises GenirError for anything but
        axes of matplotlib, such as the name of a file.
        """
        return draw_plot(self.tree, self.describe(), ax)

    def describe(self) -> str:
        """The query, the number of hits, and what is proven, in one line."""
        count = f"{len(self.hits)} {'hit' if len(self.hits) == 1 else 'hits'} with {self.beams} beams"
        best = f"the best pruned prefix has log p {self.bound:.3f}"
        if self.exact:
            return f"{quote(self.query)}: {count}, proven to be the best"
        if self.hits.num_proven:
            return f"{quote(self.query)}: {count}, the first {self.hits.num_proven} proven to be the best ({best})"
        return f"{quote(self.query)}: {count}, not proven to be the best ({best})"

    def __str__(self) -> str:
        rows = list(_format_tree(self.tree))
        width = max(len(name) for name, _, _ in rows)
        lines = [self.describe(), f"{'docid':<{width}}" + "".join(f"{name:>9}" for name in _COLUMNS)]
        for name, numbers, outcome in rows:
            lines.append(f"{name:<{width}}{''.join(f'{x:>9}' for x in numbers):<36}  {outcome}".rstrip())
        for level, considered, kept, hits, pruned_p in self.levels:
            pruned = considered - kept - hits
            lines.append(
                f"level {level}: {considered:,} considered, {kept:,} kept, {hits:,} became hits, "
                f"{pruned:,} pruned (together {format_p(pruned_p)})"
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return draw_html(self.tree, self.describe())


def explain_search(
    model: DocidModel,
    index: DocumentIndex,
    query: str,
    k: int,
    beams: int,
    encoded: Encoded,
    masses: Masses,
    deadline: Deadline,
) -> SearchExplanation:
    """Search for one query, and explain what the search did; `encoded` and `masses` are of that query.

    Raises SearchTimeout at the deadline.
    """
    trace: list[TracedLevel] = []
    result = beam_search(model, masses.trie, encoded, beams, k, deadline=deadline, masses=masses, trace=trace)
    deadline.check()
    leaves, bound = result.leaves[0].tolist(), float(result.bound[0])
    hits = index.make_hits(query, leaves, result.scores[0].tolist(), bool(result.exact[0]), bound)
    tree, levels = build_prefix_tree(trace, masses, index, leaves), count_levels(trace, leaves)
    experts = [] if index.experts is None else list(index.experts.indexes)
    return SearchExplanation(hits, beams, bound, tree, levels, experts)


def _format_tree(node: Prefix, first: str = "", rest: str = "") -> Iterator[tuple[str, list[str], str]]:
    """Format a prefix and those below it: codes after the lines of the tree, numbers, and what became of the prefix.

    first, rest: the lines of the tree before this prefix, and before those below it.
    """
    numbers = [format_p(node.p), f"{node.logp:.3f}", f"{node.prior:.3f}", f"{node.model:+.3f}"]
    yield first + (shorten(make_printable(node.label), _LONGEST_LABEL) or "any docid"), numbers, describe_outcome(node)
    for child in node.children:
        branch, gap = ("└─ ", "   ") if child is node.children[-1] else ("├─ ", "│  ")
        yield from _format_tree(child, rest + branch, rest + gap)
