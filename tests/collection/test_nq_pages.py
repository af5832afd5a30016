import pytest
from hypothesis import given
from hypothesis import strategies as st

from genir.collection.nq_pages import Page, TitleKey, parse_page, strip_tags
from tests.helpers.nq import original_example, page_url, simplified_example, write_vocabulary


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("<P> A </P> b <Ul> c </Ul> d <Ul> e </Ul> f", "A b c"),  # cut at the last list but one
        ("<P> A </P> b <Ul> c </Ul> d <Ul> e </Ul> f <Ul> g </Ul>", "A b c d e"),
        ("<P> A </P> b <Ul> c </Ul> d", "A b c"),
        ("<P> A </P> b", "A b"),
        ("<Ul> x </Ul> <Ul> y </Ul> <P> A </P> b", "A"),  # both lists are before the abstract
        ("<P> never closed", "never closed"),
        ("a < b <Table> c </Table>", "a < b c"),
    ],
)  # fmt: skip
def test_abstract_and_content_are_cut_as_nci_cuts_them(body, text):
    example = simplified_example(1, "Title", body=body)
    example["document_text"] = example["document_text"].partition(" - wikipedia ")[2]
    assert parse_page(example).text == text


def test_both_formats_of_an_example_give_the_same_page():
    original = original_example(1, "Owls")
    text = " ".join(token["token"] for token in original["document_tokens"])
    page = parse_page({"document_text": text, "document_url": original["document_url"]})
    assert page == parse_page(original) == Page("Owls", "Of the dev file . Rest", page_url("Owls"))


def test_a_page_without_title_and_heading_is_named_by_its_url():
    assert parse_page(simplified_example(1, "", body="text")).title == "Named by url"
    assert parse_page({"document_text": "text"}).title == ""


def test_an_example_of_another_format_is_a_key_or_type_error():
    for example in ({}, {"document_tokens": 7}, {"document_tokens": [{"x": 1}]}):
        with pytest.raises((KeyError, TypeError)):
            parse_page(example)


def test_tags_are_removed_and_white_space_is_normalised():
    assert strip_tags("<P> a<B>b</B>\n  < c <H1>") == "a b < c"


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    return TitleKey(write_vocabulary(tmp_path_factory.mktemp("vocabulary")))


@given(st.lists(st.text("abcXYZ019", min_size=1, max_size=8), min_size=1, max_size=5))
def test_the_key_of_a_title_of_plain_words_is_the_title_in_lower_case(key, words):
    assert key("  ".join(words)) == " ".join(words).lower()


@pytest.mark.parametrize(
    ("title", "other"),
    [
        ("Don't Look", "Do n't look"),
        ("Café", "CAFE"),
        ("Tea (drink)", "Tea ( drink )"),
        ("St. X", "st . x"),
        ("☃ a", "★ a"),
    ],
)
def test_titles_that_bert_s_tokenizer_decodes_alike_have_the_same_key(key, title, other):
    assert key(title) == key(other) != key("other words")
