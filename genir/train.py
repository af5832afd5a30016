"""train: train the model to generate docids, refine it, and assemble the retriever."""

if __name__ == "__main__":  # before the imports below, which take seconds
    from genir.pipeline.interrupts import handle_signals

    handle_signals()

import shutil
from functools import partial
from pathlib import Path

import torch

from genir.config import Config, load_config
from genir.console import console, print_note
from genir.errors import GenirError
from genir.files import atomic_folder, content_hash
from genir.pipeline.command import ConfigArgument, ForceOption, OverridesArgument, run_command
from genir.pipeline.process import require_even_batches
from genir.pipeline.stage import Stage, execute
from genir.pipeline.staleness import load_hashes, load_records
from genir.processes import count_processes, run_on_main
from genir.retriever.folder import read_settings
from genir.retriever.hub import CARD_FILE
from genir.training import refine, sft


def command(config: ConfigArgument, overrides: OverridesArgument = None, force: ForceOption = False) -> None:
    """Train the retriever: sft (text -> docid), then ddro (pairwise) and irpo (listwise) if the config has them.

    Each stage starts from the result of the stage before it (irpo from that of irpo.start), and the result of the last
    stage becomes RUN/retriever. Every eval_steps steps the dev queries, never the test queries, are searched; the dev
    measure chooses the best weights and can stop a stage early. TensorBoard logs are in RUN/logs. An interrupted stage
    resumes from its last checkpoint and ends with the same weights.
    """
    settings = load_config(config, overrides or [])
    note_unused_gpus()
    require_even_batches(settings)
    execute(sft.STAGE, sft.main, settings, force)
    for name in settings.training_stages[1:]:
        start = settings.start_of(name)
        execute(
            refine.make_refinement_stage(name, start), partial(refine.main, name=name, start=start), settings, force
        )
    last = settings.training_stages[-1]
    # The main process decides, since it may already be writing while another one reads.
    if run_on_main(lambda: force or not retriever_was_edited(settings.run_folder, last)):
        stage = Stage("retriever", reads=(last,), writes=("retriever",))
        execute(stage, partial(_copy_retriever, last=last), settings, force)
    else:
        console.print(
            f"{settings.run_folder / 'retriever'}: edited after training, so it is kept; delete it to restore the "
            "trained retriever",
            style="dim",
        )


def note_unused_gpus() -> None:
    """Tell the user how to use all GPUs, if there are several and a single process has been started."""
    count = torch.cuda.device_count()
    if count > 1 and count_processes() == 1:
        print_note(
            f"one of {count} GPUs is used; torchrun --nproc-per-node {count} -m genir run CONFIG uses all of them"
        )


def retriever_was_edited(run: Path, last: str) -> bool:
    """Whether RUN/retriever was edited after training (for example by `genir docids --add`) and must be kept.

    last: the last training stage. A folder with missing or damaged files was not edited, and need not be kept.
    Raises GenirError if the retriever was edited and the last training stage has also been run again since, because its
    result would then replace the edited retriever.
    """
    folder, hashes = run / "retriever", load_hashes(run / ".hashes.json")
    record = load_records(run / "stage.json").get("retriever")
    names = [path.relative_to(run / last) for path in (run / last).rglob("*") if path.is_file()]
    names = [name for name in names if name not in (Path("log.json"), Path(CARD_FILE))]
    if record is None or not folder.is_dir() or content_hash(folder, hashes) == record["outputs"]["retriever"]:
        return False
    try:
        read_settings(folder)
    except GenirError as error:
        print_note(f"{str(error).split(';')[0]}; the trained retriever is restored")
        return False
    pairs = [(folder / name, run / last / name) for name in names]
    if all(copy.is_file() and content_hash(copy, hashes) == content_hash(source, hashes) for copy, source in pairs):
        return False  # the process was killed after it had copied the retriever and before it recorded that
    if content_hash(run / last, hashes) != record["inputs"].get(last):
        raise GenirError(
            f"{folder}: was edited after training (for example by genir docids --add), and the newly trained retriever "
            f"in {last} would replace it; move this folder away, or delete it, and run the command again"
        )
    return True


def _copy_retriever(config: Config, last: str) -> None:
    """Copy the retriever of the last training stage, without its log, to RUN/retriever."""
    with atomic_folder(config.run_folder / "retriever") as folder:
        shutil.copytree(config.run_folder / last, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("log.json"))
    console.print(f"the retriever is in {config.run_folder / 'retriever'}")


if __name__ == "__main__":
    run_command(command, "train", ("model", "experts", "sft", "ddro", "irpo"))
