"""Protocol cards: what they hold, and which runs they keep apart."""

import importlib.util
import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval import baseline, compare, evaluate
from genir.collection.published import PUBLISHED
from genir.config import load_config
from genir.errors import GenirError
from genir.evaluation.protocol_card import differences, ids_hash, read_card
from genir.evaluation.trec import write_run
from genir.pipeline.stage import execute
from indexing import prepare_collection


@pytest.fixture
def run(beir, tmp_path):
    """A run folder, prepared and evaluated after `change` has had the collection's files."""

    def make(name, *overrides, change=lambda folder: None):
        folder = shutil.copytree(beir, tmp_path / f"{name}-data")
        change(folder)
        (tmp_path / "c.yaml").write_text(f"collection: {{path: {folder}}}\nruns_dir: {tmp_path / 'runs'}\n")
        config = load_config(tmp_path / "c.yaml", [f"name={name}", "evaluate.bootstrap=100", *overrides])
        prepare_collection.main(config)
        baseline.main(config)
        write_run({"q0-test": {"d0": 1.0}}, config.run_folder / "runs" / "sft.test.trec", "sft")
        evaluate.main(config)
        return config

    return make


def replace(name, old, new):
    def change(folder):
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return change


def test_a_card_says_what_the_run_was_measured_on(run):
    config = run("a")
    card = read_card(config.run_folder)
    assert card["build"] == "custom"
    assert card["documents"]["count"] == 12
    assert card["splits"]["test"] | {"queries": 12, "judgments": 24} == card["splits"]["test"]
    measures = json.loads((config.run_folder / "evaluation" / "measures.json").read_text())["test"]["bm25"]
    assert card["bm25"]["measures"]["test"]["RR@10"] == pytest.approx(measures["RR@10"]["all"]["mean"])
    assert card["bm25"]["settings"]["backend"] == "bm25s"


@pytest.mark.skipif(importlib.util.find_spec("pyserini") is None, reason="the extra pyserini is not installed")
def test_both_back_ends_give_a_fingerprint_and_never_contradict_each_other(run):
    cards = [read_card(run("a").run), read_card(run("b", "baseline.backend=pyserini").run)]
    assert cards[0]["bm25"]["measures"]["test"].keys() == cards[1]["bm25"]["measures"]["test"].keys()
    assert differences(*cards, ["test"]) == []


def test_the_card_is_that_of_the_ids_not_of_their_order(run, beir):
    def shuffle(folder):
        for path in (folder / "corpus.jsonl", folder / "queries.jsonl"):
            path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
        for path in (folder / "qrels").iterdir():
            header, *rows = path.read_text().splitlines(keepends=True)
            path.write_text("".join([header, *reversed(rows)]))

    cards = [read_card(run("a").run), read_card(run("b", change=shuffle).run)]
    assert cards[0]["documents"] == cards[1]["documents"]
    assert cards[0]["splits"] == cards[1]["splits"]


@given(st.lists(st.text(), unique=True), st.randoms())
def test_a_hash_of_ids_is_that_of_the_set(ids, random):
    shuffled = random.sample(ids, len(ids))
    assert ids_hash(ids) == ids_hash(shuffled)
    if ids:
        assert ids_hash(ids) != ids_hash(ids[1:])


def test_a_stage_that_was_taken_out_is_no_longer_measured_but_one_s_own_run_file_is(run, tmp_path, capsys):
    config = run("a", "irpo={}")
    for name in ("irpo", "own"):
        shutil.copy(config.run_folder / "runs" / "sft.test.trec", config.run_folder / "runs" / f"{name}.test.trec")

    def load_run_values(*overrides):
        capsys.readouterr()
        again = load_config(tmp_path / "c.yaml", ["name=a", "evaluate.bootstrap=100", *overrides])
        execute(evaluate.STAGE, evaluate.main, again)
        return list(json.loads((config.run_folder / "evaluation" / "measures.json").read_text())["test"])

    assert load_run_values("irpo={}") == ["bm25", "sft", "irpo", "own"]
    assert load_run_values() == ["bm25", "sft", "own"]
    assert "irpo.test.trec is left out, since the config has no irpo" in capsys.readouterr().out
    assert load_run_values("irpo={}") == ["bm25", "sft", "irpo", "own"]


