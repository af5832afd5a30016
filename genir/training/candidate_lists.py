"""Candidate lists for refinement: the positives and negatives of each example, with grades and reference log-probs.

Shapes: P examples, C candidates of an example at most, B examples of a batch, N candidates of an example that one step
uses at most, L levels, S tokens.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from genir.config import PreferenceConfig
from genir.console import console, track
from genir.docids.order import docid_numbers
from genir.docids.table import DocidTable
from genir.files import atomic_folder
from genir.files.manifest import can_reuse, write_manifest
from genir.processes import gather_shares, run_on_main, take_share
from genir.retriever import Retriever
from genir.retriever.divided_search import search_over_processes
from genir.tokenizer import tokenize
from genir.training.batch_logps import batch_logps
from genir.training.examples import ExampleStream, LabelledQuery, gather_codes, score_by_experts
from genir.training.negatives import MinedNegatives, NegativeCandidate, filter_negatives
from genir.training.precision import autocast, uses_bf16
from genir.training.seen import SeenDocuments
from genir.training.teacher import Teacher, apply_teacher


class CandidateLists(NamedTuple):
    """P examples with their candidates, of which those with a grade above 0 come first.

    texts: P strings. doc_indices [P, C]: indices of the candidate documents, -1 at padding. grades [P, C]: grades of
    the candidates, 0 at padding. reference [P, C]: log p(d | text) under the frozen model, 0 at padding. seen_only [P]:
    whether the probabilities of a text are those among the documents with train queries.
    """

    texts: list[str]
    doc_indices: NDArray[np.int64]
    grades: Tensor
    reference: Tensor
    seen_only: Tensor


def collect_distinct_examples(stream: ExampleStream) -> list[LabelledQuery]:
    """Collect the distinct examples of a stream in their order; examples whose text is empty are omitted."""
    seen: dict[tuple[str, tuple[int, ...]], LabelledQuery] = {}
    for index in range(len(stream)):
        example = stream.draw_labelled(index)
        seen.setdefault((example.text, example.doc_indices), example)
    return [example for example in seen.values() if example.text.strip()]


def build_candidate_lists(
    retriever: Retriever,
    reference: Retriever,
    examples: Sequence[LabelledQuery],
    judged: Mapping[str, Sequence[int]],
    mined: MinedNegatives,
    settings: PreferenceConfig,
    folder: Path | None = None,
    teacher: Teacher | None = None,
    seen: SeenDocuments | None = None,
) -> CandidateLists:
    """Collect the candidates of each example: its positives, the policy's beam search results, and mined negatives.

    retriever: the policy. reference: the frozen model. judged: query id -> indices of its relevant documents. folder:
    cache for the log-probs of the reference; None means no cache. teacher: grades the candidates, if given. seen: the
    documents with train queries. Train queries, which are the examples with a query_id, have no other candidates, and
    their probabilities are those among these documents; None means all documents.

    A document that is relevant, or shares its docid with a relevant document or with another candidate, does not become
    a negative; the number of omitted documents is printed.
    """
    numbers = docid_numbers(retriever.table.codes)
    beams = beam_candidates(retriever, examples, settings.beam_candidates, seen)
    seen_set = range(len(retriever.table)) if seen is None else {*seen.doc_indices}
    dropped: Counter[str] = Counter()
    lists = []
    for example, beam in zip(examples, beams, strict=True):
        mined_documents = [d for d in mined.get(example.query_id, ()) if d in seen_set][: settings.mined_candidates]
        found = [NegativeCandidate(doc_index, "beam", rank) for rank, doc_index in enumerate(beam, 1)]
        found += [NegativeCandidate(doc_index, "mined", rank) for rank, doc_index in enumerate(mined_documents, 1)]
        relevant = {*example.doc_indices, *judged.get(example.query_id, ())}
        negatives = [candidate.doc_index for candidate in filter_negatives(found, relevant, numbers, dropped)]
        ascending = sorted(zip(example.doc_indices, example.gains, strict=True), key=lambda item: item[1])
        # Of several positives with the same docid, the one with the highest grade is kept.
        positives = {numbers[doc_index]: (doc_index, gain) for doc_index, gain in ascending}
        lists.append((list(positives.values()), negatives))
    doc_indices, grades = _pad_lists(lists)
    _print_summary(doc_indices, grades, dropped)
    if teacher is not None:
        doc_indices, grades = _sort_by_grade(doc_indices, apply_teacher(teacher(examples, doc_indices), grades))
    texts = [example.text for example in examples]
    seen_only = torch.tensor([seen is not None and bool(example.query_id) for example in examples])
    logps = reference_logps(reference, texts, doc_indices, settings, folder, seen_only, seen)
    return CandidateLists(texts, doc_indices, grades, logps, seen_only)


def _pad_lists(lists: Sequence[tuple[list[tuple[int, int]], list[int]]]) -> tuple[NDArray[np.int64], Tensor]:
    """Convert lists of positives (document index, gain) and negatives (document index) to padded arrays.

    Returns document indices [P, C], -1 at padding, and grades [P, C]. The grade of a positive is log2(gain + 1), which
    is its judged grade; that of a negative is 0.
    """
    width = max(len(positives) + len(negatives) for positives, negatives in lists)
    doc_indices = np.full((len(lists), width), -1, np.int64)
    grades = torch.zeros(len(lists), width)
    for i, (positives, negatives) in enumerate(lists):
        doc_indices[i, : len(positives) + len(negatives)] = [doc_index for doc_index, _ in positives] + negatives
        grades[i, : len(positives)] = torch.tensor([gain + 1.0 for _, gain in positives]).log2()
    return doc_indices, grades


def _sort_by_grade(doc_indices: NDArray[np.int64], grades: Tensor) -> tuple[NDArray[np.int64], Tensor]:
    """Sort the candidates of each list by descending grade, with the padding last."""
    order = grades.masked_fill(torch.from_numpy(doc_indices < 0), -1).sort(dim=1, descending=True, stable=True).indices
    return np.take_along_axis(doc_indices, order.numpy(), 1), grades.gather(1, order)


def _print_summary(doc_indices: NDArray[np.int64], grades: Tensor, dropped: Mapping[str, int]) -> None:
    """Print the numbers of lists, positives, negatives, and documents omitted for each reason, in one line."""
    positives = int((grades > 0).sum())
    omitted = "".join(f"; omitted ({reason}): {number:,}" for reason, number in dropped.items())
    count = int((doc_indices >= 0).sum())
    console.print(
        f"{len(doc_indices):,} lists with {positives:,} positives and {count - positives:,} negatives{omitted}",
        style="dim",
    )


def beam_candidates(
    retriever: Retriever, examples: Sequence[LabelledQuery], count: int, seen: SeenDocuments | None = None
) -> list[list[int]]:
    """Return the indices of the `count` documents that a beam search ranks highest for each example.

    They are the documents that the current policy is most likely to confuse with the relevant ones. seen: see
    `build_candidate_lists`.
    """
    found: list[list[int]] = [[] for _ in examples]
    is_restricted = [seen is not None and bool(example.query_id) for example in examples]
    allowed = seen and [retriever.table.doc_ids[doc_index] for doc_index in seen.doc_indices]
    for restricted in (False, True):
        chosen = [i for i, x in enumerate(is_restricted) if x == restricted]
        if not count or not chosen:
            continue
        hits = search_over_processes(
            retriever,
            [examples[i].text for i in chosen],
            k=count,
            beams=count,
            batch_size=64,
            allowed=allowed if restricted else None,
            description="searching",
        )
        for i, ranked in zip(chosen, hits, strict=True):
            found[i] = [retriever.table.doc_indices[hit.doc_id] for hit in ranked]
    return found


def reference_logps(
    reference: Retriever,
    texts: Sequence[str],
    doc_indices: NDArray[np.int64],
    settings: PreferenceConfig,
    folder: Path | None,
    seen_only: Tensor,
    seen: SeenDocuments | None,
) -> Tensor:
    """Compute log p(d | text) [P, C] under the reference, 0 at padding.

    seen_only, seen: see `candidate_logps`.

    If a folder is given, the values are cached there in a folder named after a hash of the lists and of the reference's
    weights, so that a resumed stage does not compute them again.
    """
    path: Path | None = None
    if folder is not None:
        restricted = seen and [seen_only.tolist(), seen.doc_indices]
        lists = json.dumps(
            [list(texts), doc_indices.tolist(), settings.max_tokens, uses_bf16(settings.precision), restricted]
        )
        key = hashlib.sha256(f"{lists}{_hash_weights(reference)}".encode()).hexdigest()[:16]
        path = folder / f"reference-{key}"
    if path is not None and run_on_main(lambda: can_reuse(path)):
        return load_file(path / "logps.safetensors")["logps"]
    parts = []
    size = min(settings.batch_size, settings.micro_batch or settings.batch_size)
    for start in track(take_share(range(0, len(texts), size)), "reference"):
        part = slice(start, start + size)
        with torch.inference_mode():
            logps = candidate_logps(reference, texts[part], doc_indices[part], settings, seen_only[part], seen)
        parts.append(logps.cpu())
    logps = torch.cat(gather_shares(parts)).contiguous()
    if path is not None:
        run_on_main(lambda: _write_logps(path, logps))
    return logps


def _write_logps(folder: Path, logps: Tensor) -> None:
    with atomic_folder(folder) as new:
        save_file({"logps": logps}, new / "logps.safetensors")
        write_manifest(new)


def _hash_weights(retriever: Retriever) -> str:
    """A hash of the model's weights, which differ between rounds where the reference is updated."""
    digest = hashlib.sha256()
    for name, weight in retriever.model.t5.state_dict().items():
        digest.update(name.encode())
        digest.update(weight.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def candidate_logps(
    retriever: Retriever,
    texts: Sequence[str],
    doc_indices: NDArray[np.int64],
    settings: PreferenceConfig,
    seen_only: Tensor,
    seen: SeenDocuments | None = None,
) -> Tensor:
    """Compute log p(d | text) [B, N] of the documents doc_indices [B, N], fp32, 0 where the index is -1.

    seen_only [B]: whether the probabilities of a text are those among the documents `seen`.
    """
    device = retriever.model.device
    batch = make_candidate_batch(retriever, texts, doc_indices, settings.max_tokens, seen_only)
    with autocast(settings.precision, device):
        logps = batch_logps(retriever, {name: x.to(device) for name, x in batch.items()}, seen=seen and seen.leaves)
    return logps.float().masked_fill(torch.from_numpy(doc_indices < 0).to(device), 0)


def make_candidate_batch(
    retriever: Retriever, texts: Sequence[str], doc_indices: NDArray[np.int64], max_tokens: int, seen_only: Tensor
) -> dict[str, Tensor]:
    """Make the batch of texts with candidates [B, N] that `batch_logps` reads.

    At -1, which no text has as its first candidate, it has the first candidate again.
    """
    index = retriever.index
    leaves = index.trie.find_leaves(np.where(doc_indices < 0, doc_indices[:, :1], doc_indices))
    scores = score_by_experts(index, texts)
    return tokenize(retriever.tokenizer, texts, max_tokens) | {"leaves": leaves, "seen_only": seen_only} | scores


def gather_candidate_codes(table: DocidTable, doc_indices: NDArray[np.int64]) -> Tensor:
    """Return the docids [B, N, L] of the documents doc_indices [B, N]; at -1, the docid of the first document."""
    return gather_codes(table.codes, doc_indices.clip(0).ravel()).view(*doc_indices.shape, -1)
