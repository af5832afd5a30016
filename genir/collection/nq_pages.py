"""The pages of Natural Questions, parsed as NCI parses them (arXiv 2206.02743, appendix and published notebook).

A page has a title, a text (abstract and content) and a url. Pages are identified by their normalised title.
"""

import re
from collections.abc import Mapping
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from tokenizers import BertWordPieceTokenizer

TAG = re.compile(r"<[^<]+?>")
SPACED_TOKENS = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")
"""Tokens whose leading or trailing spaces BERT's tokenizer removes when it decodes, in this order."""


class Page(NamedTuple):
    """The Wikipedia page of one example."""

    title: str
    text: str
    url: str


def parse_page(example: Mapping[str, Any]) -> Page:
    """Return the page of an example in the simplified format (document_text) or the original one (document_tokens).

    The text is the abstract and the content, without tags. The abstract is the first paragraph. The content is the rest
    up to the end of the second to last list, since the last lists of a Wikipedia page are its links. A page without a
    paragraph has no abstract, and its content starts at the end of the heading; NCI's notebook instead cuts such a page
    at the position that it found for the previous page. Raises KeyError or TypeError for any other format.
    """
    if "document_text" in example:
        text = str(example["document_text"])
    else:
        text = " ".join(token["token"] for token in example["document_tokens"])
    url = str(example.get("document_url") or "")
    title = str(example.get("document_title") or _heading(text) or _title_in_url(url))
    first, start = text.find("<P>"), text.find("</P>")
    abstract = text[first:start] if 0 <= first < start else ""
    if not abstract:
        start = max(0, text.find("</H1>"))
    list_ends = [match.start() for match in re.finditer("</Ul>", text)]
    content = text[start : (list_ends[-2:] or [len(text)])[0]]
    return Page(strip_tags(title), strip_tags(f"{abstract} {content}"), url)


def strip_tags(text: str) -> str:
    """Return a text without tags and with single spaces between words."""
    return " ".join(TAG.sub(" ", text).split())


def _heading(text: str) -> str:
    _, found, after = text.partition("<H1>")
    return after.partition("</H1>")[0] if found else ""


def _title_in_url(url: str) -> str:
    """Return the title in the url of a Wikipedia page, such as ...index.php?title=Name_of_page&amp;oldid=1."""
    query = parse_qs(urlsplit(unescape(url)).query)
    return query.get("title", [""])[0].replace("_", " ")


class TitleKey:
    """Normalises titles by encoding and decoding them with BERT's tokenizer.

    The result is in lower case, without accents, and has [UNK] in place of unknown words. The train pages have
    tokenised titles ("Do n't Look Back") and the others plain ones ("Don't Look Back"). NCI treats the pages whose
    normalised titles are equal as one document, which gives its 109,739 documents.

    vocabulary: the file vocab.txt of BERT.
    """

    def __init__(self, vocabulary: Path) -> None:
        self._tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)

    def __call__(self, title: str) -> str:
        tokens = self._tokenizer.encode(title, add_special_tokens=False).tokens
        text = " ".join(tokens).replace(" ##", "").strip()
        for spaced in SPACED_TOKENS:
            text = text.replace(spaced, spaced.strip())
        return text
