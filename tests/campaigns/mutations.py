"""The mutation campaign: commands get changed inputs, and must refuse them in one line, or be right nevertheless."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from tests.campaigns.children import Outcome, run_child, run_genir
from tests.campaigns.digests import describe_difference, digest_folder
from tests.campaigns.inputs import INPUTS, Mutated
from tests.campaigns.results import Result, describe_failure
from tests.campaigns.workspace import Workspaces

NOTE = re.compile("warning:|note:")


class Mutation(NamedTuple):
    """One trial: a kind of input, the case (what is changed, and how), and the seed of the random choices."""

    kind: str
    case: tuple[str, str]
    seed: str


class MutationCampaign:
    """Runs trials of INPUTS and compares each with the same command on the unchanged input.

    failures: the kinds of inputs whose command fails even so; they have no trials.
    """

    def __init__(self, workspaces: Workspaces, names: Sequence[str] = tuple(INPUTS)) -> None:
        self.workspaces = workspaces
        self.references = {name: self._run(name, None) for name in names}
        self.failures = [
            Result(name, "unchanged", *describe_failure(outcome, "the command"))
            for name, (outcome, _, _) in self.references.items()
            if outcome.code != 0
        ]
        for failure in self.failures:
            del self.references[failure.group]

    def list_trials(self, count: int, seed: int) -> list[Mutation]:
        """List about `count` trials, in which every case of a kind of input is as frequent as the others."""
        trials = []
        shares = {name: INPUTS[name].share for name in self.references}
        for name, share in shares.items():
            cases = INPUTS[name].list_cases(self.workspaces.make(INPUTS[name].state))
            Random(f"{seed}/{name}").shuffle(cases)
            wanted = max(1, round(count * share / sum(shares.values())))
            trials += [Mutation(name, cases[n % len(cases)], f"{seed}/{n}") for n in range(wanted)]
        return trials

    def run_trial(self, trial: Mutation) -> Result:
        """Change an input as the trial says, run the command, and judge what it did."""
        outcome, result, mutated = self._run(trial.kind, trial)
        clean, wanted, _ = self.references[trial.kind]
        verdict, detail = judge(outcome, mutated, describe_difference(result, wanted), bool(NOTE.search(clean.output)))
        return Result(trial.kind, f"{trial.case[0]}: {trial.case[1]} (seed {trial.seed})", verdict, detail)

    def _run(self, name: str, trial: Mutation | None) -> tuple[Outcome, dict[str, Any], Mutated]:
        """Run the command of a kind of input, changed or not; returns its outcome and its result as a digest."""
        kind = INPUTS[name]
        with self.workspaces.copy(kind.state) as folder:
            mutated = Mutated(kind.command, "harmless", ())
            if trial is not None:
                mutated = kind.apply(folder, trial.case, Random(trial.seed))
            outcome = run_child(partial(run_genir, *mutated.command), folder, self.workspaces.logs)
            finished = outcome.code == 0
            return (
                outcome,
                read_result(outcome, folder / kind.result if kind.result else None) if finished else {},
                mutated,
            )


def read_result(outcome: Outcome, path: Path | None) -> dict[str, Any]:
    """The result of a command as a digest: of a file or folder that it wrote, or of its output; empty if it failed."""
    if outcome.code != 0:
        return {}
    if path is None:
        return {"output": outcome.output}
    if path.is_dir():
        return digest_folder(path)
    return {path.name: path.read_bytes() if path.exists() else None}


def judge(outcome: Outcome, mutated: Mutated, difference: str, always_noted: bool) -> tuple[str, str]:
    """The verdict on a command that read a changed input, and what it rests on.

    difference: how its result differs from that with the unchanged input. always_noted: whether it prints a warning or
    a note on the unchanged input too.
    """
    message = next((line for line in outcome.errors.splitlines() if line.startswith("error: ")), None)
    if outcome.code != 0:
        verdict, detail = describe_failure(outcome, f"genir {' '.join(mutated.command)}")
        if verdict != "failed" or outcome.code != 1 or message is None:
            return verdict, detail
        if mutated.expected == "harmless":
            return "refused though harmless", message
        if not any(word in message for word in mutated.words):
            return "error without the name of the input", message
        return "refused", message
    if mutated.expected == "refused":
        return "accepted though invalid", difference
    if not difference:
        return "harmless", ""
    noted = not always_noted and NOTE.search(outcome.output + outcome.errors)
    if mutated.expected == "any" or (mutated.expected == "noticed" and noted):
        return "accepted", difference
    return "other result without a word", difference
