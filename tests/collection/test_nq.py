"""Natural Questions: NCI's and DDRO's builds of examples in the two official formats."""

import gzip
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genir.collection.nq_pages import TitleKey, page
from genir.collection.prepared import PreparedCollection
from genir.collection.published import PUBLISHED
from genir.config import load_config
from genir.errors import GenirError
from genir.records import Document
from indexing.prepare_collection import main

VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"abcdefghijklmnopqrstuvwxyz0123456789'.,!?()-",
    "##s",
    "##n",
]
VOCABULARY += [f"##{letter}" for letter in "abcdefghijklmopqrtuvwxyz0123456789"]


def url(name):
    return f"https://en.wikipedia.org//w/index.php?title={name}&amp;oldid=814071202"


def simplified(
    number, title, question="who is it", body="<P> First words . </P> Then more <Ul> <Li> links </Li> </Ul>"
):
    heading = f"{title} - wikipedia <H1> {title} </H1> " if title else ""
    return {
        "document_text": heading + body,
        "question_text": question,
        "example_id": number,
        "document_url": url(title.replace(" ", "_") or "Named_by_url"),
        "annotations": [{"yes_no_answer": "NONE", "long_answer": {"start_token": -1}, "short_answers": []}],
    }


def original(number, title, question="when was it"):
    tokens = f"<H1> {title} </H1> <P> Of the dev file . </P> Rest".split()
    return {
        "document_title": title,
        "document_tokens": [{"token": t, "html_token": t[0] == "<", "start_byte": 0, "end_byte": 1} for t in tokens],
        "document_html": "<html>",
        "question_text": question,
        "example_id": number,
        "document_url": url(title.replace(" ", "_")),
        "annotations": [],
    }


TRAIN = [
    simplified(11, "Owls"),
    simplified(12, "Do n't Look Back", "who sang don't look back"),
    simplified(13, "owls", "where do owls live", "<P> Another text of the same page </P>"),
    simplified(14, "", "a page without a heading", "no paragraph either , <Table> <Tr> cells </Tr> </Table>"),
    simplified(15, "Tea ( drink )"),
]
DEV = [original(21, "Don't Look Back"), original(22, "Café"), original(23, "cafe"), original(24, "Tea (drink)")]


def write_raw(folder, train, dev):
    folder.mkdir(exist_ok=True)
    for name, rows in (("simplified-nq-train", train), ("nq-dev-all", dev)):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")


@pytest.fixture
def prepare(tmp_path):
    def run(build, train=TRAIN, dev=DEV, expect=False):
        write_raw(tmp_path / "raw", train, dev)
        return again(build, expect)

    def again(build, expect=False):
        (tmp_path / "c.yaml").write_text(
            f"collection: {{path: {tmp_path / 'raw'}, published: {build}, dev_fraction: 0.5, expect_counts: {expect}}}\n"
            f"runs_dir: {tmp_path / 'runs'}\n"
        )
        config = load_config(tmp_path / "c.yaml")
        main(config)
        return PreparedCollection(config.run_folder / "collection")

    run.again = again
    return run


def pairs(data, *splits):
    return {(row.query_id, row.doc_id) for split in splits for row in data.judgments(split)}


def test_pages_of_one_title_are_one_document_whose_text_is_the_first_one_s(prepare):
    data = prepare("nq320k")
    assert [(d.id, d.title) for d in data.documents] == [
        ("11", "owls"),
        ("12", "don't look back"),
        ("14", "named by url"),
        ("15", "tea ( drink )"),
        ("22", "cafe"),
    ]
    assert data.documents[0] == Document("11", "owls", "First words . Then more links", url("Owls"))
    assert data.documents[2].text == "no paragraph either , cells"
    assert data.documents[4].text == "Of the dev file . Rest"


def test_every_question_points_to_the_page_of_its_title(prepare):
    data = prepare("nq320k")
    assert pairs(data, "train", "dev") == {("11", "11"), ("12", "12"), ("13", "11"), ("14", "14"), ("15", "15")}
    assert pairs(data, "test") == {("21", "12"), ("22", "22"), ("23", "22"), ("24", "15")}
    assert {q.id: q.text for q in data.queries("test")}["21"] == "when was it"


def test_ddro_keeps_a_question_only_with_its_own_example(prepare):
    data = prepare("nq320k-ddro")
    assert len(data.documents) == 5
    assert pairs(data, "train", "dev") == {("11", "11"), ("12", "12"), ("14", "14"), ("15", "15")}
    assert pairs(data, "test") == {("22", "22")}
    trained = {doc_id for _, doc_id in pairs(data, "train", "dev")}
    assert not trained & {doc_id for _, doc_id in pairs(data, "test")}


