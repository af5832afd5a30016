"""The tree of a search as HTML for notebooks: an SVG without scripts or links, with the colours of the page."""

from html import escape

from genir.decoding.prefix_tree import Prefix
from genir.errors import make_printable, shorten
from genir.retriever.search_picture import COLORS, Placed, describe_box, describe_outcome, place

_COLUMN, _ROW, _WIDTH, _HEIGHT = 196, 40, 156, 32
"""Distances between columns and between rows, and the size of the box of a prefix, in pixels."""
_TOP = 20
"""Height of the line above the rows, which names the levels."""
_OUTCOME_WIDTH = 360


def draw_html(tree: Prefix, title: str) -> str:
    """Draw the tree as an SVG with a caption."""
    placed = place(tree)
    width = max(x.column for x in placed) * _COLUMN + _WIDTH + _OUTCOME_WIDTH
    height = (max(x.row for x in placed) + 1) * _ROW + _TOP
    levels = sorted({(x.column, x.node.level) for x in placed[1:]})
    names = [_write(f"level {level}", column * _COLUMN, -6, 'font-size="10"') for column, level in levels]
    # Boxes are drawn over lines, and lines that lead further over those of pruned prefixes.
    drawn_first = sorted(placed[1:], key=lambda x: (x.node.status != "pruned", x.node.p))
    shapes = [_draw_line(x, placed[x.parent]) for x in drawn_first] + [_draw_box(x) for x in placed]
    caption = escape(make_printable(title))
    size = f'width="{width}" height="{height}" viewBox="0 {-_TOP} {width} {height}"'
    return (
        f'<figure style="margin:0;overflow-x:auto"><figcaption>{caption}</figcaption>'
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{caption}" {size} '
        f'style="font:12px sans-serif;fill:currentColor">{"".join(names + shapes)}</svg></figure>'
    )


def _draw_line(placed: Placed, parent: Placed) -> str:
    x0, y0 = parent.column * _COLUMN + _WIDTH, parent.row * _ROW + _ROW / 2
    x1, y1 = placed.column * _COLUMN, placed.row * _ROW + _ROW / 2
    middle = x1 - (_COLUMN - _WIDTH) / 2
    path = f"M{x0} {y0}H{x1 - _COLUMN + _WIDTH}C{middle} {y0} {middle} {y1} {x1} {y1}"
    style = f'stroke="{COLORS[placed.node.status]}" stroke-width="{1 + 4 * placed.node.p:.2f}"'
    return f'<path d="{path}" fill="none" {style}/>'


def _draw_box(placed: Placed) -> str:
    """Draw the box of a prefix, and beside it what became of it, unless there are others below it."""
    node = placed.node
    x, y = placed.column * _COLUMN, placed.row * _ROW + (_ROW - _HEIGHT) / 2
    color, opacity = COLORS[node.status], 0.65 if node.status == "pruned" else 1
    text = describe_box(node)
    dashes = ' stroke-dasharray="4 3"' if node.status == "pruned" else ""
    parts = [
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="5" fill="{color}" fill-opacity=".12" '
        f'stroke="{color}"{dashes}/>',
        _write(text.label, x + 7, y + 13, 'font-weight="bold"'),
        _write(text.p, x + _WIDTH - 7, y + 13, 'text-anchor="end" font-weight="bold"'),
        _write(text.prior, x + 7, y + 26, 'font-size="10"'),
        _write(text.factor, x + _WIDTH - 7, y + 26, 'text-anchor="end" font-size="10"'),
    ]
    if not node.children:
        parts.append(_write(shorten(describe_outcome(node), 55), x + _WIDTH + 8, y + 20))
    return f'<g opacity="{opacity}">{"".join(parts)}</g>'


def _write(text: str, x: float, y: float, style: str = "") -> str:
    return f'<text x="{x}" y="{y}" {style}>{escape(text)}</text>'
