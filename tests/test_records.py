import pytest

from genir.records import Document, Hit, Hits

HITS = [Hit(1, "d7", -0.25, (3, 12), "Owls <b>"), Hit(2, "long-id", -10.5, (3,), ""), Hit(3, "d9", -11.0, (4,), "Tea")]


@pytest.mark.parametrize(
    ("title", "text", "body"), [("Owls", "hunt", "Owls hunt"), ("", "hunt", "hunt"), ("Owls", "", "Owls"), ("", "", "")]
)
def test_the_body_of_a_document_is_its_title_and_text(title, text, body):
    assert Document("d1", title, text).body == body


def test_hits_are_a_sequence():
    hits = Hits("owls", HITS, False)
    assert len(hits) == 3
    assert list(hits) == HITS
    assert hits[0] is HITS[0]
    assert hits[-1] is HITS[2]
    assert list(hits[1:]) == HITS[1:]
    assert HITS[1] in hits
    assert hits.index(HITS[1]) == 1


def test_hits_are_equal_if_query_hits_and_proof_are():
    hits = Hits("owls", HITS, True)
    assert hits == Hits("owls", tuple(HITS), True)
    assert hash(hits) == hash(Hits("owls", tuple(HITS), True))
    assert hits not in (Hits("tea", HITS, True), Hits("owls", HITS[:2], True), Hits("owls", HITS, False), HITS)


def test_all_hits_of_an_exact_search_are_proven_and_none_of_another_unless_counted():
    assert Hits("owls", HITS, True).num_proven == 3
    assert Hits("owls", HITS, False).num_proven == 0
    assert Hits("owls", HITS, False, 2).num_proven == 2


def test_hits_are_printed_as_an_aligned_table():
    assert repr(Hits("owls", HITS, True)).splitlines() == [
        "'owls': 3 hits, exact",
        "rank    score  doc_id   docid  title",
        "   1   -0.250  d7       3-12   Owls <b>",
        "   2  -10.500  long-id  3",
        "   3  -11.000  d9       4      Tea",
    ]
    assert repr(Hits("owls", [], False)).splitlines()[0] == "'owls': 0 hits"
    assert repr(Hits("owls", HITS[:1], False)).splitlines()[0] == "'owls': 1 hit"
    assert "<caption>&#x27;owls&#x27;: 3 hits, exact</caption>" in Hits("owls", HITS, True)._repr_html_()


def test_control_characters_are_shown_and_not_obeyed():
    """Colours, a line break, a carriage return, the C1 form of ESC [, and a reversed writing direction."""
    hits = Hits("\x1b[31mred", [Hit(1, "d\x9b1m", -0.25, (3,), "a\nb\r\x07\u202ec")], False)
    lines = repr(hits).splitlines()
    assert len(lines) == 3
    assert repr(hits).replace("\n", "").isprintable()
    assert r"\x1b[31mred" in lines[0]
    assert lines[2].split() == ["1", "-0.250", r"d\x9b1m", "3", r"a\nb\r\x07\u202ec"]
    assert r"a\nb\r\x07\u202ec" in hits._repr_html_()


def test_in_a_notebook_hits_are_a_table_with_escaped_text():
    html = Hits("tea & <i>", HITS, False)._repr_html_()
    assert html.count("<tr>") == 4
    assert "tea &amp; &lt;i&gt;" in html
    assert "Owls &lt;b&gt;" in html
    assert "<b>" not in html


def test_a_long_query_is_cut_to_one_line():
    hits = Hits("owls " * 20_000, HITS, False)
    assert max(map(len, repr(hits).splitlines())) < 130
    assert repr(hits).splitlines()[0].endswith("…': 3 hits")
    assert len(hits._repr_html_()) < 1000
    assert hits.query == "owls " * 20_000
