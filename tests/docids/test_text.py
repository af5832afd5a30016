import numpy as np
import pytest

from genir.config import TextConfig
from genir.docids import BuilderInput
from genir.docids.assign import build_docids
from genir.docids.text import (
    encode_text,
    extend_text,
    extract_keywords,
    pad_docids,
    split_url,
    title_url_text,
    token_ids,
    ultron_text,
)
from genir.docids.tfidf import HashedTfidf
from genir.records import Document
from genir.tokenizer import load_tokenizer

EMPTY = np.zeros((0, 0), np.float32)


def page(url, title="The Title"):
    return Document("d", title, "some text", url)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        (
            "https://www.answers.com/Q/What_organs_are_there",
            "the title answers.com",
        ),  # "q" is too short, so one of two is informative
        ("http://nasa.gov/mission/apollo-11.html", "apollo 11 mission nasa.gov"),
        ("http://nasa.gov/2019/11/moon", "the title nasa.gov"),  # one of three is informative
        ("http://nasa.gov/index.html", "the title nasa.gov"),
        ("http://nasa.gov/", "the title nasa.gov"),
        ("", "the title"),
    ],
)
def test_title_url_uses_the_path_only_when_more_than_half_of_it_is_informative(url, wanted):
    assert title_url_text(page(url)) == wanted


def test_ultron_reverses_every_path():
    assert ultron_text(page("http://nasa.gov/2019/11/moon")) == "moon 11 2019 nasa.gov"
    assert ultron_text(page("http://nasa.gov")) == "the title nasa.gov"


def test_urls_are_decoded_and_split_into_words():
    assert split_url("https://en.wikipedia.org/wiki/%C3%96land") == ("en.wikipedia.org", ["wiki", "öland"])


def test_keywords_are_the_words_of_highest_tfidf():
    bodies = ["owl owl mouse", "mouse tea", "tea tea kettle mouse", "mouse cat dog"]  # mouse is in every document
    documents = [Document(str(i), "", text) for i, text in enumerate(bodies)]
    found = extract_keywords(documents, 2, HashedTfidf.fit(documents))
    assert found == ["owl mouse", "tea mouse", "tea kettle", "cat dog"]  # equal ones in alphabetical order


def test_a_docid_decodes_to_its_text_and_ends_with_the_end_of_sequence_token(root):
    folder = root.parent / "shared" / "data" / "t5-tokenizer"
    if not folder.exists():
        pytest.skip("the T5 tokenizer is not in ../shared/data")
    tokenizer = load_tokenizer(str(folder))
    inputs = BuilderInput([page("http://nasa.gov/moon/landing"), page("", "")], EMPTY, tokenizer)
    codes = encode_text(inputs, TextConfig(source="title_url"), {})
    docids = [[code for code in row if code >= 0] for row in codes.tolist()]
    assert [tokenizer.decode(docid[:-1]) for docid in docids] == ["landing moon nasa.gov", "some text"]
    assert [docid[-1] for docid in docids] == [tokenizer.eos_token_id] * 2
    long = BuilderInput([Document("d", "moon " * 300, "")], EMPTY, tokenizer)
    assert encode_text(long, TextConfig(source="title", max_tokens=99), {}).shape == (1, 100)


def test_empty_documents_get_their_doc_id_and_special_tokens_are_left_out(tokenizer):
    inputs = BuilderInput([Document("owls", "", ""), Document("b", "</s> owls <pad>", "")], EMPTY, tokenizer)
    codes = encode_text(inputs, TextConfig(source="title"), {})
    assert codes[0].tolist() == codes[1].tolist()
    assert (codes[0] == tokenizer.eos_token_id).sum() == 1
    assert len(codes[0]) > 1


def test_equal_titles_are_numbered_and_numbers_in_use_are_skipped(tokenizer):
    titles = ["owls", "owls 2", "owls", "owls", "tea"]
    inputs = BuilderInput([Document(str(i), title, "") for i, title in enumerate(titles)], EMPTY, tokenizer)
    _, final = build_docids(inputs, TextConfig(source="title"), 0)
    numbered = [Document("", text, "") for text in ("owls", "owls 2", "owls 3", "owls 4", "tea")]
    wanted = encode_text(BuilderInput(numbered, EMPTY, tokenizer), TextConfig(source="title"), {})
    assert (final.codes == wanted).all()
    _, shared = build_docids(inputs, TextConfig(source="title", collisions="share"), 0)
    assert (shared.codes[0] == shared.codes[2]).all()


def test_new_documents_get_numbers_that_are_not_in_use(tokenizer):
    end = tokenizer.eos_token_id
    two = tokenizer(" 2", add_special_tokens=False)["input_ids"]
    three = tokenizer(" 3", add_special_tokens=False)["input_ids"]
    old = pad_docids([[7, end], [7, *two, end]])
    new = extend_text(pad_docids([[7, end], [8, end]]), tokenizer, old)
    assert [[x for x in row if x >= 0] for row in new.tolist()] == [[7, *three, end], [8, end]]


def test_docids_are_padded_to_the_longest():
    assert pad_docids([[3], [4, 5, 6], [7, 8]]).tolist() == [[3, -1, -1], [4, 5, 6], [7, 8, -1]]


def test_token_ids_are_truncated_and_have_no_end_token(tokenizer):
    whole, cut = (token_ids(tokenizer, ["owls hunt mice"], most)[0] for most in (99, 2))
    assert tokenizer.decode(whole) == "owls hunt mice"
    assert cut == whole[:2]
    assert token_ids(tokenizer, [], 99) == []


def test_keywords_urls_and_first_words_of_other_scripts(tokenizer):
    documents = [Document(str(i), "", text) for i, text in enumerate(["फल फल जल", "फूल जल", "", "the of"])]
    assert extract_keywords(documents, 1, HashedTfidf.fit(documents)) == ["फल", "फूल", "", ""]
    assert split_url("https://x.org/%E0%A4%B9%E0%A4%BF%E0%A4%A8%E0%A5%8D%E0%A4%A6%E0%A5%80-%E0%A4%9C%E0%A4%B2") == (
        "x.org",
        ["हिन्दी जल"],
    )
    cut = encode_text(BuilderInput([Document("d", "", "owls水 " * 40)], EMPTY, tokenizer), TextConfig(), {})
    whole = token_ids(tokenizer, ["owls水 " * 8], 999)[0]
    assert cut[0].tolist() == [*whole, tokenizer.eos_token_id]
