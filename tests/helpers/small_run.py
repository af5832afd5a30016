"""An experiment of seconds, for tests of commands."""

from pathlib import Path

from tests.helpers.beir import small_beir

SMALL = [
    "docids={builder: rq, levels: 2, codebook_size: 4}",
    "embed.dimension=6",
    "model.vocab_size=400",
    "sft.batch_size=16",
    "sft.eval_steps=20",
    "threads=1",
    "search.k=10",
    "search.beams=12",
    "evaluate.bootstrap=100",
]
"""Settings for the config small.yaml."""


def write_small_run(folder: Path) -> Path:
    """Write the collection beir/ of twelve documents and the config small.yaml into a folder."""
    small_beir(folder / "beir")
    (folder / "small.yaml").write_text("collection: {path: beir}\nsft: {phases: [{steps: 40}]}\n")
    return folder
