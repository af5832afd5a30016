"""The kill campaign: commands are killed at a file operation and run again, which must lead to the same files."""

import itertools
import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tests.campaigns.children import Outcome, run_child, run_genir
from tests.campaigns.digests import describe_difference, digest_folder
from tests.campaigns.operations import watch_operations
from tests.campaigns.results import Result, describe_failure
from tests.campaigns.workspace import DENSE, Workspaces

RUN = "runs/small"
READ = ("search", RUN, "--query", "owls hunt mice")


class Scenario(NamedTuple):
    """A command that is killed, in a workspace in the state `start`.

    done: text of the error with which the command may end when it runs again because the killed one had already
    finished its work. between: a command that runs after the kill and must succeed. linked: whether RUN/checkpoints is
    a link to a folder elsewhere. same_process_id: whether the second process has the id of the first one, as the only
    process of a container does. kills: how often the command is killed before it runs to its end.
    """

    start: str
    command: tuple[str, ...]
    done: str = ""
    between: tuple[str, ...] = ()
    linked: bool = False
    same_process_id: bool = False
    kills: int = 1


TRAIN = ("train", "small.yaml")
ADD = ("docids", RUN, "--add", "new.jsonl")
REMOVE = ("docids", RUN, "--remove", "gone.txt")
EXISTS, UNKNOWN = "exists already", "d3"
SCENARIOS = {
    "prepare": Scenario("new", ("prepare", "small.yaml")),
    "stages before training": Scenario("new", ("run", "small.yaml", "--until", "negatives")),
    "the same stages again with another seed": Scenario(
        "prepared", ("run", "small.yaml", "seed=2", "--until", "negatives")
    ),
    "stages before training, dense expert": Scenario("new", ("run", "small.yaml", DENSE, "--until", "negatives")),
    "train": Scenario("prepared", TRAIN),
    "train again with another seed": Scenario("trained", (*TRAIN, "seed=2")),
    "train, killed twice": Scenario("prepared", TRAIN, kills=2),
    "train, same process id": Scenario("prepared", TRAIN, same_process_id=True),
    "train, checkpoints on another disk": Scenario("prepared", TRAIN, linked=True),
    "stages after training": Scenario("trained", ("run", "small.yaml")),
    "docids --add": Scenario("trained", ADD, EXISTS, READ),
    "docids --add, then train": Scenario("trained", ADD, EXISTS, TRAIN),
    "docids --add, same process id": Scenario("trained", ADD, EXISTS, same_process_id=True),
    "docids --add, dense expert": Scenario("dense", ADD, EXISTS, READ),
    "docids --remove": Scenario("trained", REMOVE, UNKNOWN, READ),
    "save_pretrained": Scenario("trained", ("save_pretrained",), between=READ),
}
SAMPLE = {
    "prepare": ("open", "os.rename"),
    "train": ("os.rename", "os.rmdir"),
    "docids --add": ("os.mkdir", "open", "os.rename", "os.remove"),
}
"""Scenario -> the kinds of operations at which the sample in `make test` kills it."""


class Kill(NamedTuple):
    """One trial: its scenario, the numbers of the operations at which it is killed, and the kind of the first."""

    scenario: str
    at: tuple[int, ...]
    operation: str


