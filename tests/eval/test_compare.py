import importlib.util
import json
import shutil

import pytest
from rich.console import Console

from eval import compare, evaluate
from genir.config import load_config, save_config
from genir.errors import GenirError
from genir.evaluation.protocol_card import find_differences, read_card
from tests.helpers.evaluated_run import make_evaluated_run, replace_in_file


@pytest.fixture
def make_run(beir, tmp_path):
    def make(name, *overrides, **arguments):
        return make_evaluated_run(beir, tmp_path, name, *overrides, **arguments)

    return make


def compare_two(a, b):
    compare.compare(a, {"a/": [a.run_folder], "b/": [b.run_folder]}, a.run_folder / "comparison")


def test_the_order_of_the_collection_files_does_not_change_the_card(make_run):
    def reverse_lines(folder):
        for path in (folder / "corpus.jsonl", folder / "queries.jsonl"):
            path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
        for path in (folder / "qrels").iterdir():
            header, *rows = path.read_text().splitlines(keepends=True)
            path.write_text("".join([header, *reversed(rows)]))

    cards = [read_card(make_run("a").run_folder), read_card(make_run("b", change=reverse_lines).run_folder)]
    assert cards[0]["documents"] == cards[1]["documents"]
    assert cards[0]["splits"] == cards[1]["splits"]


@pytest.mark.skipif(importlib.util.find_spec("pyserini") is None, reason="the extra pyserini is not installed")
def test_runs_whose_baselines_use_different_back_ends_can_be_compared(make_run):
    cards = [read_card(make_run("a").run_folder), read_card(make_run("b", "baseline.backend=pyserini").run_folder)]
    assert cards[0]["bm25"]["measures"]["test"].keys() == cards[1]["bm25"]["measures"]["test"].keys()
    assert find_differences(*cards, ["test"]) == []


CHANGES = {
    "one document more": (
        replace_in_file("corpus.jsonl", '{"_id": "d0"', '{"_id": "new", "text": "x"}\n{"_id": "d0"'),
        "the documents differ (12 and 13)",
    ),
    "one test query fewer": (
        replace_in_file("qrels/test.tsv", "q0-test\td0\t2\nq0-test\td4\t1\n", ""),
        "the queries of test differ (12 and 11)",
    ),
    "another grade": (
        replace_in_file("qrels/test.tsv", "q0-test\td0\t2", "q0-test\td0\t1"),
        "the judgments of test differ",
    ),
    "other texts": (replace_in_file("corpus.jsonl", "keyword", "x"), "so the documents' texts differ"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_runs_measured_on_different_collections_are_not_compared(make_run, name):
    change, words = CHANGES[name]
    a, b = make_run("a"), make_run("b", change=change)
    with pytest.raises(GenirError) as error:
        compare_two(a, b)
    assert words in str(error.value)
    assert str(b.run_folder) in str(error.value)
    assert not (a.run_folder / "comparison").exists()


def test_runs_with_different_baselines_and_train_queries_are_compared_with_a_note(make_run, capsys):
    change = replace_in_file("qrels/train.tsv", "q0-train\td0\t2\n", "")
    compare_two(make_run("a"), make_run("b", "baseline.stemmer=null", "baseline.k1=2.0", change=change))
    assert "trained on different train queries" in " ".join(capsys.readouterr().out.split())


def test_a_run_without_a_card_raises_an_error_that_says_what_to_run(make_run):
    config = make_run("a")
    (config.run_folder / "evaluation" / "card.json").unlink()
    with pytest.raises(GenirError, match="run prepare, baseline and evaluate again"):
        compare.main(config)


def test_a_run_file_of_one_split_is_compared_only_on_that_split(make_run, capsys):
    config = make_run("a", "search.splits=[dev,test]")
    (config.run_folder / "runs" / "sft.test.trec").rename(config.run_folder / "runs" / "own.test.trec")
    evaluate.main(config)
    compare.main(config)
    rows = json.loads((config.run_folder / "comparison" / "comparison.json").read_text())
    assert {(row["split"], row["b"]) for row in rows} == {("test", "own")}
    assert capsys.readouterr().out.count("paired randomisation test") == 1


def test_a_comparison_with_another_folder_does_not_replace_that_of_the_run_itself(make_run, capsys):
    config = make_run("a")
    compare.main(config)
    own = (config.run_folder / "comparison" / "comparison.json").read_text()
    save_config(config, config.run_folder / "config.yaml")
    other = shutil.copytree(config.run_folder, config.run_folder.parent / "other")
    compare.command(str(config.run_folder), others=[other])
    assert (config.run_folder / "comparison" / "comparison.json").read_text() == own
    rows = json.loads((config.run_folder / "comparison_between_runs" / "comparison.json").read_text())
    assert {row["a"] for row in rows} == {"a/bm25"}  # the copy's identical runs take part once
    assert "other/bm25 has the same values as a/bm25 and is left out" in capsys.readouterr().out


def test_errors_name_a_missing_folder_and_one_evaluated_with_other_measures(make_run):
    config = make_run("a")
    save_config(config, config.run_folder / "config.yaml")
    other = shutil.copytree(config.run_folder, config.run_folder.parent / "other")
    with pytest.raises(GenirError, match="nope: no such run folder"):
        compare.command(str(config.run_folder), others=[other.parent / "nope"], over_seeds=True)
    evaluate.main(load_config(other, ["name=other", "evaluate.measures=[RR@10,AP]"]))
    message = r"per_query.tsv: this file has no values of nDCG@10 on test; run: genir evaluate .*/other"
    with pytest.raises(GenirError, match=message):
        compare.command(str(config.run_folder), others=[other])


def test_over_seeds_needs_other_run_folders(make_run):
    config = make_run("a")
    save_config(config, config.run_folder / "config.yaml")
    with pytest.raises(GenirError, match="each after --other"):
        compare.command(str(config.run_folder), over_seeds=True)


def test_the_table_of_seeds_keeps_numbers_whole_in_a_terminal_of_80_columns(capsys):
    name = "quite-a-long-folder-name/irpo"
    seeds = [{"split": "test", "measure": "RR@10", "run": name, "mean": 0.8251, "seeds": [0.8123] * 9}]
    Console(width=80, soft_wrap=True).print(compare.make_seeds_table(seeds))
    assert capsys.readouterr().out.split().count("0.812") == 9
