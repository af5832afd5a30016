"""Training with FSDP: `accelerate launch` shards the weights by its config file, with the results of one process."""

import json
import re

import pytest
import torch
from transformers import T5ForConditionalGeneration

from genir.config import load_config
from genir.pipeline.stage import execute
from genir.training import sft
from genir.training.sharding import gather_weights, load_weights, whole_weights
from tests.helpers.beir import small_beir
from tests.helpers.jobs import copy_named, require_equal_training, start_two
from tests.helpers.models import make_model
from tests.helpers.training import make_run

SETTINGS = """
experts: null
sft:
  batch_size: 6
  micro_batch: 2
  eval_steps: 5
  warmup_steps: 1
  phases: [{mix: {spans: 1, queries: 1}, steps: 20, learning_rate: 1e-4}]
ddro: null
irpo: null
threads: 1
"""


@pytest.mark.long
def test_a_sharded_training_stops_and_resumes_with_and_without_fsdp_as_one_process_trains(tmp_path, root):
    prepared = make_run(small_beir(tmp_path / "beir"), tmp_path, SETTINGS)
    one, two = (copy_named(prepared, name, "model.init=random") for name in ("one", "two"))
    whole, sharded = (load_config(x[0], x[1:]) for x in (one, two))
    execute(sft.STAGE, sft.main, whole)
    log = json.loads((whole.run_folder / "sft" / "log.json").read_text())
    measures = [entry["eval_RR@10"] for entry in log if "eval_RR@10" in entry]
    assert max(measures) > measures[0]  # so trained weights are compared below

    example = re.search(r"^```yaml\n(.*?)^```", (root / "docs" / "training.md").read_text(), re.M | re.S)
    (tmp_path / "fsdp.yaml").write_text(example[1])
    launcher = ["accelerate.commands.launch", "--config_file", str(tmp_path / "fsdp.yaml")]
    launcher += ["--num_processes", "2", "--main_process_port", "0"]
    script = root / "tests" / "helpers" / "fsdp_process.py"
    status, printed = start_two(script, tmp_path, *two, launcher=launcher)
    assert status == 0, printed
    require_equal_training(whole.run_folder, sharded.run_folder, "sft")

    parts = [json.loads((tmp_path / f"{process}.json").read_text()) for process in range(2)]
    model = T5ForConditionalGeneration.from_pretrained(sharded.run_folder / "sft")
    assert sum(parts) == 3 * sum(weight.numel() for weight in model.parameters())  # with the moments of AdamW
    assert max(parts) < 0.51 * sum(parts)

    resumed = load_config(tmp_path / "stopped")
    assert (resumed.run_folder / "checkpoints" / "sft" / "phase-1" / "checkpoint-10").exists()
    execute(sft.STAGE, sft.main, resumed)
    require_equal_training(whole.run_folder, resumed.run_folder, "sft")


def test_whole_weights_keep_their_ties_and_can_be_loaded_into_another_model():
    model, other = (make_model((3, 4), v10=True, seed=seed).t5 for seed in (0, 1))
    weights = gather_weights(model)
    assert weights["lm_head.weight"] is weights["shared.weight"]
    load_weights(other, {name: weight for name, weight in weights.items() if name != "lm_head.weight"})
    with whole_weights(other):
        for name, weight in other.state_dict().items():
            assert torch.equal(weight, weights[name]), name