class KillCampaign:
    """Runs trials of SCENARIOS and compares each with the same command that was not killed.

    failures: the scenarios whose command fails even so; they have no trials.
    """

    def __init__(self, workspaces: Workspaces, names: Sequence[str] = tuple(SCENARIOS)) -> None:
        self.workspaces = workspaces
        self.references: dict[str, tuple[list[str], dict[str, Any]]] = {}
        self.failures: list[Result] = []
        for name in names:
            self._run_reference(name)

    def list_trials(self, most: int | None) -> list[Kill]:
        """List the trials: at most `most` evenly spaced operations of each scenario; None: those of SAMPLE."""
        trials = []
        for name, (operations, _) in self.references.items():
            numbers = (
                middle_of_kinds(operations, SAMPLE[name]) if most is None else evenly_spaced(len(operations), most)
            )
            for n in numbers:
                later = itertools.islice(itertools.cycle((2, 17, 40)), n % 3, n % 3 + SCENARIOS[name].kills - 1)
                trials.append(Kill(name, (n, *later), operations[n - 1]))
        return trials

    def run_trial(self, trial: Kill) -> Result:
        """Kill a command as the trial says, run it again to its end, and judge what it left."""
        scenario = SCENARIOS[trial.scenario]
        with self.workspaces.copy(scenario.start) as folder:
            verdict, detail = self._judge(scenario, trial, folder)
        at = ", ".join(map(str, trial.at))
        return Result(trial.scenario, f"killed at operation {at} ({trial.operation})", verdict, detail)

    def _judge(self, scenario: Scenario, trial: Kill, folder: Path) -> tuple[str, str]:
        link_checkpoints(scenario, folder)
        for number in trial.at:
            self._run(scenario, folder, kill_at=number)
        if scenario.between:
            outcome = run_child(partial(run_genir, *scenario.between), folder, self.workspaces.logs)
            if outcome.code != 0:
                return describe_failure(outcome, f"after the kill, genir {' '.join(scenario.between)}")
        outcome = self._run(scenario, folder)
        finished = bool(scenario.done) and outcome.code == 1 and scenario.done in outcome.errors
        if outcome.code != 0 and not finished:
            return describe_failure(outcome, "the same command again")
        difference = describe_difference(digest_folder(folder / RUN), self.references[trial.scenario][1])
        return ("other result", difference) if difference else ("recovered", "")

    def _run(self, scenario: Scenario, folder: Path, kill_at: int | None = None) -> Outcome:
        log = self.workspaces.logs / f"{os.getpid()}.operations"
        action = partial(run_watched, scenario, folder, log, kill_at)
        return run_child(action, folder, self.workspaces.logs)

    def _run_reference(self, name: str) -> None:
        """Run a scenario's command without a kill, and keep its operations and the digest of the run folder."""
        scenario = SCENARIOS[name]
        with self.workspaces.copy(scenario.start) as folder:
            link_checkpoints(scenario, folder)
            if scenario.between:
                run_child(partial(run_genir, *scenario.between), folder, self.workspaces.logs)
            outcome = self._run(scenario, folder)
            if outcome.code != 0:
                self.failures.append(Result(name, "not killed", *describe_failure(outcome, "the command")))
                return
            operations = (self.workspaces.logs / f"{os.getpid()}.operations").read_text().split()
            self.references[name] = operations, digest_folder(folder / RUN)


def run_watched(scenario: Scenario, folder: Path, log: Path, kill_at: int | None) -> None:
    """The child: run a scenario's command with a watch on its file operations."""
    if scenario.same_process_id:
        inherit_process_id(folder)
    watch_operations(folder, log, kill_at)
    if scenario.command == ("save_pretrained",):
        save_smaller_retriever(folder / RUN / "retriever")
    else:
        run_genir(*scenario.command)


def save_smaller_retriever(folder: Path) -> None:
    """Replace a retriever by one without the documents d3 and d5; nothing is removed a second time."""
    from genir import Retriever

    retriever = Retriever.from_pretrained(folder)
    retriever.remove([doc_id for doc_id in ("d3", "d5") if doc_id in retriever.table.doc_indices])
    retriever.save_pretrained(folder)


def link_checkpoints(scenario: Scenario, folder: Path) -> None:
    """Let RUN/checkpoints be a link to a folder of its own, if the scenario says so."""
    if scenario.linked:
        (folder / "disk").mkdir()
        (folder / RUN / "checkpoints").symlink_to(folder / "disk")


def inherit_process_id(folder: Path) -> None:
    """Rename what a killed process left under names with its process id, as if this process had the same id."""
    left = sorted(folder.rglob("*"), key=lambda path: -len(path.parts))
    for path in left:
        if re.search(r"\.\d+\.(tmp|old)$", path.name):
            path.rename(path.with_name(re.sub(r"\.\d+\.", f".{os.getpid()}.", path.name)))


def evenly_spaced(count: int, most: int) -> list[int]:
    """At most `most` evenly spaced numbers from 1 to `count`, both included."""
    step = max(1.0, (count - 1) / max(1, most - 1))
    return sorted({round(1 + number * step) for number in range(most) if round(1 + number * step) <= count})


def middle_of_kinds(operations: Sequence[str], kinds: Sequence[str]) -> list[int]:
    """The number, from 1, of the middle operation of each kind."""
    numbers = {kind: [n for n, other in enumerate(operations, 1) if other == kind] for kind in kinds}
    return [found[len(found) // 2] for found in numbers.values()]
