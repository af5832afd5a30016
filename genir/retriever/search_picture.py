"""The tree of a search as a picture, drawn with matplotlib, and the layout and wording of all its pictures.

There is one column for each level at which prefixes have alternatives. A prefix is in the row of its most likely child;
one without children has a row of its own, with the document that it leads to, or what became of it.
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from genir.decoding.prefix_tree import Prefix
from genir.errors import GenirError, make_printable, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LONGEST_LABEL = 12
_TIMES = "\N{MULTIPLICATION SIGN}"
COLORS = {"hit": "#2e9e5b", "kept": "#3b82d6", "pruned": "#8a8f98"}
"""Mid tones, which are visible on white and on black."""


class Placed(NamedTuple):
    """A prefix in a picture: its column and row, and the index of its parent among all, -1 for the root."""

    node: Prefix
    parent: int
    column: int
    row: int


def place(tree: Prefix) -> list[Placed]:
    """Place the prefixes of a tree, the root first and each parent before its children, in the order of the rows."""
    placed: list[Placed] = []
    levels = sorted({node.level for node in walk(tree)})
    column = {level: number for number, level in enumerate(levels)}

    def add(node: Prefix, parent: int, row: int) -> int:
        """Place a prefix at the row, those below it from there on, and return the next free row."""
        number = len(placed)
        placed.append(Placed(node, parent, column[node.level], row))
        end = row
        for child in node.children:
            end = add(child, number, end)
        return max(end, row + 1)

    add(tree, -1, 0)
    return placed


def walk(node: Prefix) -> Iterator[Prefix]:
    """Iterate over a prefix and all below it, each parent before its children."""
    yield node
    for child in node.children:
        yield from walk(child)


def format_p(p: float) -> str:
    """Write a probability in per cent, with at most three digits."""
    percent = 100 * p
    if percent >= 10:
        return f"{percent:.0f} %"
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.2g} %" if percent >= 0.01 else "<0.01 %"


def format_factor(model: float) -> str:
    """Write by which factor the model changes a probability; model: the difference of the logarithms."""
    factor = math.exp(min(model, 99))
    if factor >= 9.95:
        return _TIMES + (f"{factor:,.0f}" if factor < 9999.5 else ">9,999")
    return _TIMES + (f"{factor:.1f}" if factor >= 0.95 else f"{factor:.2g}" if factor >= 0.01 else "<0.01")


def describe_outcome(node: Prefix) -> str:
    """What became of a prefix, in a few words."""
    count = f"{node.documents:,} {'document' if node.documents == 1 else 'documents'}"
    document = make_printable(" ".join(filter(None, (node.doc_id, node.title))))
    if node.status == "hit":
        return f"{node.rank}. {document}"
    if node.status == "pruned":
        return f"pruned: {document or count}"
    if node.others:
        word = "prefix" if node.others == 1 else "prefixes"
        text = f"{node.others:,} more {word} pruned" if node.children else f"{node.others:,} {word}, all pruned"
        count += f"; {text} ({format_p(node.others_p)})"
    return count


def draw_plot(tree: Prefix, title: str, ax: "Axes | None") -> "Axes":
    """Draw the tree on axes of matplotlib; None creates them. Raises GenirError for anything else."""
    from matplotlib.axes import Axes

    if ax is not None and not isinstance(ax, Axes):
        raise GenirError(f"plot draws on axes of matplotlib, got {ax!r}; plot().figure.savefig(FILE) saves the picture")
    placed = place(tree)
    columns, rows = max(x.column for x in placed) + 1, max(x.row for x in placed) + 1
    if ax is None:
        from matplotlib import pyplot

        _, ax = pyplot.subplots(figsize=(2.1 * columns + 3.5, 0.42 * rows + 0.8), layout="constrained")
    steps = [x / 20 for x in range(21)]
    for node, parent, column, row in placed:
        color = COLORS[node.status]
        if parent >= 0:
            start, above = placed[parent].column + 0.3, placed[parent].row
            curve = [above + (row - above) * (3 * x**2 - 2 * x**3) for x in steps]
            ax.plot([start + (column - start) * x for x in steps], curve, color=color, lw=0.5 + 3 * node.p, zorder=0)
        gray: dict[str, Any] = {"color": "dimgray"} if node.status == "pruned" else {}
        box = {"boxstyle": "round", "facecolor": "white", "edgecolor": color}
        text = "{}   {}\n{}   {}".format(*describe_box(node))
        ax.text(column, row, text, fontsize=7, va="center", parse_math=False, bbox=box, **gray)
        if not node.children:
            outcome = shorten(describe_outcome(node), 50)
            ax.text(column + 0.72, row, outcome, fontsize=8, va="center", parse_math=False, **gray)
    for column, level in {x.column: x.node.level for x in placed[1:]}.items():
        ax.text(column, -0.75, f"level {level}", fontsize=7, va="center", color="dimgray")
    ax.set_xlim(-0.1, columns + 1.4)
    ax.set_ylim(rows - 0.4, -1)
    ax.set_axis_off()
    ax.set_title(make_printable(title), fontsize=9, loc="left", parse_math=False)
    return ax


class BoxText(NamedTuple):
    """The text in the box of a prefix, in two lines of two parts each."""

    label: str
    p: str
    prior: str
    factor: str


def describe_box(node: Prefix) -> BoxText:
    """What is in the box: codes and probability; the probability by the experts alone, and the model's factor."""
    label = shorten(make_printable(node.label), _LONGEST_LABEL)
    if node.level == 0:
        return BoxText(label or "any docid", "", f"{node.documents:,} documents", "")
    prior = f"prior {format_p(math.exp(node.prior))}"
    return BoxText(label, format_p(node.p), prior, format_factor(node.model))
