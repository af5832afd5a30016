"""Jobs of two processes, which torchrun starts: they compute what one process computes, and end and resume together."""

import json

import pytest

from genir.cli import run_program
from genir.config import load_config
from genir.errors import GenirError
from genir.pipeline.stage import execute
from genir.processes import (
    count_processes,
    gather_shares,
    process_index,
    require_single_process,
    run_on_main,
    take_share,
)
from genir.training import sft
from genir.training.callbacks import ShowProgress
from tests.helpers.beir import small_beir
from tests.helpers.jobs import copy_named, require_equal_training, start_two
from tests.helpers.training import make_run

TWENTY_STEPS = "steps: 20, eval_steps: 20, warmup_steps: 1, batch_size: 6, learning_rate: 1e-5"
LISTS = f"{{{TWENTY_STEPS}, pool_size: 24, beam_candidates: 4, mined_candidates: 0, candidates_per_step: 5}}"
SETTINGS = f"""
sft:
  batch_size: 6
  eval_steps: 10  # after 20 steps, the dev measure is lower than before the first, whose weights would be compared
  warmup_steps: 1
  phases: [{{mix: {{spans: 1, queries: 1}}, steps: 20, learning_rate: 1e-4}}]
ddro: {LISTS}
irpo: {LISTS}
threads: 1
"""
SHARES = """
import json, sys
from genir.processes import gather_shares, process_index, run_on_main, take_share, wait_for_all
wait_for_all()
gathered = [gather_shares([x * x for x in take_share(range(n))]) for n in range(6)]
found = {"own": take_share("abcde"), "gathered": gathered, "shared": run_on_main(process_index)}
open(f"{sys.argv[1]}/{process_index()}.json", "w").write(json.dumps(found))
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The config of three training stages, whose run folder has a collection and docids."""
    folder = tmp_path_factory.mktemp("prepared")
    return make_run(small_beir(folder / "beir"), folder, SETTINGS)


def test_one_process_does_everything():
    assert (count_processes(), process_index()) == (1, 0)
    assert run_on_main(lambda: 7) == 7
    assert gather_shares(take_share("abcde")) == [*"abcde"]


def test_commands_that_are_not_divided_are_refused_in_several_processes(monkeypatch):
    require_single_process()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(GenirError, match="start it without torchrun or accelerate launch"):
        require_single_process()


@pytest.mark.slow
def test_two_processes_divide_items_and_gather_the_results_in_order(tmp_path):
    (tmp_path / "shares.py").write_text(SHARES)
    assert start_two(tmp_path / "shares.py", tmp_path)[0] == 0
    found = [json.loads((tmp_path / f"{index}.json").read_text()) for index in range(2)]
    assert [x["own"] for x in found] == [["a", "c", "e"], ["b", "d"]]
    for x in found:
        assert x["gathered"] == [[i * i for i in range(n)] for n in range(6)]
        assert x["shared"] == 0


@pytest.mark.slow
def test_two_processes_train_and_search_as_one_does(prepared, root):
    one, two = (copy_named(prepared, name) for name in ("one", "two"))
    for name in ("train", "search"):
        run_program(name, one)
    script = root / "tests" / "helpers" / "job_process.py"
    status, printed = start_two(script, "train,search", *two)
    assert status == 0, printed
    folders = [load_config(x[0], x[1:]).run_folder for x in (one, two)]
    for stage in ("sft", "ddro", "irpo"):
        require_equal_training(*folders, stage)
        names = [[line.split()[2] for line in (x / "runs" / f"{stage}.test.trec").open()] for x in folders]
        assert names[0] == names[1]


@pytest.mark.slow
def test_a_job_that_loses_a_process_ends_and_resumes_with_another_number_of_processes(prepared, root, monkeypatch):
    """Training with two processes, of which one is killed, goes on in one; that in one, which is stopped, in two."""
    script = root / "tests" / "helpers" / "job_process.py"
    settings = ("sft.eval_steps=5", "ddro=null", "irpo=null")
    arguments = {name: copy_named(prepared, name, *settings) for name in ("whole", "killed", "stopped")}
    configs = {name: load_config(x[0], x[1:]) for name, x in arguments.items()}
    folders = {name: config.run_folder for name, config in configs.items()}
    execute(sft.STAGE, sft.main, configs["whole"])
    status, printed = start_two(script, "train", *arguments["killed"], KILL_AT_STEP="12")
    assert status != 0
    lines = [line for line in printed.splitlines() if line.startswith(("error:", "terminated"))]
    assert len(lines) == 1, printed
    assert not (folders["killed"] / "sft").exists()
    execute(sft.STAGE, sft.main, configs["killed"])
    require_equal_training(folders["whole"], folders["killed"], "sft")

    def stop(self, args, state, control, **kwargs):
        if state.global_step == 12:
            raise KeyboardInterrupt

    monkeypatch.setattr(ShowProgress, "on_step_end", stop)
    with pytest.raises(KeyboardInterrupt):
        execute(sft.STAGE, sft.main, configs["stopped"])
    status, printed = start_two(script, "train", *arguments["stopped"])
    assert status == 0, printed
    require_equal_training(folders["whole"], folders["stopped"], "sft")
