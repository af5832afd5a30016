"""Candidate lists for refinement: which docids a query's positives are compared with, and their reference log-probs.

Shapes: P examples of a pool, C candidates of an example at most, B examples of a batch, N candidates of one step.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import Dataset

from genir.config import PreferenceConfig
from genir.console import console, track
from genir.docids.order import docid_numbers
from genir.docids.table import DocidTable
from genir.files import atomic_file
from genir.retriever import Retriever
from genir.tokenizer import tokenize
from genir.training.examples import ExampleStream, LabelledQuery, docid_batch
from genir.training.negatives import NegativeCandidate, keep_negatives
from genir.training.teacher import Teacher, apply_teacher

Mined = Mapping[str, Sequence[int]]
"""query id -> rows of the docid table that were mined as its negatives"""


class CandidateLists(NamedTuple):
    """Examples with their candidates, positives first: rows [P, C] of the docid table, -1 where there are fewer; grades
    [P, C]; reference [P, C], log p(docid | text) under the frozen model.
    """

    texts: list[str]
    doc_indices: NDArray[np.int64]
    grades: Tensor
    reference: Tensor


def draw_examples(stream: ExampleStream) -> list[LabelledQuery]:
    """All examples of a stream, each once."""
    seen: dict[tuple[str, tuple[int, ...]], LabelledQuery] = {}
    for index in range(len(stream)):
        example = stream.labelled(index)
        seen.setdefault((example.text, example.doc_indices), example)
    return [example for example in seen.values() if example.text.strip()]


def build_candidate_lists(
    retriever: Retriever,
    reference: Retriever,
    examples: Sequence[LabelledQuery],
    judged: Mapping[str, Sequence[int]],
    mined: Mined,
    settings: PreferenceConfig,
    folder: Path | None = None,
    teacher: Teacher | None = None,
) -> CandidateLists:
    """Give each example its candidates: its positives, the policy's own beam, and what was mined for its query.

    judged: query id -> rows that are relevant. No relevant document, and none that shares a docid with one or with
    another candidate, becomes a negative; those left out are counted and told. The teacher grades the lists. The
    reference's log-probs are kept in `folder` under a hash of the lists.
    """
    docid = docid_numbers(retriever.table.codes)
    beams = beam_candidates(retriever, [example.text for example in examples], settings.beam_candidates)
    dropped: Counter[str] = Counter()
    lists = []
    for example, beam in zip(examples, beams, strict=True):
        mine = mined.get(example.query_id, ())[: settings.mined_candidates]
        found = [NegativeCandidate(doc_index, "beam", rank) for rank, doc_index in enumerate(beam, 1)]
        found += [NegativeCandidate(doc_index, "mined", rank) for rank, doc_index in enumerate(mine, 1)]
        relevant = {*example.doc_indices, *judged.get(example.query_id, ())}
        negatives = [candidate.doc_index for candidate in keep_negatives(found, relevant, docid, dropped)]
        graded = sorted(zip(example.doc_indices, example.gains, strict=True), key=lambda item: item[1])
        positives = {
            docid[doc_index]: (doc_index, gain) for doc_index, gain in graded
        }  # of one docid, the highest grade stays
        lists.append((list(positives.values()), negatives))
    doc_indices, grades = _padded(lists)
    _tell(doc_indices, grades, dropped)
    if teacher is not None:
        doc_indices, grades = _best_first(doc_indices, apply_teacher(teacher(examples, doc_indices), grades))
    texts = [example.text for example in examples]
    return CandidateLists(texts, doc_indices, grades, reference_logps(reference, texts, doc_indices, settings, folder))


def _padded(lists: Sequence[tuple[list[tuple[int, int]], list[int]]]) -> tuple[NDArray[np.int64], Tensor]:
    """Lists of (positive row, gain) and of negative rows as rows and grades [P, C]."""
    width = max(len(positives) + len(negatives) for positives, negatives in lists)
    doc_indices = np.full((len(lists), width), -1, np.int64)
    grades = torch.zeros(len(lists), width)
    for place, (positives, negatives) in enumerate(lists):
        doc_indices[place, : len(positives) + len(negatives)] = [doc_index for doc_index, _ in positives] + negatives
        grades[place, : len(positives)] = torch.tensor([gain + 1.0 for _, gain in positives]).log2()
    return doc_indices, grades


def _best_first(doc_indices: NDArray[np.int64], grades: Tensor) -> tuple[NDArray[np.int64], Tensor]:
    """Candidates of each list by falling grade, padding last."""
    order = grades.masked_fill(torch.from_numpy(doc_indices < 0), -1).sort(dim=1, descending=True, stable=True).indices
    return np.take_along_axis(doc_indices, order.numpy(), 1), grades.gather(1, order)


def _tell(doc_indices: NDArray[np.int64], grades: Tensor, dropped: Mapping[str, int]) -> None:
    """One line: how many candidates, and what was left out."""
    positives = int((grades > 0).sum())
    told = "".join(f"; left out, {reason}: {number:,}" for reason, number in dropped.items())
    count = int((doc_indices >= 0).sum())
    console.print(
        f"[dim]{len(doc_indices):,} lists of {positives:,} positives and {count - positives:,} negatives{told}[/]"
    )


def beam_candidates(retriever: Retriever, texts: Sequence[str], count: int) -> list[list[int]]:
    """Rows of the `count` best documents of each text: what a search will confuse with the relevant ones."""
    if not count:
        return [[] for _ in texts]
    hits = retriever.search_many(texts, k=count, beams=count, batch_size=64, show_progress=True)
    return [[retriever.table.doc_indices[hit.doc_id] for hit in found] for found in hits]


def reference_logps(
    reference: Retriever,
    texts: Sequence[str],
    doc_indices: NDArray[np.int64],
    settings: PreferenceConfig,
    folder: Path | None,
) -> Tensor:
    """log p(docid | text) [P, C] under the reference, 0 at padding; computed once and kept in `folder`."""
    key = hashlib.sha256(json.dumps([list(texts), doc_indices.tolist(), settings.max_tokens]).encode()).hexdigest()[:16]
    path = None if folder is None else folder / f"reference-{key}.safetensors"
    if path is None or not path.exists():
        parts = []
        for start in track(range(0, len(texts), settings.batch_size), "reference"):
            part = slice(start, start + settings.batch_size)
            with torch.inference_mode():
                parts.append(candidate_logps(reference, texts[part], doc_indices[part], settings.max_tokens).cpu())
        if path is None:
            return torch.cat(parts)
        with atomic_file(path, "wb") as handle:
            save_file({"logps": torch.cat(parts).contiguous()}, handle.name)
    return load_file(path)["logps"]


def candidate_logps(
    retriever: Retriever, texts: Sequence[str], doc_indices: NDArray[np.int64], max_tokens: int
) -> Tensor:
    """log p(docid | text) [B, N] of candidates given by their rows [B, N], 0 at -1."""
    device = retriever.model.device
    inputs = {name: x.to(device) for name, x in tokenize(retriever.tokenizer, texts, max_tokens).items()}
    logps = retriever.model.sequence_logps(
        retriever.model.encode(**inputs), candidate_codes(retriever.table, doc_indices).to(device)
    )
    return logps.masked_fill(torch.from_numpy(doc_indices < 0).to(device), 0)


def candidate_codes(table: DocidTable, doc_indices: NDArray[np.int64]) -> Tensor:
    """Docids [B, N, L] of candidates [B, N]; padded ones get the first document's."""
    return docid_batch(table.codes, doc_indices.clip(0).ravel()).view(*doc_indices.shape, -1)


