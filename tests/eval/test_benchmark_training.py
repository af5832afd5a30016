"""The benchmark of training, on a small model and few steps."""

import json

import pytest

from tests.helpers.processes import ROOT, run_python


@pytest.mark.long
def test_training_is_timed_with_its_data_pipeline(tmp_path):
    small = "--shape trained --texts short --documents 200 --steps 2 --batch-size 3 --precision fp32 --loss irpo"
    done = run_python([str(ROOT / "eval" / "benchmark_training.py"), *small.split()], tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "runs" / "benchmark_training" / "results.json").read_text())
    assert [entry["case"].split()[0] for entry in found] == ["irpo", "irpo"]
    for entry in found:
        tokens = entry["tokens_per_second"] / entry["examples_per_second"]
        assert 3 <= tokens <= 64, "spans of 3 to 16 words, truncated at 64 tokens"
        assert 0 < entry["share_of_matmul_rate"] < 1.5
        assert entry["gpu_gb"] is None


def test_an_unknown_choice_is_one_line(tmp_path):
    done = run_python([str(ROOT / "eval" / "benchmark_training.py"), "--loss", "sft,dpo"], tmp_path)
    assert (done.returncode, done.stderr) == (1, "error: --loss: unknown 'dpo'; choose from sft, ddro, irpo\n")
