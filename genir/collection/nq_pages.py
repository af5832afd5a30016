"""Natural Questions' pages as NCI reads them (arXiv 2206.02743, appendix and published notebook): title, abstract,
content, and the normalised title by which pages are told apart.
"""

import re
from collections.abc import Mapping
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from tokenizers import BertWordPieceTokenizer

TAG = re.compile(r"<[^<]+?>")
CLOSED_UP = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")
"""What decoding BERT's tokens closes up, in this order."""


class Page(NamedTuple):
    """A page of one example."""

    title: str
    text: str
    url: str


def page(row: Mapping[str, Any]) -> Page:
    """The page of an example, in the simplified format (document_text) or the original one (document_tokens).

    Abstract: the first paragraph; a page without one has none, and its content is all that follows the heading (NCI's
    notebook then cuts at the place of the row before). Content: what follows, up to the last list but one, since the
    last lists of a Wikipedia page are its links. Tags are dropped. Raises KeyError or TypeError for another format.
    """
    if "document_text" in row:
        text = str(row["document_text"])
    else:
        text = " ".join(token["token"] for token in row["document_tokens"])
    url = str(row.get("document_url") or "")
    title = str(row.get("document_title") or _heading(text) or _name_in(url))
    first, start = text.find("<P>"), text.find("</P>")
    abstract = text[first:start] if 0 <= first < start else ""
    if not abstract:
        start = max(0, text.find("</H1>"))
    ends = [found.start() for found in re.finditer("</Ul>", text)]
    content = text[start : (ends[-2:] or [len(text)])[0]]
    return Page(plain(title), plain(f"{abstract} {content}"), url)


def plain(text: str) -> str:
    """Text without tags, its words parted by one space."""
    return " ".join(TAG.sub(" ", text).split())


def _heading(text: str) -> str:
    _, found, after = text.partition("<H1>")
    return after.partition("</H1>")[0] if found else ""


def _name_in(url: str) -> str:
    """The page's name in a url of Wikipedia's, such as ...index.php?title=Name_of_page&amp;oldid=1."""
    query = parse_qs(urlsplit(unescape(url)).query)
    return query.get("title", [""])[0].replace("_", " ")


class TitleKey:
    """A title as BERT's tokenizer gives it back: lower case, without accents, unknown words as [UNK].

    The training pages carry tokenised titles ("Do n't Look Back") and the others plain ones ("Don't Look Back"); NCI
    joins pages whose titles come back the same, which gives its 109,739 documents.
    """

    def __init__(self, vocabulary: Path) -> None:
        self._tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)

    def __call__(self, title: str) -> str:
        tokens = self._tokenizer.encode(title, add_special_tokens=False).tokens
        text = " ".join(tokens).replace(" ##", "").strip()
        for closed in CLOSED_UP:
            text = text.replace(closed, closed.strip())
        return text
