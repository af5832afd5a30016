"""Run folders that were prepared, searched with BM25 and evaluated."""

import shutil
from collections.abc import Callable
from pathlib import Path

from eval import baseline, evaluate
from genir.config import Config, load_config
from genir.evaluation.trec import write_run
from indexing import prepare_collection


def make_evaluated_run(
    beir: Path, tmp_path: Path, name: str, *overrides: str, change: Callable[[Path], None] = lambda folder: None
) -> Config:
    """Evaluate BM25 and a run "sft" with a single hit on a copy of the collection `beir`, edited by `change`."""
    folder = shutil.copytree(beir, tmp_path / f"{name}-data")
    change(folder)
    (tmp_path / "c.yaml").write_text(f"collection: {{path: {folder}}}\nruns_dir: {tmp_path / 'runs'}\n")
    config = load_config(tmp_path / "c.yaml", [f"name={name}", "evaluate.bootstrap=100", *overrides])
    prepare_collection.main(config)
    baseline.main(config)
    write_run({"q0-test": {"d0": 1.0}}, config.run_folder / "runs" / "sft.test.trec", "sft")
    evaluate.main(config)
    return config


def replace_in_file(name: str, old: str, new: str) -> Callable[[Path], None]:
    """Return a function that replaces a text in a file of a folder; the text must occur there."""

    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return change
