import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genir.collection.beir import BeirCollection
from genir.collection.splits import (
    carve_dev,
    check_judgments,
    counts_before_carving,
    needs_pseudo_dev,
    read_checked_splits,
    require_relevant,
    require_search_splits,
)
from genir.errors import GenirError
from genir.records import Judgment
from tests.helpers.beir import write_beir

JUDGMENTS = st.lists(st.builds(Judgment, st.text("abcé0123", min_size=1), st.sampled_from("xyz"), st.integers(0, 3)))


@given(JUDGMENTS, st.floats(0.01, 0.99))
def test_carving_moves_whole_queries_to_dev_and_loses_no_judgment(judgments, fraction):
    train, dev = carve_dev(judgments, fraction)
    assert sorted(train + dev) == sorted(judgments)
    assert not {row.query_id for row in train} & {row.query_id for row in dev}
    for part in (train, dev):
        assert part == [row for row in judgments if row in part]


@given(JUDGMENTS, st.floats(0.01, 0.5))
def test_a_query_stays_in_dev_whatever_the_other_queries_and_for_every_larger_fraction(judgments, fraction):
    _, dev = carve_dev(judgments, fraction)
    for judgment in judgments:
        assert carve_dev([judgment], fraction)[1] == [row for row in dev if row == judgment][:1]
    assert set(dev) <= set(carve_dev(judgments, 2 * fraction)[1])


def test_the_carved_queries_are_those_whose_crc_32_is_below_the_fraction():
    judgments = [Judgment(str(number), "d", 1) for number in range(10_000)]
    _, dev = carve_dev(judgments, 0.25)
    assert {row.query_id for row in dev} == {
        row.query_id for row in judgments if zlib.crc32(row.query_id.encode()) / 2**32 < 0.25
    }
    assert 0.23 < len(dev) / len(judgments) < 0.27


def make_collection(folder, **qrels):
    documents = [{"_id": f"d{number}", "text": "x"} for number in range(3)]
    queries = [{"_id": f"q{number}", "text": "x"} for number in range(9)]
    return BeirCollection(write_beir(folder, documents, queries, qrels), {})


DOC_IDS, QUERY_IDS = {"d0", "d1", "d2"}, {f"q{number}" for number in range(9)}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("q0", "nowhere", 1), "test.tsv:3: document 'nowhere' is not in the corpus"),
        (("nobody", "d0", 1), "test.tsv:3: query 'nobody' is not among the queries"),
        (("q0", "d0", 1), "test.tsv:3: query 'q0' and document 'd0' are judged twice"),
        (("q0", "d0", 0), "test.tsv:3: query 'q0' and document 'd0' are judged twice"),
        (("q0", "d1", 31), "test.tsv:3: the grade 31 is out of range: .* grades go up to 30"),
        (("q0", "d1", -(10**20)), "test.tsv:3: the grade -1000.* is out of range"),
    ],
)
def test_a_bad_judgment_is_reported_with_its_location(tmp_path, row, words):
    source = make_collection(tmp_path, test=[("q0", "d0", 1), row])
    with pytest.raises(GenirError, match=words):
        list(check_judgments(source, "test", DOC_IDS, QUERY_IDS))


def test_judgments_that_pass_the_checks_are_unchanged(tmp_path):
    rows = [("q0", "d0", 30), ("q0", "d1", -2), ("q1", "d0", 0)]
    source = make_collection(tmp_path, test=rows)
    assert list(check_judgments(source, "test", DOC_IDS, QUERY_IDS)) == [Judgment(*row) for row in rows]


def test_a_split_without_judgments_is_an_error(tmp_path):
    with pytest.raises(GenirError, match="the split 'test' has no judgments"):
        list(check_judgments(make_collection(tmp_path, test=[]), "test", DOC_IDS, QUERY_IDS))


def test_a_split_without_a_relevant_document_is_an_error(tmp_path):
    source = make_collection(tmp_path, train=[])
    require_relevant(source, "train", [Judgment("q0", "d0", 0), Judgment("q0", "d1", 1)])
    with pytest.raises(GenirError, match="the split 'train' needs a relevant document"):
        require_relevant(source, "train", [Judgment("q0", "d0", 0), Judgment("q0", "d1", -1)])


def test_a_missing_dev_split_is_carved_before_train_and_counted_as_train_in_the_published_counts(tmp_path):
    source = make_collection(
        tmp_path, test=[("q8", "d0", 1)], train=[(f"q{number}", f"d{doc}", 1) for number in range(8) for doc in (0, 1)]
    )
    splits = dict(read_checked_splits(source, 0.4, DOC_IDS, QUERY_IDS))
    assert list(splits) == ["test", "dev", "train"]
    sizes = {
        split: {"queries": len({row.query_id for row in rows}), "judgments": len(rows), "queries_sha256": "x"}
        for split, rows in splits.items()
    }
    assert counts_before_carving(source, sizes) == {
        "test": {"queries": 1, "judgments": 1},
        "train": {"queries": 8, "judgments": 16},
    }


def test_an_existing_dev_split_is_kept_and_counted_as_itself(tmp_path):
    source = make_collection(tmp_path, dev=[("q0", "d0", 1)], train=[("q1", "d0", 1)])
    splits = dict(read_checked_splits(source, 0.99, DOC_IDS, QUERY_IDS))
    assert splits == {"dev": [Judgment("q0", "d0", 1)], "train": [Judgment("q1", "d0", 1)]}
    sizes = {split: {"queries": 1, "judgments": 1} for split in splits}
    assert counts_before_carving(source, sizes) == sizes


def test_too_few_queries_for_a_dev_split_are_an_error(tmp_path):
    source = make_collection(tmp_path, train=[("q0", "d0", 1)])
    for fraction in (0.001, 0.999):
        with pytest.raises(GenirError, match=r"too few train queries for a dev split; add the split dev, or raise"):
            list(read_checked_splits(source, fraction, DOC_IDS, QUERY_IDS))


@pytest.mark.parametrize(
    ("splits", "needed"), [("test", True), ("test dl19", True), ("dev test", False), ("train dev", False)]
)
def test_a_dev_split_of_pseudo_queries_is_needed_only_without_dev_and_train(tmp_path, splits, needed):
    source = make_collection(tmp_path, **{split: [("q0", "d0", 1)] for split in splits.split()})
    assert needs_pseudo_dev(source) is needed
    assert ("dev" in dict(read_checked_splits(source, 0.4, DOC_IDS, QUERY_IDS))) == ("dev" in splits)


def test_the_dev_split_of_pseudo_queries_is_named_among_the_splits_that_can_be_searched(tmp_path):
    source = make_collection(tmp_path, dl19=[])
    require_search_splits(source, ["dev", "dl19"])
    with pytest.raises(GenirError, match=r"no split 'test', .* there are: dl19, dev \(made of pseudo queries\)\."):
        require_search_splits(source, ["test"])


def test_search_splits_must_exist_or_be_the_dev_split_that_will_be_carved(tmp_path):
    source = make_collection(tmp_path, train=[])
    require_search_splits(source, ["dev", "train"])
    with pytest.raises(
        GenirError,
        match=r"no split 'test', .* there are: train, dev \(carved from train\)\. Set search\.splits=\[dev\]",
    ):
        require_search_splits(source, ["dev", "test"])
