"""benchmark_refinement: time a refinement step of genir and of other implementations, in turns.

Shapes: B queries, N candidates, L levels, K codes of a level, V vocabulary.
"""

import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
import typer
from rich.table import Table
from torch import Tensor
from torch.nn import functional
from transformers import T5Config, T5ForConditionalGeneration

from genir.benchmarks.synthetic import CODEBOOK_SIZE, make_docids
from genir.console import console, track
from genir.docids.table import CodeLayout
from genir.docids.trie import Trie
from genir.errors import GenirError
from genir.files import write_json
from genir.losses import LOSSES, CandidateBatch
from genir.model import SIZES, DocidModel
from genir.pipeline.command import run_command
from genir.scoring.logps import document_logps
from genir.t5.loading import untie

TEXT_TOKENS = 32_128
"""Text tokens in the vocabulary."""
DOCUMENTS = 100_000
"""Number of synthetic documents."""
BETA = 0.4
"""The losses' inverse temperature; it does not change the time."""


class Case(NamedTuple):
    """One measured step: the loss, the number of levels, the candidates per query, and the number of queries."""

    loss: str
    levels: int
    candidates: int
    queries: int


CASES = {
    "ddro, 24 x 256, 1 pair per query": Case("ddro", 24, 2, 8),
    "ddro, 8 x 256, 1 pair per query": Case("ddro", 8, 2, 8),
    "ddro, 24 x 256, 15 pairs per query": Case("ddro", 24, 16, 2),
    "ddro, 8 x 256, 15 pairs per query": Case("ddro", 8, 16, 2),
    "irpo, 24 x 256, 32 candidates": Case("irpo", 24, 32, 2),
    "irpo, 8 x 256, 32 candidates": Case("irpo", 8, 32, 2),
}


def make_model(size: str, levels: int) -> DocidModel:
    """Make a T5 with random weights, `levels` codebooks of 256 codes, a separate head, and no dropout."""
    torch.manual_seed(0)
    layout = CodeLayout(TEXT_TOKENS, (CODEBOOK_SIZE,) * levels)
    settings: dict[str, Any] = {
        **SIZES[size],
        "d_kv": 64,
        "vocab_size": layout.vocab_size,
        "feed_forward_proj": "gated-gelu",
        "dropout_rate": 0.0,
        "decoder_start_token_id": 0,
    }
    config = T5Config(**settings)
    t5 = T5ForConditionalGeneration(config)
    untie(t5, torch.randn_like(t5.shared.weight) * config.d_model**-0.5)
    return DocidModel(t5, layout)


def compute_loss(logps: Tensor, batch: dict[str, Tensor], loss: str) -> Tensor:
    """Compute the mean loss from log-probabilities [B, N]; those of the reference are in the batch."""
    return LOSSES[loss](CandidateBatch(logps, batch["reference"], batch["grades"], batch["mask"]), BETA).mean()


def compute_genir_loss(policy: DocidModel, trie: Trie, batch: dict[str, Tensor], loss: str) -> Tensor:
    """Compute the loss as genir does: each query is encoded once, and only codes with alternatives are decoded.

    The reference's log-probs come from a cache.
    """
    encoded = policy.encode(batch["input_ids"], batch["attention_mask"])
    return compute_loss(document_logps(policy, encoded, trie, batch["leaves"]), batch, loss)


def compute_level_loss(policy: DocidModel, batch: dict[str, Tensor], loss: str) -> Tensor:
    """Compute the loss with a softmax over the codebook of each level, for which every code of a docid is decoded.

    Otherwise it shares encodings as genir does. Its log-probabilities, and so its loss, are other ones.
    """
    encoded = policy.encode(batch["input_ids"], batch["attention_mask"])
    states = policy.decode(policy.precompute_cross_attention(encoded), policy.decoder_inputs(batch["codes"][..., :-1]))
    logps = torch.zeros(batch["codes"].shape[:2])
    for level, offset in enumerate(policy.layout.offsets):
        start = policy.layout.base + offset
        head = policy.t5.lm_head.weight[start : start + CODEBOOK_SIZE]
        level_logps = functional.linear(states[:, :, level], head).log_softmax(-1)
        logps = logps + level_logps.gather(2, batch["codes"][:, :, level : level + 1])[..., 0]
    return compute_loss(logps, batch, loss)


