"""The page /docs: complete, without anything from elsewhere, and with texts as texts."""

import re
from html.parser import HTMLParser

import pytest

from genir.serving.docs_page import render_docs
from tests.helpers.serving import make_app


class Reader(HTMLParser):
    """Collects the tags, the addresses and the text of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.addresses, self.ids, self.text = set(), set(), set(), ""

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.addresses |= {value for name, value in attributes if name in ("href", "src", "action")}
        self.ids |= {value for name, value in attributes if name == "id"}

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def description(owls):
    return make_app(owls).openapi()


def read(page):
    reader = Reader()
    reader.feed(page)
    return reader


def test_the_page_shows_every_endpoint_parameter_and_schema(description):
    page = read(render_docs(description))
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            assert re.search(rf"{method.upper()}\s+{path}\s", page.text)
            assert {x["name"] for x in operation.get("parameters", [])} <= {*re.findall(r"\w+", page.text)}
    assert {*description["components"]["schemas"]} <= page.ids
    assert "None" not in page.text
    assert "list of Hit" in page.text
    assert "at most 10,000 characters" in page.text
    assert "`" not in page.text


def test_the_page_needs_nothing_from_elsewhere(description):
    page = read(render_docs(description))
    assert "script" not in page.tags
    assert {x for x in page.addresses if not x.startswith("#")} == {"openapi.json"}
    assert {x.removeprefix("#") for x in page.addresses if x.startswith("#")} <= page.ids
    assert "url(" not in render_docs(description)


def test_texts_in_the_description_stay_texts(description):
    hostile = "<script>alert(1)</script>"
    page = read(render_docs(description | {"info": {"title": hostile, "version": "1", "description": hostile}}))
    assert "script" not in page.tags
    assert page.text.count(hostile) == 3


def test_every_endpoint_has_examples_and_describes_its_errors(description):
    schemas = description["components"]["schemas"]
    for path in ("/search", "/rank", "/explain"):
        for operation in description["paths"][path].values():
            assert {"200", "401", "422", "503", "504"} <= {*operation["responses"]}
            content = operation["responses"]["200"]["content"]["application/json"]["schema"]
            for option in content.get("anyOf", [content]):
                assert schemas[option["$ref"].rsplit("/", 1)[-1]]["examples"]
