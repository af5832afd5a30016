"""The queries stage: three sources of pseudo queries, the omission of empty and repeated queries, and resumption."""

import gzip
import json
from collections import Counter

import pytest
import torch
import typer
from typer.testing import CliRunner

from genir.collection.prepared import PreparedCollection
from genir.config import load_config
from genir.errors import GenirError
from genir.pseudo_queries.doc2query import QueryGenerator
from genir.t5.loading import load_t5
from genir.training.callbacks import MarkComplete
from indexing import generate_queries
from indexing.generate_queries import list_relevant_pairs, main, select_distinct
from indexing.prepare_collection import main as prepare


@pytest.fixture
def load(beir, tmp_path):
    """A function that loads the config of a prepared run whose training mix contains only pseudo queries."""
    (tmp_path / "c.yaml").write_text(
        f"""
collection: {{path: {beir}}}
runs_dir: {tmp_path / "runs"}
sft: {{phases: [{{mix: {{pseudo_queries: 1}}, steps: 5}}]}}
queries: {{batch_size: 4, query_tokens: 6, document_tokens: 12, per_document: 3}}
"""
    )
    prepare(load_config(tmp_path / "c.yaml"))
    return lambda *overrides: load_config(tmp_path / "c.yaml", overrides)


@pytest.fixture
def seq2seq(make_model, tokenizer, tmp_path):
    """A random T5 with the tokenizer of the tests."""
    make_model((1,), v10=True, base=len(tokenizer) - 1).t5.save_pretrained(tmp_path / "t5")
    tokenizer.save_pretrained(tmp_path / "t5")
    return tmp_path / "t5"


