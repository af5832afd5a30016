"""The sft stage: a curriculum of phases, each starting from the weights of the one before."""

import json

import pytest
import torch

from genir.config import load_config
from genir.retriever import Retriever
from genir.training.callbacks import ShowProgress
from genir.training.experts import EXPECTED
from genir.training.sft import main
from indexing.generate_queries import main as generate_queries
from tests.helpers.retrievers import find_all
from tests.helpers.training import make_run

SETTINGS = """
sft:
  batch_size: 8
  eval_steps: 5
  warmup_steps: 1
  phases:
    - {mix: {spans: 1, pseudo_queries: 1}, steps: 10}
    - {mix: {queries: 1}, steps: 5, learning_rate: 0.0001}
"""


@pytest.fixture
def load(beir, tmp_path):
    """A function that loads a config with two short phases, whose run folder has a collection, docids and queries."""
    lines = [json.dumps({"doc_id": f"d{i}", "text": f"made up keyword{i}"}) for i in range(12)]
    (tmp_path / "pseudo.jsonl").write_text("\n".join(lines) + "\n")
    generate_queries(make_run(beir, tmp_path, f"{SETTINGS}queries: {{method: {tmp_path / 'pseudo.jsonl'}}}"))
    return lambda *overrides: load_config(tmp_path / "c.yaml", overrides)


def stop_at(title, titles):
    """Return a method for ShowProgress that records the titles of phases and interrupts the first phase `title`."""
    original = ShowProgress.on_train_begin

    def on_train_begin(self, *args, **kwargs):
        titles.append(self.title)
        if self.title == title and titles.count(title) == 1:
            raise KeyboardInterrupt
        original(self, *args, **kwargs)

    return on_train_begin


@pytest.mark.slow
def test_each_phase_starts_from_the_best_weights_of_the_one_before(load):
    config = load()
    main(config)
    log = json.loads((config.run_folder / "sft" / "log.json").read_text())
    assert [(e["phase"], e["step"]) for e in log if "eval_RR@10" in e] == [(1, 0), (1, 5), (1, 10), (2, 0), (2, 5)]
    start = next(e["eval_RR@10"] for e in log if e["phase"] == 2 and "eval_RR@10" in e)
    assert start == max(e["eval_RR@10"] for e in log if e["phase"] == 1 and "eval_RR@10" in e)
    assert {path.name for path in (config.run_folder / "logs").iterdir()} == {"sft-1", "sft-2"}
    retriever = Retriever.from_pretrained(config.run_folder / "sft")
    assert len(retriever.search("owls", k=12)) == 12
    assert not (config.run_folder / "checkpoints" / "sft").exists()


@pytest.mark.slow
def test_an_interrupted_stage_resumes_after_its_last_finished_phase(load, monkeypatch):
    config, titles = load(), []
    monkeypatch.setattr(ShowProgress, "on_train_begin", stop_at("sft 2/2", titles))
    with pytest.raises(KeyboardInterrupt):
        main(config)
    main(config)
    assert titles == ["sft 1/2", "sft 2/2", "sft 2/2"]
    found = Retriever.from_pretrained(config.run_folder / "sft")
    interrupted = found.model.t5.state_dict()
    other = load("name=uninterrupted")
    for name in ("collection", "docids", "pseudo_queries"):
        other.run_folder.mkdir(exist_ok=True)
        (other.run_folder / name).symlink_to(config.run_folder / name)
    main(other)
    expected = Retriever.from_pretrained(other.run_folder / "sft")
    uninterrupted = expected.model.t5.state_dict()
    assert found.experts.weights == expected.experts.weights
    assert find_all(found) == find_all(expected)
    assert all(torch.equal(interrupted[name], uninterrupted[name]) for name in uninterrupted)


