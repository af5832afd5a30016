"""The folders that campaigns copy for their trials: a small collection, a config, other inputs, and a run."""

import gzip
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from genir.collection.prepared import DocumentFile
from tests.campaigns.children import HAS_MODELS, run_child, run_genir
from tests.campaigns.operations import watch_operations
from tests.helpers.beir import SUBJECTS, small_beir
from tests.helpers.sentence_model import save_random_model

CONFIG = """\
collection: {path: beir}
threads: 1
embed: {dimension: 6}
docids: {builder: rq, levels: 2, codebook_size: 4}
model: {vocab_size: 300}
queries: {per_document: 3}
sft: {batch_size: 8, eval_steps: 2, warmup_steps: 1,
      phases: [{mix: {spans: 1, queries: 1, pseudo_queries: 1}, steps: 4}]}
negatives: {bands: [{first: 1, last: 9, count: 3}]}
ddro: {steps: 2, batch_size: 4, pool_size: 8, beam_candidates: 4, mined_candidates: 3, candidates_per_step: 5,
       eval_steps: 1, warmup_steps: 1}
search: {k: 10, beams: 12}
evaluate: {bootstrap: 100}
"""
"""The config small.yaml, an experiment of seconds."""
DENSE = "embed.method=model"
"""The setting with which the run has a dense expert."""
STATES = {
    "prepared": ("new", ("--until", "negatives")),
    "trained": ("prepared", ("--until", "train")),
    "finished": ("trained", ("--until", "report")),
    "interrupted": ("prepared", ()),
    "foreign": ("finished", ()),
    "dense": ("new", (DENSE, "--until", "train")),
}
"""State of a workspace -> the state that it is made from, and how its run runs/small continues.

"new" has no run yet. "interrupted" is in the middle of the training, "foreign" has another run file in runs/, "dense"
has a dense expert.
"""


class Workspaces:
    """Workspaces in several states, each made when it is first needed, and copies of them for trials."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.logs.mkdir()
        write_inputs(folder / "new")

    def make(self, state: str) -> Path:
        """Return the workspace in a state, which is made unless it exists."""
        folder = self.folder / state
        if folder.exists():
            return folder
        previous, arguments = STATES[state]
        shutil.copytree(self.make(previous), folder)
        if state == "interrupted":
            self._interrupt_training(folder)
        elif state == "foreign":
            shutil.copy(folder / "own.test.trec", folder / "runs" / "small" / "runs")
        else:
            outcome = run_child(partial(run_genir, "run", "small.yaml", *arguments), folder, self.logs)
            if outcome.code != 0:
                raise RuntimeError(f"the run without any fault failed: {outcome.errors or outcome.output}")
        return folder

    def _interrupt_training(self, folder: Path) -> None:
        """Kill the training after the last step of sft, when there are two checkpoints."""

        def train() -> None:
            watch_operations(folder, self.logs / "operations", kill_before="done-1")
            run_genir("train", "small.yaml")

        run_child(train, folder, self.logs)
        found = [path.parent.name for path in folder.rglob("manifest.json")]
        if len(found) != 2:
            raise RuntimeError(f"an interrupted training must leave two checkpoints, not {found}")

    @contextmanager
    def copy(self, state: str) -> Iterator[Path]:
        """Copy the workspace in a state to a temporary folder, which is deleted afterwards."""
        source = self.make(state)
        with tempfile.TemporaryDirectory(prefix="trial-", dir=self.folder, ignore_cleanup_errors=True) as scratch:
            yield shutil.copytree(source, Path(scratch).resolve() / "work")


def write_inputs(folder: Path) -> None:
    """Write collections, small.yaml, the model of an embedder, and files that commands and settings can name.

    The collection compressed/ is beir/ in compressed files, and untrained/ is beir/ without train queries.
    """
    small_beir(folder / "beir")
    shutil.copytree(folder / "beir", folder / "untrained")
    for split in ("train", "dev"):
        (folder / "untrained" / "qrels" / f"{split}.tsv").unlink()
    if HAS_MODELS:
        save_random_model(folder / "model", DocumentFile(folder / "beir" / "corpus.jsonl"))
    shutil.copytree(folder / "beir" / "qrels", folder / "compressed" / "qrels")
    for name in ("corpus", "queries"):
        contents = (folder / "beir" / f"{name}.jsonl").read_bytes()
        (folder / "compressed" / f"{name}.jsonl.gz").write_bytes(gzip.compress(contents))
    (folder / "small.yaml").write_text(CONFIG)
    new = [{"_id": f"n{i}", "title": f"New {words}", "text": f"{words} again {i}"} for i, words in enumerate(SUBJECTS)]
    scores = [
        {"query_id": f"q{i}-train", "doc_id": f"d{j}", "score": (7 * i + 3 * j) % 11}
        for i in range(12)
        for j in range(12)
    ]
    queries = [{"doc_id": f"d{i}", "text": f"what about number{i}"} for i in range(12)]
    for name, rows in (("new", new), ("teacher", scores), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "gone.txt").write_text("d3\nd5\n")
    np.save(folder / "vectors.npy", np.random.default_rng(0).normal(size=(12, 6)).astype(np.float32))
    ranked = [(f"q{i}-test", f"d{(i + 5 * rank + 2) % 12}", rank) for i in range(12) for rank in range(1, 7)]
    (folder / "own.test.trec").write_text("".join(f"{q} Q0 {d} {rank} {9 - rank} own\n" for q, d, rank in ranked))
