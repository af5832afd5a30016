import json
import shutil

import numpy as np
import pytest

from eval import evaluate
from genir import search
from genir.collection.prepared import PreparedCollection
from genir.config import load_config
from genir.docids.table import Codes, DocidTable
from genir.errors import GenirError
from genir.evaluation.protocol_card import find_differences, read_card
from genir.evaluation.results import read_values
from genir.evaluation.trec import write_run
from genir.files import write_json
from genir.pipeline.stage import execute
from tests.helpers.beir import beir_of_own_queries
from tests.helpers.evaluated_run import make_evaluated_run
from tests.helpers.retrievers import with_bm25


def read_evaluation(config, name):
    return json.loads((config.run_folder / "evaluation" / name).read_text())


def test_the_card_says_what_the_run_was_measured_on(beir, tmp_path):
    config = make_evaluated_run(beir, tmp_path, "a")
    card = read_card(config.run_folder)
    assert card["collection"] == "custom"
    assert card["documents"]["count"] == 12
    assert card["splits"]["test"] | {"queries": 12, "judgments": 24} == card["splits"]["test"]
    measures = read_evaluation(config, "measures.json")["test"]["bm25"]
    assert card["bm25"]["measures"]["test"]["RR@10"] == pytest.approx(measures["RR@10"]["all"]["mean"])
    assert card["bm25"]["settings"]["backend"] == "bm25s"


def test_the_mean_counts_queries_without_hits_as_zero(beir, tmp_path):
    config = make_evaluated_run(beir, tmp_path, "a")
    found = read_evaluation(config, "measures.json")["test"]["sft"]["Success@1"]["all"]
    assert found["mean"] == pytest.approx(1 / 12)  # one query of twelve has a hit, which is relevant
    assert found["queries"] == 12


def test_a_query_is_seen_if_one_of_its_best_documents_is_relevant_to_a_training_query():
    assert evaluate.is_seen({"a": 2, "b": 2, "c": 1}, {"b"})
    assert not evaluate.is_seen({"a": 2, "b": 2, "c": 1}, {"c"})


def test_runs_of_removed_training_stages_and_experts_are_left_out_and_other_run_files_are_kept(beir, tmp_path, capsys):
    config = make_evaluated_run(beir, tmp_path, "a", "irpo={}")
    for name in ("experts", "irpo", "own"):
        shutil.copy(config.run_folder / "runs" / "sft.test.trec", config.run_folder / "runs" / f"{name}.test.trec")

    def evaluated_runs(*overrides):
        capsys.readouterr()
        again = load_config(tmp_path / "c.yaml", ["name=a", "evaluate.bootstrap=100", *overrides])
        execute(evaluate.STAGE, evaluate.main, again)
        return list(read_evaluation(config, "measures.json")["test"])

    assert evaluated_runs("irpo={}") == ["bm25", "experts", "sft", "irpo", "own"]
    assert evaluated_runs("experts=null") == ["bm25", "sft", "own"]
    printed = capsys.readouterr().out
    for name in ("experts", "irpo"):
        assert f"{name}.test.trec is ignored, since the config has no section {name}" in printed
    assert evaluated_runs("irpo={}") == ["bm25", "experts", "sft", "irpo", "own"]


def test_a_query_is_certified_if_its_hits_down_to_the_cutoff_are_proven(beir, tmp_path, capsys):
    """With a cut-off of 10 and 12 hits, 10 proven hits suffice; if a query has fewer hits, all must be proven."""
    config = make_evaluated_run(beir, tmp_path, "a", "search.k=12")
    hits = {"q0-test": 12, "q1-test": 12, "q2-test": 3, "q3-test": 3, "q4-test": 12}
    run = {query: {f"d{i}": -float(i) for i in range(count)} for query, count in hits.items()}
    write_run(run, config.run_folder / "runs" / "sft.test.trec", "sft")
    proven = {"q0-test": 10, "q1-test": 9, "q2-test": 3, "q3-test": 2, "q4-test": 12}
    write_json(config.run_folder / "runs" / "sft.test.certified.json", proven)
    evaluate.main(config)
    assert read_evaluation(config, "certificates.json") == {"test": {"sft": pytest.approx(3 / 5)}}
    shown = capsys.readouterr().out
    assert "60.0%" in shown
    assert "certified: share of queries whose top 10 is proven to be the model's best" in shown
    narrow = load_config(tmp_path / "c.yaml", ["name=a", "evaluate.measures=[RR@3]", "sft.metric=RR@3"])
    evaluate.main(narrow)
    assert read_evaluation(config, "certificates.json") == {"test": {"sft": pytest.approx(4 / 5)}}


