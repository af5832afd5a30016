"""Threads, memory and versions of the process that runs a stage."""

import importlib.metadata
import os

import numpy as np
import pytest
import torch

from genir.config import load_config
from genir.errors import GenirError
from genir.pipeline.process import (
    library_versions,
    peak_memory_mb,
    prepare_process,
    require_even_batches,
    restart_memory_meter,
    set_process_defaults,
    torch_threads,
)


@pytest.fixture
def threads_of(tmp_path):
    """Return a function that prepares the process for some overrides and returns the number of threads."""
    (tmp_path / "c.yaml").write_text("collection: {path: x}")

    def prepared(*overrides):
        prepare_process(load_config(tmp_path / "c.yaml", overrides))
        assert torch_threads() == torch.get_num_threads()
        return torch_threads()

    yield prepared
    torch.set_num_threads(1)


def test_the_processes_of_a_machine_share_its_cores(threads_of, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {*range(6)}, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # by torchrun
    assert threads_of() == 3
    assert threads_of("threads=2") == 2


def test_batches_that_cannot_be_divided_over_the_processes_are_named(tmp_path, monkeypatch):
    (tmp_path / "c.yaml").write_text("collection: {path: x}\nddro: {}\n")
    config = load_config(tmp_path / "c.yaml", ["sft.batch_size=96", "ddro.batch_size=32"])
    require_even_batches(config)
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(GenirError, match=r"ddro\.batch_size=32 cannot be divided evenly over 3 processes"):
        require_even_batches(config)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "asks for DeepSpeed, which genir does not have"),
        ({"ACCELERATE_USE_PARALLELISM_CONFIG": "true"}, "asks for parallelism_config, which genir does not have"),
        ({}, "FSDP with fsdp_version: 1; set fsdp_version: 2"),
        (
            {"FSDP_VERSION": "2", "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP"},
            "set fsdp_auto_wrap_policy: NO_WRAP",
        ),
        ({"FSDP_VERSION": "2", "FSDP_CPU_RAM_EFFICIENT_LOADING": "true"}, "set fsdp_cpu_ram_efficient_loading: false"),
        ({"FSDP_VERSION": "2", "FSDP_OFFLOAD_PARAMS": "true"}, "set fsdp_offload_params: false"),
        ({"FSDP_VERSION": "2", "FSDP_IGNORED_MODULES": "lm_head"}, "set fsdp_ignored_modules: null"),
    ],
)
def test_what_genir_does_not_have_in_a_config_of_accelerate_is_refused(threads_of, monkeypatch, settings, message):
    for name, value in ({"ACCELERATE_USE_FSDP": "true"} | settings).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(GenirError, match=message):
        threads_of()


def test_threads_come_from_the_setting_then_the_environment_then_the_usable_cores(threads_of, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 3, 4}, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads_of("threads=2") == 2
    torch.set_num_threads(1)
    assert threads_of() == 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads_of() == 3


def test_peak_memory_grows_with_an_allocation_and_falls_when_the_meter_is_restarted():
    restart_memory_meter()
    before = peak_memory_mb()
    block = np.ones(64 << 17)  # 64 MB
    assert peak_memory_mb() >= before + 50
    del block
    restart_memory_meter()
    assert peak_memory_mb() < before + 50


def test_versions_are_those_of_the_installed_packages():
    versions = library_versions()
    assert versions["numpy"] == importlib.metadata.version("numpy") == np.__version__
    assert versions.keys() == {"python", "genir", "torch", "transformers", "numpy", "ir-measures"}


def test_process_defaults_do_not_replace_variables_that_are_set(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "to be restored")
    monkeypatch.delenv("TOKENIZERS_PARALLELISM")
    set_process_defaults()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
