"""Run folders for tests of the training stages: a small prepared collection with docids."""

import shutil
from pathlib import Path

import numpy as np

from genir.collection.prepared import PreparedCollection
from genir.config import Config, load_config
from genir.docids import Codes, DocidTable
from genir.pipeline.stage import execute
from genir.training import sft
from genir.training.batch_logps import DocumentScorer
from genir.training.length_groups import group_by_length
from indexing import mine_negatives, prepare_collection

CODES = np.array([[i // 4, i % 4] for i in range(12)], np.int32)
"""Docids of the twelve documents of `small_beir`: three codes on the first level, four on the second."""
PREFERENCE = (
    "{steps: 6, batch_size: 4, pool_size: 24, beam_candidates: 4, mined_candidates: 3, candidates_per_step: 5, "
    "eval_steps: 3, warmup_steps: 1}"
)
"""Settings of a short refinement stage."""


def make_run(beir: Path, tmp_path: Path, settings: str) -> Config:
    """Write the config FOLDER/c.yaml with the given settings, prepare its collection and save docids for it."""
    (tmp_path / "c.yaml").write_text(
        f"""
collection: {{path: {beir}}}
runs_dir: {tmp_path / "runs"}
docids: {{builder: rq, levels: 2, codebook_size: 4}}
model: {{vocab_size: 300}}
{settings}
"""
    )
    config = load_config(tmp_path / "c.yaml")
    prepare_collection.main(config)
    documents = PreparedCollection(config.run_folder / "collection").documents
    ids, titles = zip(*((document.id, document.title) for document in documents), strict=True)
    DocidTable.from_codes(Codes(CODES, (3, 4)), doc_ids=ids, titles=titles).save(config.run_folder / "docids")
    return config


def make_trained_run(beir: Path, tmp_path: Path) -> Config:
    """Make a run folder with negatives and a finished short sft stage; its config has both refinement stages."""
    config = make_run(
        beir,
        tmp_path,
        f"""
sft: {{batch_size: 8, eval_steps: 5, warmup_steps: 1, phases: [{{mix: {{spans: 1, queries: 1}}, steps: 10}}]}}
negatives: {{bands: [{{first: 1, last: 9, count: 3}}]}}
ddro: {PREFERENCE}
irpo: {PREFERENCE}
""",
    )
    mine_negatives.main(config)
    execute(sft.STAGE, sft.main, config)
    return config


def copy_run(config: Config, folder: Path) -> Config:
    """Copy a run folder into another folder and return its config there."""
    return load_config(shutil.copytree(config.run_folder, folder / config.name))


def score_in_groups(retriever, batch, **options):
    """The log-probs of a batch as training computes them; options: those of `DocumentScorer`."""
    return DocumentScorer(retriever, **options)(group_by_length(batch, len(retriever.table), cost=8))