def test_the_builds_differ_in_their_cards_only_where_they_differ(prepare, tmp_path):
    cards = []
    for build in ("nq320k", "nq320k-ddro"):
        prepare(build)
        cards.append(json.loads((tmp_path / "runs" / "c" / "collection" / "card.json").read_text()))
    assert cards[0]["documents"] == cards[1]["documents"]
    assert cards[0]["splits"]["test"] != cards[1]["splits"]["test"]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("<P> A </P> b <Ul> c </Ul> d <Ul> e </Ul> f", "A b c"),  # the content ends before the last list but one does
        ("<P> A </P> b <Ul> c </Ul> d <Ul> e </Ul> f <Ul> g </Ul>", "A b c d e"),
        ("<P> A </P> b <Ul> c </Ul> d", "A b c"),
        ("<P> A </P> b", "A b"),
        ("<Ul> x </Ul> <Ul> y </Ul> <P> A </P> b", "A"),  # both lists stand before the abstract
        ("<P> never closed", "never closed"),
        ("a < b <Table> c </Table>", "a < b c"),
    ],
)  # fmt: skip
def test_abstract_and_content_are_cut_as_nci_does(body, text):
    row = simplified(1, "Title", body=body)
    row["document_text"] = row["document_text"].partition(" - wikipedia ")[2]
    assert page(row).text == text


def test_both_formats_of_an_example_give_the_same_page():
    dev = original(1, "Owls")
    text = " ".join(token["token"] for token in dev["document_tokens"])
    assert page(dev) == page({"document_text": text, "document_url": dev["document_url"]})


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    path = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    path.write_text("\n".join(VOCABULARY) + "\n")
    return TitleKey(path)


@given(st.lists(st.text("abcXYZ019", min_size=1, max_size=8), min_size=1, max_size=5))
def test_a_title_of_plain_words_is_told_by_them_in_lower_case(key, words):
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
def test_titles_that_bert_s_tokenizer_gives_back_alike_are_one(key, title, other):
    assert key(title) == key(other) != key("other words")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"example_id": 1', r"nq-train\.jsonl\.gz:6: not valid JSON"),
        (
            json.dumps({"example_id": 1, "question_text": "x"}),
            r"nq-train\.jsonl\.gz:6: not an example of Natural Questions",
        ),
        ("[1]", r"nq-train\.jsonl\.gz:6: not an example of Natural Questions"),
        (json.dumps(simplified(11, "Again")), r"nq-train\.jsonl\.gz:6: duplicate example_id 11"),
        (json.dumps(simplified(16, "x", " ")), r"nq-train\.jsonl\.gz:6: the question of example 16 is empty"),
        (json.dumps(simplified(16, "") | {"document_url": ""}), r"nq-train\.jsonl\.gz:6: example 16 has no title"),
    ],
)
def test_a_bad_example_is_named_and_nothing_is_left_behind(prepare, tmp_path, line, words):
    write_raw(tmp_path / "raw", TRAIN, DEV)
    path = tmp_path / "raw" / "simplified-nq-train.jsonl.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + line.encode() + b"\n"))
    with pytest.raises(GenirError, match=words):
        prepare.again("nq320k")
    assert os.listdir(tmp_path / "runs" / "c") == []


def test_a_file_cut_short_and_one_without_examples_are_named(prepare, tmp_path):
    write_raw(tmp_path / "raw", TRAIN, DEV)
    path = tmp_path / "raw" / "nq-dev-all.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(GenirError, match=r"nq-dev-all\.jsonl\.gz:\d: the gzip file is damaged or cut short"):
        prepare.again("nq320k")
    with pytest.raises(GenirError, match="there is no example in this file"):
        prepare("nq320k", [], [])
    assert os.listdir(tmp_path / "runs" / "c") == []


def test_counts_are_checked(prepare, monkeypatch):
    with pytest.raises(GenirError, match=r"5 documents instead of 109,739, 4 train queries instead of 108,026"):
        prepare("nq320k-ddro", expect=True)
    counts = PUBLISHED["nq320k"].counts._replace(documents=5, splits={"train": (5, 5), "test": (4, 4)})
    monkeypatch.setitem(PUBLISHED, "nq320k", PUBLISHED["nq320k"]._replace(counts=counts))
    assert len(prepare("nq320k", expect=True).documents) == 5


def test_the_published_counts_of_the_two_builds_agree():
    """One question a page, so DDRO's questions are as many as the pages."""
    ncis, ddros = PUBLISHED["nq320k"].counts, PUBLISHED["nq320k-ddro"].counts
    assert ncis.documents == ddros.documents == sum(queries for queries, _ in ddros.splits.values())