@pytest.mark.slow
def test_a_pretrained_model_is_used_with_its_tokenizer(load, tmp_path, make_model, tokenizer):
    make_model((1,), v10=True, base=len(tokenizer)).t5.save_pretrained(tmp_path / "t5")
    tokenizer.save_pretrained(tmp_path / "t5")
    config = load(f"model.pretrained={tmp_path / 't5'}", "model.softmax_over=full", "experts=null")
    main(config)
    retriever = Retriever.from_pretrained(config.run_folder / "sft")
    assert retriever.model.layout.base == len(tokenizer) + 1
    assert retriever.model.softmax_over == "full"
    assert retriever.experts is None
    assert retriever.model.t5.config.d_model == 16
    assert retriever.tokenizer.get_vocab() == tokenizer.get_vocab()


@pytest.mark.slow
def test_without_train_queries_the_first_scores_are_those_of_the_experts(load):
    config = load("sft.phases=[{mix: {queries: 1}, steps: 1, learning_rate: 1e-9}]")
    (config.run_folder / "collection" / "qrels" / "train.tsv").unlink()
    main(config)
    retriever = Retriever.from_pretrained(config.run_folder / "sft")
    plain = Retriever.from_pretrained(config.run_folder / "sft")
    with torch.no_grad():
        plain.model.t5.lm_head.weight.zero_()
    assert retriever.experts.weights == {name: EXPECTED[name].weight for name in ("text", "title", "characters")}
    for query in ("owls hunt mice", "keyword7 glaciers"):
        found, expected = ({hit.doc_id: hit.score for hit in r.search(query, k=12)} for r in (retriever, plain))
        assert found == pytest.approx(expected, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("experts_for", "setting"), [("[queries]", "seed=1"), ("[]", "seed=1"), ("[queries]", "experts=null")]
)
def test_queries_with_experts_say_nothing_about_documents_without_train_queries(
    load, monkeypatch, experts_for, setting
):
    """Only the last four documents have the first code 2. Their trained vectors do not depend on the learning rate."""
    heads = []

    def keep(self, args, state, control, model, **kwargs):
        if state.global_step == 3:
            heads.append(model.t5.lm_head.weight.detach().clone())

    monkeypatch.setattr(ShowProgress, "on_step_end", keep)
    for rate in (1e-3, 1e-2):
        config = load(
            setting,
            f"sft.phases=[{{mix: {{queries: 1}}, steps: 3, learning_rate: {rate}, experts_for: {experts_for}}}]",
        )
        train = config.run_folder / "collection" / "qrels" / "train.tsv"
        lines = train.read_text().splitlines(keepends=True)
        train.write_text("".join(line for line in lines if line.split("\t")[1] not in ("d8", "d9", "d10", "d11")))
        main(config)
    base = Retriever.from_pretrained(config.run_folder / "sft").model.layout.base
    heads = [head[base:] for head in heads]
    assert not torch.equal(heads[0][:2], heads[1][:2])
    assert torch.equal(heads[0][2], heads[1][2]) == (experts_for == "[queries]" and setting != "experts=null")


@pytest.mark.slow
def test_training_that_only_harms_dev_leaves_the_first_weights(load, monkeypatch):
    """With a far too high learning rate, dev is best before the first step."""
    config = load("sft.phases=[{mix: {queries: 1}, steps: 6, learning_rate: 1}]", "sft.eval_steps=3")
    first = []

    def keep(self, args, state, control, **kwargs):
        first.append({name: weight.clone() for name, weight in kwargs["model"].t5.state_dict().items()})

    monkeypatch.setattr(ShowProgress, "on_train_begin", keep)
    main(config)
    log = json.loads((config.run_folder / "sft" / "log.json").read_text())
    before, *later = [entry["eval_RR@10"] for entry in log if "eval_RR@10" in entry]
    assert before > max(later)
    found = Retriever.from_pretrained(config.run_folder / "sft").model.t5.state_dict()
    assert all(torch.equal(found[name], weight) for name, weight in first[0].items())


@pytest.mark.slow
def test_the_largest_seed_is_accepted(load):
    config = load("seed=2000000000", "sft.phases=[{steps: 1}]")
    main(config)
    assert (config.run_folder / "sft" / "log.json").exists()
