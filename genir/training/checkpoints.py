"""The work folder of a training stage: preparing it, finding the checkpoint to resume from, and deleting it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genir.config import Config
from genir.console import console, print_note
from genir.files import content_hash, read_json, remove_folder, write_json
from genir.files.manifest import claim_work_folder, describe_damage, is_complete, write_manifest
from genir.retriever import Retriever


def find_last_checkpoint(folder: Path) -> str | None:
    """Return the path of the newest checkpoint from which a training can resume exactly, or None.

    Incomplete checkpoints are deleted. So are damaged ones, with a note, and those whose best weights were in a damaged
    one; the training then resumes from the checkpoint before, or begins again, to the same result.
    """
    steps: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        if not is_complete(path):
            remove_folder(path)
        elif (damage := describe_damage(path)) is not None:
            print_note(f"{path}: {damage}; the training resumes from the checkpoint before, if there is one")
            remove_folder(path)
        else:
            steps[int(path.name.rpartition("-")[2])] = path
    for step in sorted(steps, reverse=True):
        if _has_best_weights(steps[step]):
            return str(steps[step])
        remove_folder(steps[step])
    return None


def _has_best_weights(checkpoint: Path) -> bool:
    """Whether the checkpoint with the best weights so far still exists; its path is corrected if the run was moved."""
    state = read_json(checkpoint / "trainer_state.json")
    best = state.get("best_model_checkpoint")
    if best is None:
        return True
    path = checkpoint.parent / Path(best).name
    if not path.exists():
        return False
    if str(path) != best:
        write_json(checkpoint / "trainer_state.json", state | {"best_model_checkpoint": str(path)})
        write_manifest(checkpoint)
    return True


def prepare_work_folder(
    config: Config, name: str, settings: Any, inputs: Sequence[str], external: Sequence[str | None] = ()
) -> Path:
    """Return RUN/checkpoints/NAME, the work folder of stage `name`, emptied if its files belong to another experiment.

    settings: the settings of the stage as JSON values. inputs: the files and folders that the stage reads, as paths
    relative to the run folder. external: values of settings that may be paths of local files or folders. The folder
    stores a hash of the settings, the seed and the contents of all these; if the hash differs, the folder is emptied.
    """
    work = config.run_folder / "checkpoints" / name
    paths = [config.run_folder / path for path in inputs] + [Path(x) for x in external if x and Path(x).exists()]
    parts = [settings, config.seed, *map(content_hash, paths)]
    return claim_work_folder(work, parts)


def delete_work_folder(work: Path) -> None:
    """Delete the work folder of a stage, and RUN/checkpoints with it if no other stage has one and it is not a link."""
    remove_folder(work)
    if not work.parent.is_symlink() and not any(work.parent.iterdir()):
        work.parent.rmdir()


def save_trained_retriever(
    config: Config, name: str, retriever: Retriever, log: Sequence[dict[str, Any]], work: Path
) -> None:
    """Save the retriever and the log of training stage `name` to RUN/NAME, then delete its checkpoints.

    Prints the best value of the stage's dev measure.
    """
    retriever.save_pretrained(config.run_folder / name)
    write_json(config.run_folder / name / "log.json", list(log))
    delete_work_folder(work)
    metric = getattr(config, name).metric
    best = max(entry[f"eval_{metric}"] for entry in log if f"eval_{metric}" in entry)
    console.print(f"{name}: dev {metric} {best:.3f}")
