import json

import pytest

from eval import baseline
from genir.bm25 import BM25
from genir.collection.prepared import PreparedCollection
from genir.collection.published import PUBLISHED
from genir.config import BaselineConfig, load_config
from genir.evaluation.trec import read_run
from indexing import prepare_collection
from tests.helpers.beir import beir_of_own_queries


@pytest.fixture
def config(beir, tmp_path):
    """The config of a run whose collection is prepared."""
    (tmp_path / "c.yaml").write_text(f"collection: {{path: {beir}}}\nruns_dir: {tmp_path / 'runs'}\n")
    config = load_config(tmp_path / "c.yaml", ["search.splits=[dev, test]", "search.k=10"])
    prepare_collection.main(config)
    return config


def test_the_runs_hold_the_hits_of_bm25_for_every_query_of_each_split(config):
    baseline.main(config)
    data = PreparedCollection(config.run_folder / "collection")
    index = BM25(data.documents, BaselineConfig())
    for split in ("dev", "test"):
        run = read_run(config.run_folder / "baseline" / f"bm25.{split}.trec")
        queries = data.queries(split)
        assert list(run) == [query.id for query in queries]
        for query, hits in zip(queries, index.search_many([query.text for query in queries], 10), strict=True):
            assert list(run[query.id]) == [doc_id for doc_id, _ in hits]
            assert list(run[query.id].values()) == pytest.approx([score for _, score in hits], abs=1e-4)


def test_the_fingerprint_holds_the_settings_and_the_mean_measures_of_each_split(config):
    baseline.main(config)
    found = json.loads((config.run_folder / "baseline" / "fingerprint.json").read_text())
    assert found["settings"] == {"backend": "bm25s", "k1": 0.9, "b": 0.4, "stemmer": "english", "k": 10}
    data = PreparedCollection(config.run_folder / "collection")
    for split in ("dev", "test"):
        run = read_run(config.run_folder / "baseline" / f"bm25.{split}.trec")
        relevant: dict = {}
        for judgment in data.judgments(split):
            if judgment.grade > 0:
                relevant.setdefault(judgment.query_id, set()).add(judgment.doc_id)
        recall, reciprocal = 0.0, 0.0
        for query_id, doc_ids in relevant.items():
            ranked = list(run[query_id])
            recall += len(set(ranked[:1]) & doc_ids) / len(doc_ids)
            reciprocal += max((1 / rank for rank, doc_id in enumerate(ranked, 1) if doc_id in doc_ids), default=0)
        assert found["measures"][split]["R@1"] == pytest.approx(recall / len(relevant))
        assert found["measures"][split]["RR@10"] == pytest.approx(reciprocal / len(relevant))


@pytest.mark.parametrize(("difference", "warned"), [(0.01, False), (-0.01, False), (0.021, True), (-0.2, True)])
def test_a_fingerprint_far_from_the_published_one_prints_a_warning(tmp_path, capsys, difference, warned):
    (tmp_path / "c.yaml").write_text("collection: {path: x, published: msmarco-doc-top300k}")
    config = load_config(tmp_path / "c.yaml")
    r1 = PUBLISHED["msmarco-doc-top300k"].bm25_r1 / 100 + difference
    baseline.compare_with_published(config, {"test": {"R@1": r1}})
    shown = " ".join(capsys.readouterr().out.split())
    assert f"BM25 R@1 {100 * r1:.2f}, published 18.94" in shown
    assert ("warning" in shown) == warned


@pytest.mark.parametrize(
    ("override", "split"),
    [
        ("collection.expect_counts=false", "test"),
        ("collection.published=msmarco-doc", "test"),
        ("collection.published=null", "test"),
        ("seed=0", "dev"),
    ],
)
def test_nothing_is_printed_if_no_published_fingerprint_applies(tmp_path, capsys, override, split):
    (tmp_path / "c.yaml").write_text("collection: {path: x, published: msmarco-doc-top300k}")
    baseline.compare_with_published(load_config(tmp_path / "c.yaml", [override]), {split: {"R@1": 0.9}})
    assert capsys.readouterr().out == ""


def test_documents_with_the_id_of_the_query_are_reported_and_can_be_left_out(tmp_path, capsys):
    path = beir_of_own_queries(tmp_path / "own")
    (tmp_path / "c.yaml").write_text(f"collection: {{path: {path}}}\nruns_dir: {tmp_path / 'runs'}\n")
    rankings = {}
    for ignore in ("false", "true"):
        config = load_config(
            tmp_path / "c.yaml",
            [
                f"collection.ignore_identical_ids={ignore}",
                "search.k=3",
                "search.beams=3",
                "evaluate.measures=[RR@3]",
                "sft.metric=RR@3",
            ],
        )
        prepare_collection.main(config)
        capsys.readouterr()
        baseline.main(config)
        rankings[ignore] = {q: list(r) for q, r in read_run(config.run_folder / "baseline" / "bm25.test.trec").items()}
        note = "for 4 of 4 queries of test, BM25 ranks the document with the id of the query first"
        assert (note in " ".join(capsys.readouterr().out.split())) == (ignore == "false")
    data = PreparedCollection(config.run_folder / "collection")
    index = BM25(data.documents, BaselineConfig())
    for query in data.queries("test"):
        (hits,) = index.search_many([query.text], 12)
        ranked = [doc_id for doc_id, _ in hits]
        assert rankings["false"][query.id] == ranked[:3]
        assert rankings["true"][query.id] == [doc_id for doc_id in ranked if doc_id != query.id][:3]


def test_documents_and_queries_without_terms_are_counted_in_warnings(capsys):
    baseline.warn_of_empty("documents", 3, 8)
    baseline.warn_of_empty("queries of dev", 0, 5)
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("warning: 3 of 8 documents (37.5%) have no term for BM25")


def test_the_warnings_name_the_split(config, capsys):
    path = config.run_folder / "collection" / "queries.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    dev = {query.id for query in PreparedCollection(config.run_folder / "collection").queries("dev")}
    path.write_text("".join(json.dumps(q | ({"text": "the"} if q["_id"] in dev else {})) + "\n" for q in lines))
    capsys.readouterr()
    baseline.main(config)
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]
    assert [line.split(" (")[0] for line in warnings] == [f"warning: {len(dev)} of {len(dev)} queries of dev"]
