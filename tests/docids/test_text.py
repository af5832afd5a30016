import math
from collections import Counter

import numpy as np
import pytest

from genir.config import TextConfig
from genir.docids import Source
from genir.docids.assign import build_docids
from genir.docids.text import encode_text, extend_text, keywords, padded, title_url, ultron_title_url, url_parts
from genir.docids.tfidf import idf
from genir.records import Document
from genir.tokenizer import load_tokenizer

EMPTY = np.zeros((0, 0), np.float32)


def page(url, title="The Title"):
    return Document("d", title, "some text", url)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://www.answers.com/Q/What_organs_are_there", "the title answers.com"),  # q is too short: one of two
        ("http://nasa.gov/mission/apollo-11.html", "apollo 11 mission nasa.gov"),
        ("http://nasa.gov/2019/11/moon", "the title nasa.gov"),  # one of three says something
        ("http://nasa.gov/index.html", "the title nasa.gov"),
        ("http://nasa.gov/", "the title nasa.gov"),
        ("", "the title"),
    ],
)
def test_title_url_takes_the_path_only_when_more_than_half_of_it_speaks(url, wanted):
    assert title_url(page(url)) == wanted


def test_ultron_reverses_every_url():
    assert ultron_title_url(page("http://nasa.gov/2019/11/moon")) == "moon 11 2019 nasa.gov"
    assert ultron_title_url(page("http://nasa.gov")) == "the title nasa.gov"
    assert url_parts("https://en.wikipedia.org/wiki/%C3%96land") == ("en.wikipedia.org", ["wiki", "öland"])


def test_keywords_are_the_terms_of_highest_tfidf():
    bodies = ["owl owl mouse", "mouse tea", "tea tea kettle mouse"]
    documents = [Document(str(i), "", text) for i, text in enumerate(bodies)]
    got = keywords(documents, 2, idf(documents))
    frequency = Counter(word for text in bodies for word in set(text.split()))
    for text, found in zip(bodies, got, strict=True):
        counts = Counter(text.split())
        score = {w: n * (math.log((1 + 3) / (1 + frequency[w])) + 1) for w, n in counts.items()}
        assert found.split() == sorted(score, key=lambda w: (-score[w], w))[:2]


def test_a_docid_reads_back_as_its_text_and_ends_with_the_end_token(root):
    folder = root.parent / "shared" / "data" / "t5-tokenizer"
    if not folder.exists():
        pytest.skip("the T5 tokenizer of ../shared/data is not here")
    tokenizer = load_tokenizer(str(folder))
    rows = Source([page("http://nasa.gov/moon/landing"), page("", "")], EMPTY, tokenizer)
    codes = encode_text(rows, TextConfig(source="title_url"), {})
    docids = [[code for code in row if code >= 0] for row in codes.tolist()]
    assert [tokenizer.decode(docid[:-1]) for docid in docids] == ["landing moon nasa.gov", "some text"]
    assert [docid[-1] for docid in docids] == [tokenizer.eos_token_id] * 2
    long = Source([Document("d", "moon " * 300, "")], EMPTY, tokenizer)
    assert encode_text(long, TextConfig(source="title", max_tokens=99), {}).shape == (1, 100)


def test_empty_documents_are_named_by_their_doc_id_and_special_tokens_are_no_text(tokenizer):
    rows = Source([Document("owls", "", ""), Document("b", "</s> owls <pad>", "")], EMPTY, tokenizer)
    codes = encode_text(rows, TextConfig(source="title"), {})
    assert codes[0].tolist() == codes[1].tolist()
    assert (codes[0] == tokenizer.eos_token_id).sum() == 1
    assert len(codes[0]) > 1


def test_equal_titles_are_numbered_past_titles_that_end_so_already(tokenizer):
    titles = ["owls", "owls 2", "owls", "owls", "tea"]
    rows = Source([Document(str(i), title, "") for i, title in enumerate(titles)], EMPTY, tokenizer)
    _, final = build_docids(rows, TextConfig(source="title"), 0)
    told = [Document("", text, "") for text in ("owls", "owls 2", "owls 3", "owls 4", "tea")]
    wanted = encode_text(Source(told, EMPTY, tokenizer), TextConfig(source="title"), {})
    assert (final.codes == wanted).all()
    _, shared = build_docids(rows, TextConfig(source="title", collisions="share"), 0)
    assert (shared.codes[0] == shared.codes[2]).all()


def test_numbering_leaves_taken_docids_alone(tokenizer):
    end = tokenizer.eos_token_id
    two = tokenizer(" 2", add_special_tokens=False)["input_ids"]
    three = tokenizer(" 3", add_special_tokens=False)["input_ids"]
    old = padded([[7, end], [7, *two, end]])
    new = extend_text(padded([[7, end], [8, end]]), tokenizer, old)
    assert [[x for x in row if x >= 0] for row in new.tolist()] == [[7, *three, end], [8, end]]
