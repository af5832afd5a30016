"""Docids in readable form, for the tokenizer that genir trains."""

import pytest

from genir.docids.labels import END, SPACE, DocidLabels
from genir.docids.table import CodeLayout, Codes, DocidTable
from genir.docids.text import pad_docids, token_ids
from genir.model import DocidModel
from genir.records import Document
from genir.retriever import Retriever
from genir.tokenizer import train_tokenizer
from tests.helpers.models import make_model
from tests.helpers.retrievers import with_bm25

TITLES = ["owls hunt", "owls hunt mice", "owls", "one two three", "four", "three four"]


@pytest.fixture(scope="module")
def retriever(tokenizer):
    return make_text_retriever(tokenizer, TITLES)


def make_text_retriever(tokenizer, titles):
    """A retriever whose docids are its titles."""
    docids = [[*tokens, tokenizer.eos_token_id] for tokens in token_ids(tokenizer, titles, 20)]
    codes = pad_docids(docids)
    sizes = (len(tokenizer),) * codes.shape[1]
    ids = [f"d{i}" for i in range(len(titles))]
    table = DocidTable.from_codes(Codes(codes, sizes), doc_ids=ids, titles=titles, text=True)
    t5 = make_model((1,), base=len(tokenizer) - 1).t5
    plain = Retriever(DocidModel(t5, CodeLayout(0, sizes, True), "trie"), tokenizer, table)
    return with_bm25(plain, [Document(doc_id, title, title) for doc_id, title in zip(ids, titles, strict=True)])


def walk(node):
    yield node
    for child in node.children:
        yield from walk(child)


def test_codes_are_joined_by_hyphens():
    labels = DocidLabels()
    assert (labels.write([3, 17]), labels.write_rest([3, 17, 5], 1), labels.write([])) == ("3-17", "17-5", "")


def test_a_text_docid_is_its_text_and_its_parts_join_to_it(tokenizer):
    labels = DocidLabels(tokenizer)
    for title in TITLES:
        codes = [*token_ids(tokenizer, [title], 20)[0], tokenizer.eos_token_id]
        assert labels.write(codes) == title
        for start in range(len(codes)):
            before, rest = labels.write(codes[:start]).replace(SPACE, ""), labels.write_rest(codes, start)
            if rest == END:
                assert before == title
            else:
                joined = before + rest[1:] if rest.startswith("…") else f"{before} {rest}".strip()
                assert joined == title


def test_hits_show_the_text_wherever_people_read_them(retriever):
    for hits in (retriever.search("owls hunt", k=6), retriever.rank("owls hunt", ["d1", "d4"])):
        assert [hit.docid_text for hit in hits] == [hit.title for hit in hits]
        for hit, line in zip(hits, repr(hits).splitlines()[2:], strict=True):
            assert line.count(hit.title) == 2  # the docid and the title
        assert all(f"<td>{hit.title}</td><td>{hit.title}</td>" in hits._repr_html_() for hit in hits)


def test_explanations_show_the_text_of_docids(retriever):
    found = retriever.explain("owls hunt", k=6)
    leaves = [node for node in walk(found.tree) if node.doc_id]
    assert {node.text for node in leaves} == {*TITLES}
    for node in walk(found.tree):
        for child in node.children:
            before = node.text.replace(SPACE, "")
            assert child.text.startswith((before, SPACE))
            rest = child.text[len(before) :]
            assert child.label in ((f"…{rest}", rest.strip()) if rest.replace(SPACE, "") else (END, SPACE))
            assert f" {child.label} " in str(found)
    one = retriever.explain("owls hunt", "d1")
    assert one.docid_text == "owls hunt mice"
    assert [level.label for level in one.levels if level.label not in str(one)] == []
    assert not any(level.label.isdigit() for level in one.levels)


def test_control_characters_of_docids_are_not_printed():
    titles = ["red \x1b\u202eowls", "red \x1b\u202emice", "blue"]
    explanation = make_text_retriever(train_tokenizer(titles * 3, 100), titles).explain("owls", k=3)
    assert any("\x1b" in node.text for node in walk(explanation.tree))
    for shown in (str(explanation), explanation._repr_html_(), repr(explanation.hits)):
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        assert r"\x1b" in shown


def test_documents_that_are_added_or_removed_leave_the_text(retriever, tokenizer):
    other = Retriever(retriever.model, tokenizer, retriever.table)
    other.remove(["d4"])
    assert {hit.docid_text for hit in other.search("owls", k=9)} == {*TITLES} - {"four"}
