"""The explanation of a search in a notebook, read as XML."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from genir.retriever.search_picture import place
from tests.helpers.retrievers import growing_retriever

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> & \"quotes\" 'too'"


@pytest.fixture(scope="module")
def found(tokenizer):
    return growing_retriever(tokenizer, weight=1.5)[0].explain("owls hunt mice")


def test_the_html_has_a_box_for_each_prefix_and_a_line_to_each_but_the_root(found):
    root, placed = ET.fromstring(found._repr_html_()), place(found.tree)
    assert len(root.findall(f".//{SVG}rect")) == len(placed)
    assert len(root.findall(f".//{SVG}path")) == len(placed) - 1
    texts = [text.text or "" for text in root.iter(f"{SVG}text")]
    assert all(sum(text.startswith(f"{hit.rank}. {hit.doc_id}") for text in texts) == 1 for hit in found.hits)
    assert root.find("figcaption").text == found.describe()
    assert root.find(f"{SVG}svg").get("aria-label") == found.describe()


def test_boxes_are_inside_the_picture_and_do_not_overlap(found):
    svg = ET.fromstring(found._repr_html_()).find(f"{SVG}svg")
    boxes = [[float(x.get(name)) for name in ("x", "y", "width", "height")] for x in svg.iter(f"{SVG}rect")]
    for i, (x, y, width, height) in enumerate(boxes):
        assert 0 <= x < x + width <= float(svg.get("width"))
        assert 0 <= y < y + height <= float(svg.get("height"))
        for x2, y2, _, _ in boxes[:i]:
            assert abs(x - x2) >= width or abs(y - y2) >= height


def test_hostile_queries_and_titles_are_text(make_retriever):
    retriever = make_retriever(np.array([[0], [1], [2]]), (3,))
    retriever.table.titles[:] = [HOSTILE] * 3
    html = retriever.explain(HOSTILE)._repr_html_()
    root = ET.fromstring(html)
    assert {element.tag for element in root.iter()} == {"figure", "figcaption"} | {
        SVG + tag for tag in ("svg", "g", "rect", "path", "text")
    }
    assert not any(name.startswith("on") for element in root.iter() for name in element.attrib)
    assert HOSTILE[:20] in "".join(root.itertext())
    assert "http" not in html.replace("http://www.w3.org/2000/svg", "")


def test_text_has_the_colour_of_the_page(found):
    root = ET.fromstring(found._repr_html_())
    assert "fill:currentColor" in root.find(f"{SVG}svg").get("style")
    assert not any(text.get("fill") for text in root.iter(f"{SVG}text"))
