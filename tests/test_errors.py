import unicodedata
from pathlib import Path

import pytest

from genir.errors import GenirError, SearchTimeout, error_at, make_printable, quote, shorten

BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
"""Unicode's classes of characters that change the writing direction of those after them."""


def test_an_error_in_a_file_begins_with_path_and_line_as_those_of_compilers_do():
    error = error_at(Path("a") / "corpus.jsonl", 12, "not valid JSON")
    assert isinstance(error, GenirError)
    assert str(error) == "a/corpus.jsonl:12: not valid JSON"


def test_every_control_character_is_escaped_and_no_letter_is():
    every = "".join(map(chr, range(0x110000)))
    shown = make_printable(every)
    assert not [x for x in shown if unicodedata.category(x) in ("Cc", "Cs") or unicodedata.bidirectional(x) in BIDI]
    kept = [x for x in every if x.isprintable()]
    assert make_printable("".join(kept)) == "".join(kept)
    assert make_printable("a\nb\tc\r", keep="\n\t") == "a\nb\tc\\r"
    assert make_printable("\x1b[0m\x9b\u202e\udcff") == r"\x1b[0m\x9b\u202e\udcff"


@pytest.mark.parametrize("kind", [GenirError, SearchTimeout])
def test_the_message_of_an_error_has_no_control_characters_but_line_breaks(kind):
    assert str(kind("a\x1b[31m\nb [/x]")) == "a\\x1b[31m\nb [/x]"


def test_long_texts_are_cut_and_quoted_in_one_line():
    assert shorten("1-2-3", 5) == "1-2-3"
    assert shorten("1-2-3-4", 5) == "1-2-…"
    assert quote("a\nb") == r"'a\nb'"
    assert quote("x" * 100_000) == f"'{'x' * 99}…'"
    assert len(quote(["x" * 100_000])) == 100
