"""The sft stage: a curriculum of stages, each from the weights of the one before."""

import json
import shutil

import numpy as np
import pytest
import torch

import genir.training.sft
from genir.collection.prepared import PreparedCollection
from genir.config import load_config
from genir.docids import DocidTable
from genir.errors import GenirError
from genir.retriever import Retriever
from genir.t5.loading import load_t5
from genir.training.sft import main
from indexing.generate_queries import main as write_pseudo_queries
from indexing.prepare_collection import main as prepare

CODES = np.array([[i // 4, i % 4] for i in range(12)], np.int32)


@pytest.fixture
def load(beir, tmp_path):
    """A run folder with a collection and docids, and a config of two short stages."""
    lines = [json.dumps({"doc_id": f"d{i}", "text": f"made up keyword{i}"}) for i in range(12)]
    (tmp_path / "pseudo.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "c.yaml").write_text(
        f"""
collection: {{path: {beir}}}
folder: {tmp_path / "runs"}
docids: {{builder: rq, levels: 2, codebook_size: 4}}
model: {{vocabulary: 300}}
sft:
  batch_size: 8
  eval_steps: 5
  warmup_steps: 1
  stages:
    - {{mix: {{spans: 1, pseudo_queries: 1}}, steps: 10}}
    - {{mix: {{queries: 1}}, steps: 5, learning_rate: 0.0001}}
queries: {{method: {tmp_path / "pseudo.jsonl"}}}
"""
    )
    config = load_config(tmp_path / "c.yaml")
    prepare(config)
    write_pseudo_queries(config)
    data = PreparedCollection(config.run_folder / "collection")
    ids, titles = zip(*((d.id, d.title) for d in data.documents), strict=True)
    DocidTable(ids, titles, CODES, (3, 4)).save(config.run_folder / "docids")
    return lambda *overrides: load_config(tmp_path / "c.yaml", overrides)


def test_the_stages_of_a_curriculum_follow_one_another(load):
    config = load()
    main(config)
    log = json.loads((config.run_folder / "sft" / "log.json").read_text())
    assert [(e["stage"], e["step"]) for e in log if "eval_RR@10" in e] == [(1, 0), (1, 5), (1, 10), (2, 0), (2, 5)]
    ends = {e["stage"]: e["eval_RR@10"] for e in log if "eval_RR@10" in e and e["step"] in (0, 10)}
    best = max(e["eval_RR@10"] for e in log if e["stage"] == 1 and "eval_RR@10" in e and e["step"])
    assert ends[2] == best  # stage 2 starts from the best weights of stage 1
    assert {path.name for path in (config.run_folder / "logs").iterdir()} == {"sft-1", "sft-2"}
    retriever = Retriever.from_pretrained(config.run_folder / "sft")
    assert len(retriever.search("owls", k=12)) == 12
    assert not (config.run_folder / "checkpoints" / "sft").exists()


def test_a_finished_stage_is_not_trained_again(load, monkeypatch):
    config = load()
    original = genir.training.sft.fit
    titles = []

    def stop_at_the_second(*args):
        titles.append(args[-1])
        if args[-1] == "sft 2/2" and len(titles) == 2:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(genir.training.sft, "fit", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        main(config)
    main(config)
    assert titles == ["sft 1/2", "sft 2/2", "sft 2/2"]
    cut = load_t5(str(config.run_folder / "sft")).state_dict()
    whole_config = load("name=whole")
    for name in ("collection", "docids", "pseudo_queries"):
        whole_config.run.mkdir(exist_ok=True)
        (whole_config.run / name).symlink_to(config.run_folder / name)
    main(whole_config)
    whole = load_t5(str(whole_config.run / "sft")).state_dict()
    assert all(torch.equal(cut[name], whole[name]) for name in whole)


def test_checkpoints_of_other_settings_are_not_gone_on_with(load, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    config = load()
    monkeypatch.setattr(genir.training.sft, "fit", stop)
    with pytest.raises(KeyboardInterrupt):
        main(config)
    (config.run_folder / "checkpoints" / "sft" / "left-over").touch()
    with pytest.raises(KeyboardInterrupt):
        main(config)
    assert (config.run_folder / "checkpoints" / "sft" / "left-over").exists()
    with pytest.raises(KeyboardInterrupt):
        main(load("sft.batch_size=9"))
    assert not (config.run_folder / "checkpoints" / "sft" / "left-over").exists()


def test_a_pretrained_folder_and_its_tokenizer_are_taken(load, tmp_path, make_model, tokenizer):
    make_model((1,), v10=True, base=len(tokenizer)).t5.save_pretrained(tmp_path / "t5")
    tokenizer.save_pretrained(tmp_path / "t5")
    config = load(f"model.pretrained={tmp_path / 't5'}", "model.softmax_over=full")
    main(config)
    about = json.loads((config.run_folder / "sft" / "genir.json").read_text())
    assert about["base"] == len(tokenizer) + 1
    assert about["normalize"] == "full"
    assert load_t5(str(config.run_folder / "sft")).config.d_model == 16


def test_the_largest_seed_trains_too(load):
    config = load("seed=2000000000", "sft.phases=[{steps: 1}]")
    main(config)
    assert (config.run_folder / "sft" / "log.json").exists()


def test_missing_pseudo_queries_are_named(load):
    config = load()
    shutil.rmtree(config.run_folder / "pseudo_queries")
    with pytest.raises(GenirError, match=r"queries\.jsonl: missing, .* run genir queries CONFIG first"):
        main(config)


def test_pseudo_queries_of_other_documents_are_named(load):
    config = load()
    with open(config.run_folder / "pseudo_queries" / "queries.jsonl", "a") as handle:
        handle.write('{"doc_id": "nowhere", "text": "x"}\n')
    with pytest.raises(GenirError, match=r"queries\.jsonl:13: document 'nowhere' has no docid"):
        main(config)