def save_sft(config, make_retriever, weight):
    """Save a retriever with BM25 as its expert as the run's sft, and return it."""
    data = PreparedCollection(config.run_folder / "collection")
    codes = np.stack(np.unravel_index(np.random.default_rng(0).permutation(12), (2, 2, 3)), 1)
    retriever = with_bm25(make_retriever(codes, (2, 2, 3)), data.documents, weight)
    retriever.save_pretrained(config.run_folder / "sft")
    return retriever


@pytest.mark.parametrize("metric", ["RR@10", "AP"])
def test_what_experts_and_model_contribute_is_as_in_the_runs_and_measured_again_if_the_experts_change(
    beir, tmp_path, make_retriever, capsys, metric
):
    overrides = [f"evaluate.measures=[Success@1,{metric}]", f"sft.metric={metric}"]
    config = make_evaluated_run(beir, tmp_path, "a", *overrides)
    assert not (config.run_folder / "evaluation" / "experts.json").exists()
    retriever = save_sft(config, make_retriever, 1.5)
    search.rank_by_experts(config, retriever, PreparedCollection(config.run_folder / "collection"), "test")
    execute(evaluate.STAGE, evaluate.main, config)
    found = read_evaluation(config, "experts.json")
    means = {run: x[metric]["all"]["mean"] for run, x in read_evaluation(config, "measures.json")["test"].items()}
    assert found["together"] == pytest.approx(means["experts"])
    assert means["experts"] != means["sft"]
    assert (found["run"], found["combined"]) == ("sft", pytest.approx(means["sft"]))
    assert (found["split"], found["measure"], found["queries"], found["total"]) == ("test", metric, 12, 12)
    assert found["experts"] == [
        {"name": "text", "weight": 1.5, "k1": 0.9, "b": 0.4, "alone": found["together"], "without": None}
    ]
    printed = capsys.readouterr().out
    assert printed.index("experts, test") > printed.index("test: mean")
    assert "│ model" in printed
    assert "on the 12 queries of test, all experts together reach" in printed
    save_sft(config, make_retriever, 2.5)
    execute(evaluate.STAGE, evaluate.main, config)
    assert read_evaluation(config, "experts.json")["experts"][0]["weight"] == 2.5
    execute(evaluate.STAGE, evaluate.main, config)
    assert "evaluate: up to date" in capsys.readouterr().out
    without = load_config(tmp_path / "c.yaml", ["name=a", "experts=null", *overrides])
    execute(evaluate.STAGE, evaluate.main, without)
    assert not (config.run_folder / "evaluation" / "experts.json").exists()


def test_the_model_is_measured_by_the_run_of_the_last_training_stage(beir, tmp_path, make_retriever):
    config = make_evaluated_run(beir, tmp_path, "a", "irpo={}")
    save_sft(config, make_retriever, 1.5)
    write_run({"q3-test": {"d3": 1.0}, "q4-test": {"d4": 1.0}}, config.run_folder / "runs" / "irpo.test.trec", "irpo")
    evaluate.main(config)
    found = read_evaluation(config, "experts.json")
    assert (found["run"], found["combined"]) == ("irpo", pytest.approx(2 / 12))
    for name in ("sft", "irpo"):
        (config.run_folder / "runs" / f"{name}.test.trec").unlink()
    evaluate.main(config)
    found = read_evaluation(config, "experts.json")
    assert (found["run"], found["combined"]) == (None, None)


def test_a_damaged_index_of_an_expert_is_an_error_that_names_it(beir, tmp_path, make_retriever):
    config = make_evaluated_run(beir, tmp_path, "a")
    save_sft(config, make_retriever, 1.5)
    path = config.run_folder / "sft" / "experts" / "text" / "postings.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(GenirError, match=r"text/postings\.safetensors"):
        evaluate.main(config)


def test_documents_that_share_a_docid_get_measures_of_their_best_and_worst_order(beir, tmp_path):
    config = make_evaluated_run(beir, tmp_path, "a")
    write_run({"q0-test": {"d1": -1.0, "d0": -2.0}}, config.run_folder / "runs" / "sft.test.trec", "sft")
    codes, names = np.arange(12, dtype=np.int32)[:, None] // 2, [f"d{i}" for i in range(12)]
    DocidTable.from_codes(Codes(codes, (6,)), doc_ids=names, titles=names).save(config.run_folder / "docids")
    evaluate.main(config)
    means = {
        run: values["RR@10"]["all"]["mean"] * 12
        for run, values in read_evaluation(config, "measures.json")["test"].items()
    }
    assert means["sft"] == means["sft (worst order)"] == pytest.approx(0.5)
    assert means["sft (best order)"] == pytest.approx(1)
    assert 0.5 < means["sft (expected order)"] < 1


