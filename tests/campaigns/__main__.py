"""The campaigns: `python -m tests.campaigns` kills commands and damages inputs, and reports every fault it finds."""

import multiprocessing
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer

from tests.campaigns.children import HAS_MODELS, prepare_parent
from tests.campaigns.results import Result, make_table, write_results

SAMPLE_MUTATIONS = 24
"""Number of mutated inputs of the sample in `make test`."""


def main(
    kills: Annotated[int, typer.Option(help="Kills of each scenario, at evenly spaced file operations.")] = 8,
    mutations: Annotated[int, typer.Option(help="Mutated inputs in all.")] = 1000,
    sample: Annotated[bool, typer.Option("--sample", help="Run eight kills and 24 mutated inputs only.")] = False,
    only: Annotated[
        str, typer.Option(help="Only the scenario or input of this name, or else those whose names contain it.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Seed of the mutations.")] = 1,
    jobs: Annotated[int, typer.Option(help="Trials that run at once.")] = 2,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures and faults to this file.")] = None,
) -> None:
    """Kill commands at file operations, and give commands mutated inputs; the exit status is 1 if a fault is found."""
    prepare_parent()
    from tests.campaigns.workspace import Workspaces  # after prepare_parent, which sets variables that libraries read

    campaigns: dict[str, Sequence[Result]] = {}
    with tempfile.TemporaryDirectory(prefix="campaigns-", ignore_cleanup_errors=True) as scratch:
        workspaces = Workspaces(Path(scratch))
        if kills:
            campaigns["kills"] = run_kills(workspaces, only, None if sample else kills, jobs)
        if mutations:
            campaigns["mutations"] = run_mutations(workspaces, only, None if sample else mutations, seed, jobs)
    report(campaigns, json_file)
    if any(result.is_fault for results in campaigns.values() for result in results):
        raise typer.Exit(1)


def select_names(names: Iterable[str], only: str) -> list[str]:
    """The name `only` alone where it is one of the names, else all names that contain it.

    Names with a dense expert are left out with a note if the extra `embed` is not installed.
    """
    from genir.console import print_note

    names = list(names)
    if dense := [name for name in names if "dense expert" in name and not HAS_MODELS]:
        print_note(f"left out, since genir[embed] is not installed: {', '.join(dense)}")
        names = [name for name in names if name not in dense]
    return [only] if only in names else [name for name in names if only in name]


def run_kills(workspaces: Any, only: str, most: int | None, jobs: int) -> list[Result]:
    """Run the kill campaign; `most` is the number of kills of a scenario, None for the sample."""
    from tests.campaigns.kills import SAMPLE, SCENARIOS, KillCampaign

    campaign = KillCampaign(workspaces, select_names(SAMPLE if most is None else SCENARIOS, only))
    return campaign.failures + run_trials(campaign.run_trial, campaign.list_trials(most), "kills", jobs)


def run_mutations(workspaces: Any, only: str, count: int | None, seed: int, jobs: int) -> list[Result]:
    """Run the mutation campaign; `count` is the number of mutated inputs, None for the sample."""
    from tests.campaigns.inputs import INPUTS, SAMPLE
    from tests.campaigns.mutations import MutationCampaign

    campaign = MutationCampaign(workspaces, select_names(SAMPLE if count is None else INPUTS, only))
    trials = campaign.list_trials(count or SAMPLE_MUTATIONS, seed)
    return campaign.failures + run_trials(campaign.run_trial, trials, "mutated inputs", jobs)


def run_trials(run_trial: Callable[[Any], Result], trials: Sequence[Any], title: str, jobs: int) -> list[Result]:
    """Run trials in forked workers, with a progress bar."""
    from genir.console import track

    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("fork")) as pool:
        return list(track(pool.map(run_trial, trials), title, len(trials)))


def report(campaigns: dict[str, Sequence[Result]], json_file: Path | None) -> None:
    """Print a table of each campaign and its faults, and write them to a JSON file, if one is given."""
    from genir.console import console

    for name, results in campaigns.items():
        console.print(make_table(name, results))
        for result in results:
            if result.is_fault:
                text = f"{result.verdict}: {result.group}: {result.trial}: {result.detail}"
                console.print(text, style="red", markup=False)
    if json_file:
        write_results(json_file, campaigns)


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app(prog_name="python -m tests.campaigns")
