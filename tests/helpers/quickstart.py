"""A trained run on the bundled collection, for the tests of the documentation and of the examples."""

import shutil
from functools import cache
from pathlib import Path

from genir.collection.beir import read_documents
from genir.config import load_config
from genir.errors import GenirError
from tests.helpers.processes import ROOT, run_python

SHORT = [
    "ddro=null",
    "irpo=null",
    "sft.phases.0.steps=60",
    "sft.eval_steps=60",
    "sft.eval_queries=50",
    "threads=1",
]
"""Settings that make the quickstart a training of a minute that answers the questions of the README."""


@cache
def find_quickstart_run(scratch: Path) -> Path:
    """The finished run runs/quickstart of this checkout where there is one, else a short training in `scratch`."""
    run = ROOT / "runs" / "quickstart"
    return run if _is_usable(run) else _train(scratch / "trained_quickstart")


def copy_quickstart(scratch: Path, folder: Path) -> Path:
    """Lay out `folder` like a checkout after `make quickstart`: configs/, data/quickstart/ and runs/quickstart/."""
    shutil.copytree(ROOT / "configs", folder / "configs")
    shutil.copytree(ROOT / "data" / "quickstart", folder / "data" / "quickstart")
    shutil.copytree(find_quickstart_run(scratch), folder / "runs" / "quickstart")
    return folder


def _is_usable(run: Path) -> bool:
    """Whether a run folder is one of the present version, whose retriever has just the documents of the collection."""
    try:
        load_config(run)
        table = (run / "retriever" / "docids" / "documents.tsv").read_text(encoding="utf-8")
    except (GenirError, OSError):
        return False
    doc_ids = [line.split("\t")[0] for line in table.splitlines()]
    return doc_ids == [document.id for document in read_documents(ROOT / "data" / "quickstart" / "corpus.jsonl")]


def _train(folder: Path) -> Path:
    """Train the quickstart's retriever in `folder` for a few steps."""
    folder.mkdir()
    config = [str(ROOT / "configs" / "quickstart.yaml"), f"collection.path={ROOT / 'data' / 'quickstart'}", *SHORT]
    done = run_python(["-m", "genir", "run", *config, "--until", "train"], folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "runs" / "quickstart"