def test_a_run_file_of_one_split_is_compared_there_alone(run, capsys):
    config = run("a", "search.splits=[dev,test]")
    (config.run_folder / "runs" / "sft.test.trec").rename(config.run_folder / "runs" / "own.test.trec")
    evaluate.main(config)
    compare.main(config)
    rows = json.loads((config.run_folder / "comparison" / "comparison.json").read_text())
    assert {(row["split"], row["b"]) for row in rows} == {("test", "own")}
    assert capsys.readouterr().out.count("paired randomisation test") == 1


CHANGES = {
    "one document more": (
        replace("corpus.jsonl", '{"_id": "d0"', '{"_id": "new", "text": "x"}\n{"_id": "d0"'),
        "the documents differ (12 and 13)",
    ),
    "fewer test queries": (
        replace("qrels/test.tsv", "q0-test\td0\t2\nq0-test\td4\t1\n", ""),
        "the queries of test differ (12 and 11)",
    ),
    "another grade": (replace("qrels/test.tsv", "q0-test\td0\t2", "q0-test\td0\t1"), "the judgments of test differ"),
    "other texts": (replace("corpus.jsonl", "keyword", "x"), "so the documents' texts differ"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_runs_of_different_cards_are_not_compared(run, name):
    change, words = CHANGES[name]
    a, b = run("a"), run("b", change=change)
    with pytest.raises(GenirError) as error:
        compare.compare(a, {"a/": [a.run], "b/": [b.run]}, a.run / "comparison")
    assert words in str(error.value)
    assert str(b.run) in str(error.value)
    assert not (a.run / "comparison").exists()


def test_runs_of_one_card_are_compared_even_with_other_baselines_and_train_queries(run, capsys):
    a = run("a")
    b = run("b", "baseline.stemmer=null", "baseline.k1=2.0", change=replace("qrels/train.tsv", "q0-train\td0\t2\n", ""))
    compare.compare(a, {"a/": [a.run], "b/": [b.run]}, a.run / "comparison")
    assert (a.run / "comparison" / "comparison.json").exists()
    assert "trained on different train queries" in " ".join(capsys.readouterr().out.split())


def test_another_build_and_a_split_that_one_has_not_are_told(run):
    card = read_card(run("a").run)
    assert differences(card, card, ["test"]) == []
    other = card | {"build": "nq320k", "splits": {}}
    assert differences(card, other, ["test"]) == ["the build is custom and nq320k", "only one has the split test"]


def test_a_run_from_before_the_cards_says_what_to_do(run):
    a = run("a")
    (a.run / "evaluation" / "card.json").unlink()
    with pytest.raises(GenirError, match="no protocol card; run prepare, baseline and evaluate again"):
        compare.main(a)


@pytest.mark.parametrize(("off", "warned"), [(0.01, False), (-0.01, False), (0.2, True)])
def test_a_build_far_from_its_published_fingerprint_is_warned_of(tmp_path, capsys, off, warned):
    (tmp_path / "c.yaml").write_text("collection: {path: x, published: msmarco-doc-top300k}")
    measures = {"test": {"R@1": PUBLISHED["msmarco-doc-top300k"].bm25_r1 / 100 + off}}
    baseline.say_published(load_config(tmp_path / "c.yaml"), measures)
    shown = " ".join(capsys.readouterr().out.split())
    assert "published 18.94" in shown
    assert ("another build" in shown) == warned
    baseline.say_published(load_config(tmp_path / "c.yaml", ["collection.expect_counts=false"]), measures)
    assert capsys.readouterr().out == ""
