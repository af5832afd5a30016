"""train: teach the model to write docids, then refine it, and put the retriever together."""

import shutil
from functools import partial
from pathlib import Path

from genir.config import Config, load_config
from genir.console import console
from genir.errors import GenirError
from genir.files import atomic_folder, content_hash
from genir.pipeline.command import ConfigArgument, ForceOption, OverridesArgument, run_command
from genir.pipeline.stage import Stage, execute, load_hashes, load_records
from genir.training import refine, sft


def command(config: ConfigArgument, overrides: OverridesArgument = None, force: ForceOption = False) -> None:
    """Train the retriever: sft (text -> docid), then ddro (pairwise) and irpo (listwise) where the config has them.

    Each stage starts from the one before it (or irpo.start), and the last one becomes RUN/retriever. Dev queries (never
    test) are searched every eval_steps; they choose the weights and stop a stage early. TensorBoard logs are in
    RUN/logs. A killed training goes on from its last checkpoint to the same weights.
    """
    settings = load_config(config, overrides or [])
    execute(sft.STAGE, sft.main, settings, force)
    for name in settings.training_stages[1:]:
        before = settings.start_of(name)
        execute(refine.stage(name, before), partial(refine.main, name=name, before=before), settings, force)
    last = settings.training_stages[-1]
    if force or not retriever_was_edited(settings.run_folder, last):
        stage = Stage("retriever", reads=(last,), writes=("retriever",))
        execute(stage, partial(_deliver, last=last), settings, force)


def retriever_was_edited(run: Path, last: str) -> bool:
    """Whether RUN/retriever is no longer as training left it (`genir docids --add` changes it), and is to stay so.

    Raises GenirError where a newly trained one would take its place.
    """
    folder, hashes = run / "retriever", load_hashes(run / ".hashes.json")
    record = load_records(run / "stage.json").get("retriever")
    names = [path.relative_to(run / last) for path in (run / last).rglob("*") if path.is_file()]
    names = [name for name in names if name != Path("log.json")]
    whole = all((folder / name).is_file() for name in names)  # else it is damaged
    if record is None or not whole or content_hash(folder, hashes) == record["outputs"]["retriever"]:
        return False
    if all(content_hash(folder / name, hashes) == content_hash(run / last / name, hashes) for name in names):
        return False  # delivered just before a process was killed
    if content_hash(run / last, hashes) != record["inputs"].get(last):
        raise GenirError(
            f"{folder}: was changed since the training (as by genir docids --add), and would now be made anew from "
            f"{last}; move this folder away, or delete it, and run the same command again"
        )
    console.print(f"[dim]{folder}: changed since the training, and kept; delete it to have the trained one back[/]")
    return True


def _deliver(config: Config, last: str) -> None:
    """Copy the last stage's retriever, without its log, to where a user looks for it."""
    with atomic_folder(config.run_folder / "retriever") as folder:
        shutil.copytree(config.run_folder / last, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("log.json"))
    console.print(f"the retriever is in {config.run_folder / 'retriever'}")


if __name__ == "__main__":
    run_command(command, "train", ("model", "sft", "ddro", "irpo"))
