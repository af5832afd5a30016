import numpy as np
import pytest

from genir.checks import (
    is_encodable,
    is_valid_id,
    parse_float,
    parse_int,
    require_documents,
    require_list,
    require_positive_int,
    require_texts,
)
from genir.errors import GenirError
from genir.records import Document


@pytest.mark.parametrize("queries", [["owls", "tea"], ("owls", "tea"), (text for text in ("owls", "tea"))])
def test_queries_may_be_any_iterable_of_strings(queries):
    assert require_texts(queries) == ["owls", "tea"]


@pytest.mark.parametrize(
    ("queries", "words"),
    [
        (["owls", 7], "query 1 must be a string, got 7"),
        (["owls", " \n"], "query 1 is empty"),
        (["caf\udce9"], "the query is not valid UTF-8"),
        ([""], "the query is empty"),
        ("owls", "queries must be a list of strings, got 'owls'"),
        (None, "queries must be a list of strings, got None"),
    ],
)
def test_an_invalid_query_is_an_error_that_gives_its_position_among_several(queries, words):
    with pytest.raises(GenirError, match=words):
        require_texts(queries)


def test_documents_may_be_any_iterable_of_documents():
    documents = [Document("d1", "title", "text"), Document("d2", "", "text")]
    assert require_documents(iter(documents)) == documents


@pytest.mark.parametrize(
    ("documents", "words"),
    [
        (Document("d1", "title", "text"), "documents must be a list of Document, got Document"),
        ("d1", "documents must be a list of Document, got 'd1'"),
        (None, "documents must be a list of Document, got None"),
        ([("d1", "title", "text")], "but one item is \\('d1', 'title', 'text'\\)"),
        ([Document("d1", None, "text")], "the title of document 'd1' must be a string, got None"),
    ],
)
def test_anything_but_documents_is_an_error(documents, words):
    with pytest.raises(GenirError, match=words):
        require_documents(documents)


def test_a_list_may_be_any_iterable_except_a_string():
    assert require_list("doc_ids", {"d1": 0, "d2": 0}.keys()) == ["d1", "d2"]
    assert require_list("doc_ids", []) == []
    for value in ("d1", 3):
        with pytest.raises(GenirError, match=f"doc_ids must be a list of strings, got {value!r}"):
            require_list("doc_ids", value)


@pytest.mark.parametrize("value", [1, 10**30, np.int64(5), np.uint8(5), True])
def test_every_type_of_positive_integer_is_accepted(value):
    found = require_positive_int("k", value)
    assert type(found) is int
    assert found == value


@pytest.mark.parametrize("value", [0, -1, 2.5, 2.0, "3", None])
def test_anything_but_a_positive_integer_is_an_error(value):
    with pytest.raises(GenirError, match=f"k must be an integer of at least 1, got {value!r}"):
        require_positive_int("k", value)


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        ("d1", True),
        ("Ä-1", True),
        ("", False),
        ("a b", False),
        ("a\tb", False),
        ("a\u00a0b", False),
        (7, False),
        ("a\0b", False),
        ("\x1b[1m", False),
        ("\ufefftest0", False),
    ],
)
def test_an_id_is_a_non_empty_string_without_white_space_and_control_characters(value, valid):
    assert is_valid_id(value) is valid


def test_unpaired_surrogates_cannot_be_encoded():
    assert is_encodable("😀 é")
    assert not is_encodable("caf\udce9")
    assert not is_valid_id("caf\udce9")


SURPRISES = ["", " 1", "1 ", "1_000", "\u0661", "\uff11", "0x10", "1e", "--1", "one", "1\n", "1,5"]


@pytest.mark.parametrize("text", ["0", "+7", "-12", "007"])
def test_plain_whole_numbers_are_parsed(text):
    assert parse_int(text) == parse_float(text) == int(text)


@pytest.mark.parametrize("text", [*SURPRISES, "1.0", "1e3"])
def test_other_forms_are_not_whole_numbers(text):
    with pytest.raises(ValueError, match="is not a whole number"):
        parse_int(text)


@pytest.mark.parametrize("text", ["0.5", ".5", "5.", "-1e-3", "+2E+10", "1e-400"])
def test_plain_numbers_are_parsed(text):
    assert parse_float(text) == float(text)


@pytest.mark.parametrize("text", [*SURPRISES, "nan", "inf", "-Infinity", "1e999"])
def test_other_forms_and_infinite_values_are_not_numbers(text):
    with pytest.raises(ValueError, match=r"is not a number|is too large"):
        parse_float(text)
