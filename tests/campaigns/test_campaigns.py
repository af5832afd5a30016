"""A sample of the campaigns finds no fault, and the campaigns notice the faults that they look for."""

import json
from functools import partial
from pathlib import Path

import pytest

from tests.campaigns.children import Outcome, run_child
from tests.campaigns.digests import describe_difference, digest_folder
from tests.campaigns.inputs import Mutated
from tests.campaigns.kills import SAMPLE, evenly_spaced
from tests.campaigns.mutations import judge
from tests.campaigns.operations import watch_operations
from tests.helpers.processes import ROOT, run_python

ERROR = "error: corpus.jsonl:3: text is missing\n"
TRACEBACK = 'Traceback (most recent call last):\n  File "/x/genir/cli.py", line 3, in main\nKeyError: 1\n'


@pytest.mark.slow
def test_a_sample_of_the_campaigns_finds_no_fault(tmp_path):
    done = run_python(["-m", "tests.campaigns", "--sample", "--json", str(tmp_path / "figures.json")], ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["kills"]["faults"] == figures["mutations"]["faults"] == []
    assert figures["kills"]["trials"] == sum(map(len, SAMPLE.values()))
    assert figures["mutations"]["trials"] >= 20
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("outcome", "expected", "difference", "verdict"),
    [
        (Outcome(1, "", ERROR), "refused", "", "refused"),
        (Outcome(1, "", ERROR), "any", "", "refused"),
        (Outcome(1, "", ERROR), "harmless", "", "refused though harmless"),
        (Outcome(1, "", "error: something is wrong\n"), "any", "", "error without the name of the input"),
        (Outcome(1, "", TRACEBACK), "any", "", "traceback"),
        (Outcome(-11, "", ""), "any", "", "crash"),
        (Outcome(None, "", ""), "any", "", "hang"),
        (Outcome(2, "", "Usage: ..."), "any", "", "failed"),
        (Outcome(0, "", ""), "refused", "", "accepted though invalid"),
        (Outcome(0, "", ""), "noticed", "", "harmless"),
        (Outcome(0, "", ""), "noticed", "hits", "other result without a word"),
        (Outcome(0, "warning: a file is damaged", ""), "noticed", "hits", "accepted"),
        (Outcome(0, "warning: a file is damaged", ""), "harmless", "hits", "other result without a word"),
        (Outcome(0, "", ""), "any", "hits", "accepted"),
    ],
)
def test_a_trial_is_judged_by_its_outcome_and_its_result(outcome, expected, difference, verdict):
    assert judge(outcome, Mutated(("prepare",), expected, ("corpus.jsonl",)), difference, False)[0] == verdict


def change_files(folder: Path) -> None:
    """Four operations: create a file, rename it, create a folder, remove the file."""
    (folder / "a").write_text("a")
    (folder / "a").rename(folder / "b")
    (folder / "c").mkdir()
    (folder / "b").unlink()


@pytest.mark.parametrize(
    ("kill_at", "left"), [(1, []), (2, ["a"]), (3, ["b"]), (4, ["b", "c"]), (None, ["c"])], ids=str
)
def test_a_process_is_killed_before_the_given_operation(tmp_path, kill_at, left):
    folder, logs = tmp_path / "work", tmp_path / "logs"
    folder.mkdir()
    logs.mkdir()

    def run() -> None:
        watch_operations(folder, logs / "operations", kill_at)
        (logs / "elsewhere").write_text("not counted")
        change_files(folder)

    outcome = run_child(run, folder, logs)
    assert outcome.code == (0 if kill_at is None else -9)
    assert sorted(path.name for path in folder.iterdir()) == left
    operations = ["open", "os.rename", "os.mkdir", "os.remove"]
    assert (logs / "operations").read_text().split() == operations[:kill_at]


def test_a_digest_leaves_out_times_and_nothing_else(tmp_path):
    def write(name: str, seconds: float, loss: float) -> dict:
        folder = tmp_path / name
        (folder / "sft").mkdir(parents=True)
        (folder / "stage.json").write_text(json.dumps({"sft": {"seconds": seconds, "seed": 1}}))
        (folder / "sft" / "log.json").write_text(json.dumps([{"train_runtime": seconds, "loss": loss}]))
        return digest_folder(folder)

    first = write("a", 1.0, 0.5)
    assert describe_difference(write("b", 2.0, 0.5), first) == ""
    assert describe_difference(write("c", 1.0, 0.6), first) == "different: sft/log.json"
    (tmp_path / "a" / ".sft.tmp").write_text("")
    assert describe_difference(digest_folder(tmp_path / "a"), first) == "left over: .sft.tmp"
    assert describe_difference({}, {"stage.json": ""}) == "lost: stage.json"


def test_kills_are_evenly_spaced_from_the_first_operation_to_the_last():
    assert evenly_spaced(9, 3) == [1, 5, 9]
    assert evenly_spaced(4, 9) == [1, 2, 3, 4]
    assert len(evenly_spaced(400, 12)) == 12


def test_a_child_that_does_not_end_is_stopped(tmp_path):
    def wait() -> None:
        while True:
            pass

    assert run_child(wait, tmp_path, tmp_path, timeout=0.2) == (None, "", "")
    assert "ValueError" in run_child(partial(int, "x"), tmp_path, tmp_path).errors