def test_run_files_are_told_apart_by_their_whole_names(beir, tmp_path, capsys):
    config = make_evaluated_run(beir, tmp_path, "a", "search.splits=[test]")
    runs = config.run_folder / "runs"
    queries = [f"q{number}-test" for number in range(12)]
    write_run({query: {f"d{number}": 1.0} for number, query in enumerate(queries)}, runs / "mine.v1.test.trec", "x")
    write_run({query: {"nothing": 1.0} for query in queries}, runs / "mine.v2.test.trec", "x")
    shutil.copy(runs / "mine.v2.test.trec", runs / "sft.x.test.trec")
    (runs / "empty.test.trec").touch()
    evaluate.main(config)
    assert "empty.test.trec has no hits, so that its measures are 0" in " ".join(capsys.readouterr().out.split())
    found = read_evaluation(config, "measures.json")["test"]
    assert list(found) == ["bm25", "sft", "empty", "mine.v1", "mine.v2", "sft.x"]
    means = {name: found[name]["RR@10"]["all"]["mean"] for name in found}
    assert (means["mine.v1"], means["mine.v2"], means["sft.x"]) == (1.0, 0.0, 0.0)
    assert means["sft"] == pytest.approx(1 / 12)


def test_a_run_file_with_the_name_of_the_baseline_is_an_error(beir, tmp_path):
    config = make_evaluated_run(beir, tmp_path, "a")
    shutil.copy(config.run_folder / "runs" / "sft.test.trec", config.run_folder / "runs" / "bm25.test.trec")
    with pytest.raises(GenirError, match=r"runs/bm25\.test\.trec: .*baseline/bm25\.test\.trec has the same name"):
        evaluate.main(config)


def test_a_split_whose_name_ends_like_another_keeps_its_own_runs(beir, tmp_path):
    config = make_evaluated_run(beir, tmp_path, "a")
    both = load_config(tmp_path / "c.yaml", ["name=a", "search.splits=[test, hard.test]"])
    shutil.copy(config.run_folder / "runs" / "sft.test.trec", config.run_folder / "runs" / "sft.hard.test.trec")
    names = {split: [path.name for path in evaluate.list_run_files(both, split)] for split in both.search.splits}
    assert names == {"test": ["bm25.test.trec", "sft.test.trec"], "hard.test": ["sft.hard.test.trec"]}


def test_documents_with_the_id_of_the_query_are_left_out_of_every_run_if_they_are_ignored(tmp_path, capsys):
    folder = beir_of_own_queries(tmp_path / "own")
    settings = ("evaluate.measures=[AP,RR@10]",)
    for ignore, expected in (("false", 0.5), ("true", 1.0)):
        config = make_evaluated_run(
            folder, tmp_path, f"x-{ignore}", f"collection.ignore_identical_ids={ignore}", *settings
        )
        assert "AP: computed on the search.k = 100 hits of each query" in " ".join(capsys.readouterr().out.split())
        write_run({"d8": {"d8": 2.0, "d0": 1.0}}, config.run_folder / "runs" / "foreign.test.trec", "foreign")
        evaluate.main(config)
        values = read_values(config.run_folder / "evaluation" / "per_query.tsv")
        (value,) = [v.value for v in values if (v.run, v.query, v.measure) == ("foreign", "d8", "RR@10")]
        assert value == expected
    cards = [read_card(tmp_path / "runs" / f"x-{ignore}") for ignore in ("false", "true")]
    assert find_differences(*cards, ["test"])[0] == "only one of them has collection.ignore_identical_ids"


@pytest.mark.parametrize("content", ["{}", "[]", '{"q0-test": "1"}', "{"])
def test_a_damaged_file_of_certificates_is_an_error_that_names_it(tmp_path, content):
    (tmp_path / "sft.test.certified.json").write_text(content)
    with pytest.raises(GenirError, match=r"sft\.test\.certified\.json.*(damaged|not valid JSON)"):
        evaluate.read_certificates(tmp_path / "sft.test.certified.json")
