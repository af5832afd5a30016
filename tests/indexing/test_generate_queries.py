"""The queries stage: three ways to pseudo queries, what is left out, and a model that is resumed."""

import gzip
import json
import zlib
from collections import Counter

import pytest
import torch
import typer
from transformers import AutoModelForSeq2SeqLM, set_seed
from typer.testing import CliRunner

import genir.pseudo_queries.doc2query
from genir.collection.prepared import PreparedCollection
from genir.config import load_config
from genir.errors import GenirError
from genir.pseudo_queries.doc2query import QueryWriter
from genir.training.callbacks import MarkComplete
from indexing import generate_queries
from indexing.generate_queries import distinct, main, pairs
from indexing.prepare_collection import main as prepare


@pytest.fixture
def load(beir, tmp_path):
    """A prepared run folder whose only mix names pseudo queries."""
    (tmp_path / "c.yaml").write_text(
        f"""
collection: {{path: {beir}}}
folder: {tmp_path / "runs"}
sft: {{phases: [{{mix: {{pseudo_queries: 1}}, steps: 5}}]}}
queries: {{batch_size: 4, query_tokens: 6, document_tokens: 12, per_document: 3}}
"""
    )
    prepare(load_config(tmp_path / "c.yaml"))
    return lambda *overrides: load_config(tmp_path / "c.yaml", overrides)


@pytest.fixture
def seq2seq(make_model, tokenizer, tmp_path):
    """A random T5 that writes with the tokenizer of the tests."""
    make_model((1,), v10=True, base=len(tokenizer) - 1).t5.save_pretrained(tmp_path / "t5")
    tokenizer.save_pretrained(tmp_path / "t5")
    return tmp_path / "t5"


