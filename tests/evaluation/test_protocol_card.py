import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genir.errors import GenirError
from genir.evaluation.protocol_card import (
    describe_split,
    find_differences,
    hash_ids,
    make_card,
    make_run_card,
    read_card,
)
from genir.files import write_json
from genir.records import Judgment

JUDGMENTS = [Judgment("q1", "a", 2), Judgment("q1", "b", 1), Judgment("q2", "a", 1)]
BM25 = {"settings": {"k1": 0.9}, "measures": {"test": {"R@1": 0.5, "RR@10": 0.6}}}


def card(published=None, doc_ids=("a", "b"), judgments=JUDGMENTS, bm25=BM25):
    return make_card(published, "folder", set(doc_ids), {"test": describe_split(judgments)}) | {"bm25": bm25}


@given(st.lists(st.text(), unique=True), st.randoms())
def test_the_hash_depends_on_the_set_of_ids_and_not_on_their_order(ids, random):
    shuffled = random.sample(ids, len(ids))
    assert hash_ids(ids) == hash_ids(shuffled)
    if ids:
        assert hash_ids(ids) != hash_ids(ids[1:])


def test_a_card_counts_documents_queries_and_judgments():
    made = card()
    assert (made["collection"], made["source"], made["documents"]["count"]) == ("custom", "folder", 2)
    assert made["splits"]["test"] | {"queries": 2, "judgments": 3} == made["splits"]["test"]
    assert card("nq320k")["collection"] == "nq320k"


def test_cards_that_differ_only_in_the_order_of_judgments_are_equal():
    assert card(judgments=JUDGMENTS[::-1]) == card()


def test_equal_cards_have_no_differences():
    assert find_differences(card(), card(), ["test"]) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"published": "nq320k"}, "the collections are custom and nq320k"),
        ({"doc_ids": ["a"]}, "the documents differ (2 and 1)"),
        ({"judgments": JUDGMENTS[:2]}, "the queries of test differ (2 and 1)"),
        ({"judgments": [*JUDGMENTS[:2], Judgment("q2", "a", 2)]}, "the judgments of test differ (3 and 3)"),
        (
            {"bm25": BM25 | {"measures": {"test": {"R@1": 0.5, "RR@10": 0.61}}}},
            "BM25 reaches RR@10 0.6000 and 0.6100 on test, so the documents' texts differ",
        ),
    ],
)
def test_each_kind_of_difference_is_described(changes, words):
    assert words in find_differences(card(), card(**changes), ["test"])


def test_bm25_is_not_compared_when_its_settings_differ():
    other = {"settings": {"k1": 2.0}, "measures": {"test": {"R@1": 0.4, "RR@10": 0.5}}}
    assert find_differences(card(), card(bm25=other), ["test"]) == []


def test_a_split_that_only_one_card_has_is_a_difference():
    assert find_differences(card(), card() | {"splits": {}}, ["test"]) == ["only one of them has the split test"]


def test_the_card_of_a_run_joins_the_collection_card_and_the_fingerprint(tmp_path):
    collection = make_card(None, "folder", {"a"}, {})
    write_json(tmp_path / "collection" / "card.json", collection)
    write_json(tmp_path / "baseline" / "fingerprint.json", BM25)
    assert make_run_card(tmp_path) == collection | {"bm25": BM25}
    write_json(tmp_path / "evaluation" / "card.json", make_run_card(tmp_path))
    assert read_card(tmp_path) == json.loads(json.dumps(make_run_card(tmp_path)))


def test_a_missing_card_and_one_of_an_earlier_version_raise_an_error_that_says_what_to_run(tmp_path):
    for _ in range(2):
        with pytest.raises(GenirError, match="run prepare, baseline and evaluate again"):
            read_card(tmp_path)
        write_json(tmp_path / "evaluation" / "card.json", {"build": "custom", "documents": {"count": 1}})


@pytest.mark.parametrize("read", [make_run_card, read_card])
@pytest.mark.parametrize(
    "damage",
    [[], 5, {"collection": 1}, {"documents": {}}, {"splits": []}, {"splits": {"test": {}}}, {"splits": {"test": 1}}],
)
def test_a_damaged_card_is_an_error_that_names_it(tmp_path, read, damage):
    whole = make_card(None, "folder", {"a"}, {}) | {"bm25": BM25}
    write_json(tmp_path / "baseline" / "fingerprint.json", BM25)
    damaged = {**whole, **damage} if isinstance(damage, dict) else damage
    if damage == {"collection": 1}:
        del damaged["documents"]
    for folder in ("collection", "evaluation"):
        write_json(tmp_path / folder / "card.json", damaged)
    with pytest.raises(GenirError, match=r"card\.json: this (file is damaged|run has no protocol card)"):
        read(tmp_path)


@pytest.mark.parametrize(
    "damage", [[], {}, {"settings": {}, "measures": []}, {"settings": {}, "measures": {"x": {"R@1": "1"}}}]
)
def test_a_damaged_fingerprint_is_an_error_that_names_it(tmp_path, damage):
    collection = make_card(None, "folder", {"a"}, {})
    write_json(tmp_path / "collection" / "card.json", collection)
    write_json(tmp_path / "baseline" / "fingerprint.json", damage)
    write_json(tmp_path / "evaluation" / "card.json", collection | {"bm25": damage})
    with pytest.raises(GenirError, match=r"fingerprint\.json: this file is damaged; run the baseline stage again"):
        make_run_card(tmp_path)
    with pytest.raises(GenirError, match=r"card\.json: this file is damaged; run the evaluate stage again"):
        read_card(tmp_path)