def compute_straightforward_loss(
    policy: DocidModel, reference: DocidModel, batch: dict[str, Tensor], loss: str
) -> Tensor:
    """Compute the loss as a trainer without shared encodings does: both models read every (query, candidate) pair.

    For DDRO, each pair of candidates is an example with a copy of the query, as in a pairwise trainer.
    """
    if loss == "ddro":
        batch = split_into_pairs(batch)
    with torch.no_grad():
        reference_logps = pairwise_logps(reference, batch)
    return compute_loss(pairwise_logps(policy, batch), batch | {"reference": reference_logps}, loss)


def split_into_pairs(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Make an example of each pair of a query's first candidate and another one: B * (N - 1) lists of two."""
    negatives = batch["codes"].shape[1] - 1

    def pair(x: Tensor) -> Tensor:
        return torch.stack([x[:, :1].expand_as(x[:, 1:]), x[:, 1:]], 2).flatten(0, 1)

    repeated = {name: batch[name].repeat_interleave(negatives, 0) for name in ("input_ids", "attention_mask")}
    narrow = {name: batch[name][:, :2].repeat_interleave(negatives, 0) for name in ("grades", "mask")}
    return repeated | narrow | {name: pair(batch[name]) for name in ("codes", "log_masses")}


def pairwise_logps(docid_model: DocidModel, batch: dict[str, Tensor]) -> Tensor:
    """Compute log p(d | q) [B, N] from B * N independent sequences, with logits over the whole vocabulary."""
    count = batch["codes"].shape[1]
    tokens, log_masses = docid_model.codes_to_tokens(batch["codes"]).flatten(0, 1), batch["log_masses"].flatten(0, 1)
    logits = docid_model.t5(
        input_ids=batch["input_ids"].repeat_interleave(count, 0),
        attention_mask=batch["attention_mask"].repeat_interleave(count, 0),
        labels=tokens,
    ).logits
    total = torch.zeros(len(tokens))
    for level, offset in enumerate(docid_model.layout.offsets):
        start = docid_model.layout.base + offset
        level_logits = logits[:, level, start : start + CODEBOOK_SIZE]
        logps = (level_logits + log_masses[:, level]).log_softmax(-1)
        total = total + logps.gather(1, (tokens[:, level] - start).unsqueeze(1))[:, 0]
    return total.view(-1, count)


def list_log_masses(trie: Trie, leaves: Tensor) -> Tensor:
    """List log M of all codes that may follow each prefix of some documents [n], without experts: [n, L, K].

    It is -inf for codes that no docid has there.
    """
    log_masses = torch.full((len(leaves), trie.levels, CODEBOOK_SIZE), -torch.inf)
    first, last = torch.zeros_like(leaves), torch.full_like(leaves, trie.size)
    for level in range(trie.levels):
        children = trie.expand(level, first, last)
        log_masses[children.parent, level, children.code] = (children.last - children.first).float().log()
        first, last = trie.descend(level, first, last, leaves)
    return log_masses


def make_batch(reference: DocidModel, trie: Trie, case: Case, words: int) -> dict[str, Tensor]:
    """Make queries of `words` tokens with random candidates [B, N], of which the first is relevant."""
    generator = torch.Generator().manual_seed(1)
    shape = case.queries, case.candidates
    leaves = torch.randint(0, trie.size, shape, generator=generator)
    batch = {
        "input_ids": torch.randint(3, TEXT_TOKENS, (case.queries, words), generator=generator),
        "attention_mask": torch.ones(case.queries, words, dtype=torch.long),
        "leaves": leaves,
        "codes": trie.generated_codes(leaves),
        "log_masses": list_log_masses(trie, leaves.flatten()).view(*shape, trie.levels, CODEBOOK_SIZE),
        "grades": torch.eye(case.candidates)[0].expand(case.queries, -1),
        "mask": torch.ones(*shape, dtype=torch.bool),
    }
    with torch.no_grad():
        encoded = reference.encode(batch["input_ids"], batch["attention_mask"])
        batch["reference"] = document_logps(reference, encoded, trie, leaves)
    return batch


def time_step(loss: Callable[[], Tensor], policy: DocidModel) -> float:
    """Measure the seconds of one forward and backward pass."""
    policy.t5.zero_grad()
    started = time.perf_counter()
    loss().backward()  # type: ignore[no-untyped-call]
    return time.perf_counter() - started


def measure(size: str, case: Case, words: int, repeats: int) -> dict[str, Any]:
    """Time all implementations in turns.

    Returns the median seconds of a step of each, the median ratios of the others' times to genir's in the same turn,
    and the difference between the losses of genir and of the straightforward implementation.
    """
    policy, reference = make_model(size, case.levels), make_model(size, case.levels)
    with torch.no_grad():
        for weight in policy.t5.parameters():
            weight.mul_(1.01)  # so that policy and reference differ
    trie = Trie.from_codes(make_docids(DOCUMENTS)[:, : case.levels])
    batch = make_batch(reference, trie, case, words)
    losses = {
        "straightforward": partial(compute_straightforward_loss, policy, reference, batch, case.loss),
        "level softmax": partial(compute_level_loss, policy, batch, case.loss),
        "genir": partial(compute_genir_loss, policy, trie, batch, case.loss),
    }
    difference = abs(float(losses["genir"]().detach() - losses["straightforward"]().detach()))
    times: dict[str, list[float]] = {name: [] for name in losses}
    for _ in range(repeats):
        for name, loss in losses.items():
            times[name].append(time_step(loss, policy))
    ratios = {
        name: statistics.median(a / b for a, b in zip(times[name], times["genir"], strict=True))
        for name in losses
        if name != "genir"
    }
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    return {"ratios": ratios, "loss_difference": difference, "seconds": medians}


def command(
    size: Annotated[str, typer.Option(help="Size of the T5: tiny, mini, small or base.")] = "small",
    words: Annotated[int, typer.Option(help="Length of a query, in tokens.")] = 32,
    repeats: Annotated[int, typer.Option(help="Number of timed steps of each implementation.")] = 7,
) -> None:
    """Time a refinement step (forward and backward) of genir and of two other implementations.

    genir encodes each query once for all its candidates, decodes only codes that have alternatives among 100,000
    synthetic docids, and takes the log-probabilities of the reference from a cache. The straightforward implementation
    runs policy and reference on every pair of a query and a candidate, with logits over the whole vocabulary; its
    losses are the same. The one with a softmax over the codebook of each level shares encodings as genir does, but
    decodes every code. The losses are those of DDRO and IRPO, and all implementations run on one thread. Prints the
    medians and writes them to runs/benchmark_refinement/results.json.
    """
    if size not in SIZES:
        raise GenirError(f"--size: unknown {size!r}; choose from {', '.join(SIZES)}")
    torch.set_num_threads(1)
    table = Table(title=f"t5 {size}, queries of {words} tokens, {platform.machine()}, one thread, fp32")
    for column in ("case", "straightforward", "level softmax", "genir", "speedups", "loss difference"):
        table.add_column(column, justify="left" if column == "case" else "right")
    results = {}
    for name, case in track(CASES.items(), "benchmark"):
        results[name] = found = measure(size, case, words, repeats)
        milliseconds = [f"{seconds * 1000:,.0f} ms" for seconds in found["seconds"].values()]
        speedups = ", ".join(f"{ratio:.1f}" for ratio in found["ratios"].values())
        table.add_row(name, *milliseconds, speedups, f"{found['loss_difference']:.0e}")
    console.print(table)
    write_json(Path("runs") / "benchmark_refinement" / "results.json", results)


if __name__ == "__main__":
    run_command(command, "benchmark_refinement")