def written(config):
    lines = (config.run_folder / "pseudo_queries" / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    return [(row["doc_id"], row["text"]) for row in map(json.loads, lines)]


def test_repeated_and_empty_queries_are_left_out_and_counted():
    counts = Counter()
    assert distinct(["", "Who  was it", "who was it", "?!", "why"], 5, counts) == ["Who was it", "why"]
    assert counts == {"empty": 2, "repeated": 1}
    assert distinct(["a", "b", "c"], 2, counts) == ["a", "b"]


def test_the_text_itself_gives_every_document_its_queries(load):
    config = load()
    main(config)
    rows = written(config)
    assert Counter(doc_id for doc_id, _ in rows) == {f"d{i}": 3 for i in range(12)}
    assert rows[0] == ("d0", "About owls hunt mice")
    assert len({(doc_id, text.casefold()) for doc_id, text in rows}) == len(rows)
    report = json.loads((config.run_folder / "pseudo_queries" / "report.json").read_text())
    assert report == {"method": "extractive", "documents": 12, "kept": 36, "empty": 0, "repeated": 12,
                      "documents without any": 0}  # fmt: skip
    assert not (
        config.run_folder / "checkpoints"
    ).exists()  # repeated: each document's one keyphrase that its title says


def test_queries_of_one_s_own_are_put_in_the_collection_s_order(load, tmp_path):
    own = [("d3", "x"), ("d1", "y"), ("d3", "X"), ("d3", "z"), ("d1", " ")]
    lines = [json.dumps({"doc_id": doc_id, "text": text}) for doc_id, text in own]
    (tmp_path / "own.jsonl.gz").write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    config = load(f"queries.method={tmp_path / 'own.jsonl.gz'}")
    main(config)
    assert written(config) == [("d1", "y"), ("d3", "x"), ("d3", "z")]
    report = json.loads((config.run_folder / "pseudo_queries" / "report.json").read_text())
    assert (report["empty"], report["repeated"], report["documents without any"]) == (1, 1, 10)


@pytest.mark.parametrize("line", ['{"doc_id": "nowhere", "text": "x"}', '{"doc_id": "d1"}', "{", "[]"])
def test_a_bad_line_is_named(load, tmp_path, line):
    (tmp_path / "own.jsonl").write_text('{"doc_id": "d1", "text": "x"}\n' + line + "\n")
    with pytest.raises(GenirError, match=r"own\.jsonl:2: needs"):
        main(load(f"queries.method={tmp_path / 'own.jsonl'}"))


def test_mistakes_are_one_line_and_leave_nothing(load, tmp_path):
    (tmp_path / "empty.jsonl").touch()
    for method, words in (
        (tmp_path / "none.jsonl", "none.jsonl: no such file"),
        (tmp_path / "empty.jsonl", "no query was made"),
        (tmp_path / "none", "cannot be loaded as a seq2seq model"),
    ):
        config = load(f"queries.method={method}")
        with pytest.raises(GenirError, match=words):
            main(config)
        assert not (config.run_folder / "pseudo_queries").exists()


def test_a_model_s_queries_are_hugging_face_s_own_samples(load, seq2seq):
    settings = load(f"queries.method={seq2seq}").queries
    writer = QueryWriter(str(seq2seq), settings)
    documents = PreparedCollection(load().run / "collection").documents[:4]
    got = writer.write(documents, "1/0")
    assert [len(texts) for texts in got] == [3] * 4
    assert writer.write(documents, "1/0") == got
    assert writer.write(documents, "2/0") != got
    model = AutoModelForSeq2SeqLM.from_pretrained(seq2seq)
    inputs = writer.tokenizer(
        [d.body for d in documents], padding=True, truncation=True, max_length=12, return_tensors="pt"
    )
    set_seed(zlib.crc32(b"1/0"))
    with torch.no_grad():
        output = model.generate(**{k: inputs[k] for k in ("input_ids", "attention_mask")}, do_sample=True, top_k=10,
                                num_return_sequences=3, max_new_tokens=6)  # fmt: skip
    wanted = writer.tokenizer.batch_decode(output, skip_special_tokens=True)
    assert [text for texts in got for text in texts] == wanted


def test_a_killed_model_goes_on_after_its_last_shard_to_the_same_queries(load, seq2seq, monkeypatch):
    monkeypatch.setattr(generate_queries, "SHARD", 5)
    config = load(f"queries.method={seq2seq}")
    main(config)
    whole = written(config)
    assert not (config.run_folder / "checkpoints").exists()
    original, calls = QueryWriter.write, []

    def stop_in_the_second_shard(self, documents, seed):
        calls.append(seed)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(self, documents, seed)

    monkeypatch.setattr(QueryWriter, "write", stop_in_the_second_shard)
    with pytest.raises(KeyboardInterrupt):
        main(config)
    main(config)
    assert written(config) == whole
    assert calls == ["1/0", "1/4", "1/5", "1/9", "1/5", "1/9", "1/10"]


def test_a_model_learns_the_train_queries_before_it_writes(load, seq2seq):
    """The train queries of the collection name their document's keyword and subject; a tuned model says such words."""
    config = load(f"queries.method={seq2seq}", "queries.tune_steps=60", "queries.learning_rate=0.02", "queries.top_k=1")
    data = PreparedCollection(config.run_folder / "collection")
    train = pairs(data, "train")
    assert ("where do owls hunt mice with keyword0 train", 0) in train
    assert len(train) == 24
    loss = {}
    for name in (str(seq2seq), None):
        if name is None:
            main(config)
            name = str(config.run_folder / "query_model")
        writer = QueryWriter(name, config.queries)
        batch = genir.pseudo_queries.doc2query.DataCollatorForSeq2Seq(writer.tokenizer)(
            [
                genir.pseudo_queries.doc2query.Pairs(train, data.documents, writer.tokenizer, config.queries)[i]
                for i in range(24)
            ]
        )
        with torch.no_grad():
            loss[name] = float(writer.model(**batch).loss)
    before, after = loss.values()
    assert after < before / 2
    assert not (config.run_folder / "checkpoints").exists()
    assert written(config)


def test_a_killed_tuning_goes_on_from_its_checkpoint_to_the_same_weights(load, seq2seq, monkeypatch):
    config = load(f"queries.method={seq2seq}", "queries.tune_steps=20")

    def weights():
        return AutoModelForSeq2SeqLM.from_pretrained(config.run_folder / "query_model").state_dict()

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
    assert saves == list(range(2, 21, 2))  # not one step twice
    assert all(torch.equal(whole[name], tensor) for name, tensor in weights().items())
    assert written(config) == queries


def test_the_stage_does_nothing_where_no_mix_names_pseudo_queries(load, tmp_path):
    app = typer.Typer()
    app.command()(generate_queries.command)

    def run(*overrides):
        result = CliRunner().invoke(app, [str(tmp_path / "c.yaml"), *overrides])
        assert result.exit_code == 0, result.output
        return result.output

    assert "no training mix names pseudo_queries" in run("sft.phases=[{mix: {queries: 1}}]")
    assert not (load().run / "pseudo_queries").exists()
    assert "kept: 36" in run()
    assert "up to date" in run("sft.batch_size=3")
    assert "kept: 24" in run("queries.per_document=2")
    assert "kept: 36" in run("sft.phases=[{mix: {queries: 1}}]", "ddro={mix: {pseudo_queries: 1}}")
