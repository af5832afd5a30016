"""train: teach the model to write docids, then refine it, and put the retriever together."""

import shutil
from functools import partial

from genir import refine, sft
from genir.command import ConfigArgument, ForceOption, OverridesArgument, run_command
from genir.config import Config, load_config
from genir.console import console
from genir.files import atomic_folder
from genir.stage import Stage, execute


def command(config: ConfigArgument, overrides: OverridesArgument = None, force: ForceOption = False) -> None:
    """Train the retriever: sft (text -> docid), then ddro (pairwise) and irpo (listwise) where the config has them.

    Each stage starts from the one before it (or irpo.start), and the last one becomes RUN/retriever. Dev queries (never
    test) are searched every eval_steps; they choose the weights and stop a stage early. TensorBoard logs are in
    RUN/logs. A killed training goes on from its last checkpoint to the same weights.
    """
    settings = load_config(config, overrides or [])
    execute(sft.STAGE, sft.main, settings, force)
    for name in settings.trained[1:]:
        before = settings.start(name)
        execute(refine.stage(name, before), partial(refine.main, name=name, before=before), settings, force)
    last = settings.trained[-1]
    stage = Stage("retriever", reads=(last,), writes=("retriever",))
    execute(stage, partial(_deliver, last=last), settings, force)


def _deliver(config: Config, last: str) -> None:
    """Copy the last stage's retriever, without its log, to where a user looks for it."""
    with atomic_folder(config.run / "retriever") as folder:
        shutil.copytree(config.run / last, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("log.json"))
    console.print(f"the retriever is in {config.run / 'retriever'}")


if __name__ == "__main__":
    run_command(command, "train", ("model", "sft", "ddro", "irpo"))