def written(config):
    lines = (config.run_folder / "pseudo_queries" / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    return [(entry["doc_id"], entry["text"]) for entry in map(json.loads, lines)]


def test_repeated_and_empty_queries_are_omitted_and_counted():
    counts = Counter()
    assert select_distinct(["", "Who  was it", "who was it", "?!", "why"], 5, counts) == ["Who was it", "why"]
    assert counts == {"empty": 2, "repeated": 1}
    assert select_distinct(["a", "b", "c"], 2, counts) == ["a", "b"]


def test_the_extractive_method_gives_every_document_its_queries(load):
    config = load()
    main(config)
    queries = written(config)
    assert Counter(doc_id for doc_id, _ in queries) == {f"d{i}": 3 for i in range(12)}
    assert queries[0] == ("d0", "About owls hunt mice")
    assert len({(doc_id, text.casefold()) for doc_id, text in queries}) == len(queries)
    report = json.loads((config.run_folder / "pseudo_queries" / "report.json").read_text())
    # The repeated query is the keyphrase of each document that consists of words of its title.
    assert report == {"method": "extractive", "documents": 12, "kept": 36, "empty": 0, "repeated": 12,
                      "documents without any": 0}  # fmt: skip
    assert not (config.run_folder / "checkpoints").exists()


def test_queries_from_a_file_are_written_in_collection_order(load, tmp_path):
    own = [("d3", "x"), ("d1", "y"), ("d3", "X"), ("d3", "z"), ("d1", " ")]
    lines = [json.dumps({"doc_id": doc_id, "text": text}) for doc_id, text in own]
    (tmp_path / "own.jsonl.gz").write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    config = load(f"queries.method={tmp_path / 'own.jsonl.gz'}")
    main(config)
    assert written(config) == [("d1", "y"), ("d3", "x"), ("d3", "z")]
    report = json.loads((config.run_folder / "pseudo_queries" / "report.json").read_text())
    assert (report["empty"], report["repeated"], report["documents without any"]) == (1, 1, 10)


@pytest.mark.parametrize(
    "line",
    ['{"doc_id": "nowhere", "text": "x"}', '{"doc_id": "d1"}', "{", "[]", '{"doc_id": "d1", "text": null}',
     '{"doc_id": "d1", "text": 5}', '{"doc_id": ["d1"], "text": "x"}', '{"doc_id": "d1", "text": "\\ud800"}',
     '{"doc_id": "d1", "text": "x", "text": "y"}'],
)  # fmt: skip
def test_a_malformed_line_is_an_error_with_its_number(load, tmp_path, line):
    (tmp_path / "own.jsonl").write_text('{"doc_id": "d1", "text": "x"}\n' + line + "\n")
    with pytest.raises(GenirError, match=r"own\.jsonl:2: (must be|not valid JSON)"):
        main(load(f"queries.method={tmp_path / 'own.jsonl'}"))


def test_a_method_that_cannot_be_used_is_an_error_and_nothing_is_written(load, tmp_path):
    (tmp_path / "empty.jsonl").touch()
    for method, words in (
        (tmp_path / "none.jsonl", "none.jsonl: no such file"),
        (tmp_path / "empty.jsonl", "produced no query for any document"),
        (tmp_path / "none", "cannot be loaded as a seq2seq model"),
    ):
        config = load(f"queries.method={method}")
        with pytest.raises(GenirError, match=words):
            main(config)
        assert not (config.run_folder / "pseudo_queries").exists()


@pytest.mark.slow
def test_an_interrupted_generation_resumes_after_its_last_shard_with_the_same_queries(load, seq2seq, monkeypatch):
    monkeypatch.setattr(generate_queries, "SHARD_SIZE", 5)
    config = load(f"queries.method={seq2seq}")
    main(config)
    whole = written(config)
    assert not (config.run_folder / "checkpoints").exists()
    original, calls = QueryGenerator.generate, []

    def stop_in_the_second_shard(self, documents, seed):
        calls.append(seed)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(self, documents, seed)

    monkeypatch.setattr(QueryGenerator, "generate", stop_in_the_second_shard)
    with pytest.raises(KeyboardInterrupt):
        main(config)
    main(config)
    assert written(config) == whole
    assert calls == ["1/0", "1/4", "1/5", "1/9", "1/5", "1/9", "1/10"]


@pytest.mark.slow
def test_a_model_is_fine_tuned_on_the_train_queries_and_saved(load, seq2seq):
    config = load(f"queries.method={seq2seq}", "queries.tune_steps=4")
    pairs = list_relevant_pairs(PreparedCollection(config.run_folder / "collection"), "train")
    assert ("where do owls hunt mice with keyword0 train", 0) in pairs
    assert len(pairs) == 24
    main(config)
    base, tuned = (load_t5(str(name)).state_dict() for name in (seq2seq, config.run_folder / "query_model"))
    assert any(not torch.equal(base[name], tuned[name]) for name in base)
    assert not (config.run_folder / "checkpoints").exists()
    assert written(config)


@pytest.mark.slow
def test_an_interrupted_stage_with_fine_tuning_resumes_with_the_same_model_and_queries(load, seq2seq, monkeypatch):
    config = load(f"queries.method={seq2seq}", "queries.tune_steps=10")

    def weights():
        return load_t5(str(config.run_folder / "query_model")).state_dict()

    main(config)
    whole, queries = weights(), written(config)
    original, saves = MarkComplete.on_save, []

    def stop_at_the_third(self, args, state, control, **kwargs):
        saves.append(state.global_step)
        original(self, args, state, control, **kwargs)
        if len(saves) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(MarkComplete, "on_save", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        main(config)
    main(config)
    assert len(saves) == len(set(saves))  # no step is trained twice
    assert all(torch.equal(whole[name], tensor) for name, tensor in weights().items())
    assert written(config) == queries


def test_the_stage_does_nothing_unless_a_training_mix_contains_pseudo_queries(load, tmp_path):
    app = typer.Typer()
    app.command()(generate_queries.command)

    def run(*overrides):
        result = CliRunner().invoke(app, [str(tmp_path / "c.yaml"), *overrides])
        assert result.exit_code == 0, result.output
        return result.output

    assert "no training mix contains pseudo_queries" in run("sft.phases=[{mix: {queries: 1}}]")
    assert not (load().run_folder / "pseudo_queries").exists()
    assert "kept: 36" in run()
    assert "up to date" in run("sft.batch_size=3")
    assert "kept: 24" in run("queries.per_document=2")
    assert "kept: 36" in run("sft.phases=[{mix: {queries: 1}}]", "ddro={mix: {pseudo_queries: 1}}")


def test_pseudo_queries_are_generated_in_the_place_of_missing_train_queries(load, tmp_path, seq2seq):
    app = typer.Typer()
    app.command()(generate_queries.command)
    for path in (load().run_folder / "collection" / "qrels").glob("train.*"):
        path.unlink()
    result = CliRunner().invoke(app, [str(tmp_path / "c.yaml"), "sft.phases=[{mix: {queries: 1}}]"])
    assert "kept: 36" in result.output
    with pytest.raises(GenirError, match=r"queries\.tune_steps: the collection has no train queries"):
        main(load(f"queries.method={seq2seq}", "queries.tune_steps=4"))