class PreferenceData(Dataset[tuple[int, NDArray[np.int64]]]):
    """Draws of (example of the pool, places of its candidates), each a function of (seed, number): every positive, as
    far as `candidates` allows, then negatives at random. The pool is walked in a new order each time.
    """

    def __init__(self, pool: CandidateLists, length: int, settings: PreferenceConfig, seed: int) -> None:
        self.pool = pool
        self.length = length
        self.settings = settings
        self.seed = seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[int, NDArray[np.int64]]:
        size = len(self.pool.texts)
        walk, step = divmod(index, size)
        example = int(np.random.default_rng((self.seed, walk)).permutation(size)[step])
        rng = np.random.default_rng((self.seed, index, 1))
        count = int((self.pool.doc_indices[example] >= 0).sum())
        positives = int((self.pool.grades[example] > 0).sum())
        most = self.settings.candidates_per_step
        kept = rng.permutation(positives)[: max(1, most // 2 if count > positives else most)]
        others = positives + rng.permutation(count - positives)[: most - len(kept)]
        return example, np.concatenate([kept, others])


class PreferenceCollator:
    """Draws -> input_ids, attention_mask [B, S], codes [B, N, L], grades, reference [B, N], mask [B, N] bool."""

    def __init__(self, retriever: Retriever, pool: CandidateLists, max_tokens: int) -> None:
        self.retriever = retriever
        self.pool = pool
        self.max_tokens = max_tokens

    def __call__(self, draws: Sequence[tuple[int, NDArray[np.int64]]]) -> dict[str, Any]:
        width = max(len(places) for _, places in draws)
        places = np.stack([np.pad(places, (0, width - len(places)), constant_values=-1) for _, places in draws])
        chosen = np.array([example for example, _ in draws])[:, None]
        mask = places >= 0
        doc_indices = np.where(mask, self.pool.doc_indices[chosen, places], -1)
        batch = tokenize(self.retriever.tokenizer, [self.pool.texts[example] for example, _ in draws], self.max_tokens)
        return batch | {
            "codes": candidate_codes(self.retriever.table, doc_indices),
            "grades": self.pool.grades[chosen, places],
            "reference": self.pool.reference[chosen, places],
            "mask": torch.from_numpy(mask),
        }
