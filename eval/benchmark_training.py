"""benchmark_training: a refinement step against the straightforward one, on one machine in one run."""

import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.table import Table
from torch import Tensor
from transformers import T5Config, T5ForConditionalGeneration

from genir.console import console, track
from genir.docids.table import CodeLayout
from genir.files import write_json
from genir.losses import LOSSES, CandidateBatch
from genir.model import SIZES, DocidModel
from genir.pipeline.command import run_command
from genir.t5.loading import untie

TEXT_TOKENS = 32_128
CASES = {  # loss, levels, candidates of a query, queries
    "ddro, 24 x 256, 1 pair a query": ("ddro", 24, 2, 8),
    "ddro, 8 x 256, 1 pair a query": ("ddro", 8, 2, 8),
    "ddro, 24 x 256, 15 pairs a query": ("ddro", 24, 16, 2),
    "ddro, 8 x 256, 15 pairs a query": ("ddro", 8, 16, 2),
    "irpo, 24 x 256, 32 candidates": ("irpo", 24, 32, 2),
    "irpo, 8 x 256, 32 candidates": ("irpo", 8, 32, 2),
}


def model(size: str, levels: int) -> DocidModel:
    """A random T5 of a published shape with `levels` codebooks of 256, its own head, and no dropout."""
    torch.manual_seed(0)
    layout = CodeLayout(TEXT_TOKENS, (256,) * levels)
    config = T5Config(
        **SIZES[size],
        d_kv=64,
        vocab_size=layout.vocabulary,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        **{"decoder_start_token_id": 0},
    )
    t5 = T5ForConditionalGeneration(config)
    untie(t5, torch.randn_like(t5.shared.weight) * config.d_model**-0.5)
    return DocidModel(t5, layout, "level")


def lean(policy: DocidModel, batch: dict[str, Tensor], loss: str) -> Tensor:
    """genir's step: each query encoded once for all its candidates, the reference's log-probs known beforehand."""
    encoded = policy.encode(batch["input_ids"], batch["attention_mask"])
    logps = policy.sequence_logps(encoded, batch["codes"])
    return LOSSES[loss](CandidateBatch(logps, batch["reference"], batch["grades"], batch["mask"]), 0.4).mean()


def straightforward(policy: DocidModel, reference: DocidModel, batch: dict[str, Tensor], loss: str) -> Tensor:
    """Two models; every candidate with a copy of its query, through the whole of Hugging Face's model. DDRO's pairs are
    examples of their own, as a pairwise trainer has them.
    """
    if loss == "ddro":
        batch = pairs(batch)
    with torch.no_grad():
        fixed = pairwise_logps(reference, batch)
    c = CandidateBatch(pairwise_logps(policy, batch), fixed, batch["grades"], batch["mask"])
    return LOSSES[loss](c, 0.4).mean()


def pairs(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The first candidate of each query against each other one, as queries of their own with two candidates."""
    negatives = batch["codes"].shape[1] - 1
    codes = batch["codes"]
    both = torch.stack([codes[:, :1].expand(-1, negatives, -1), codes[:, 1:]], 2).flatten(0, 1)
    repeated = {name: batch[name].repeat_interleave(negatives, 0) for name in ("input_ids", "attention_mask")}
    narrow = {name: batch[name][:, :2].repeat_interleave(negatives, 0) for name in ("grades", "mask")}
    return repeated | narrow | {"codes": both}


def pairwise_logps(docid_model: DocidModel, batch: dict[str, Tensor]) -> Tensor:
    """log p(docid | query) [B, N] from the logits over the whole vocabulary of B * N independent sequences."""
    count = batch["codes"].shape[1]
    tokens = docid_model.tokens(batch["codes"]).flatten(0, 1)
    logits = docid_model.t5(
        input_ids=batch["input_ids"].repeat_interleave(count, 0),
        attention_mask=batch["attention_mask"].repeat_interleave(count, 0),
        labels=tokens,
    ).logits
    total = torch.zeros(len(tokens))
    for level, offset in enumerate(docid_model.layout.offsets):
        start = docid_model.layout.base + offset
        logps = logits[:, level, start : start + docid_model.layout.sizes[level]].log_softmax(-1)
        total = total + logps.gather(1, (tokens[:, level] - start).unsqueeze(1))[:, 0]
    return total.view(-1, count)


def random_batch(policy: DocidModel, reference: DocidModel, case: tuple[str, int, int, int], words: int) -> Any:
    """Queries of `words` tokens with random candidates, the first of them relevant."""
    _, levels, candidates, queries = case
    generator = torch.Generator().manual_seed(1)
    batch = {
        "input_ids": torch.randint(3, TEXT_TOKENS, (queries, words), generator=generator),
        "attention_mask": torch.ones(queries, words, dtype=torch.long),
        "codes": torch.randint(0, 256, (queries, candidates, levels), generator=generator),
        "grades": torch.eye(candidates)[0].expand(queries, -1),
        "mask": torch.ones(queries, candidates, dtype=torch.bool),
    }
    with torch.no_grad():
        encoded = reference.encode(batch["input_ids"], batch["attention_mask"])
        batch["reference"] = reference.sequence_logps(encoded, batch["codes"])
    return batch


def seconds(step: Callable[[], Tensor], policy: DocidModel) -> float:
    """Of one forward and backward pass."""
    policy.t5.zero_grad()
    started = time.perf_counter()
    step().backward()  # type: ignore[no-untyped-call]
    return time.perf_counter() - started


def command(
    size: Annotated[str, typer.Option(help="The T5's shape: tiny, mini, small or base.")] = "small",
    words: Annotated[int, typer.Option(help="Tokens of a query.")] = 32,
    repeats: Annotated[int, typer.Option(help="Of each step; the two ways take turns.")] = 7,
) -> None:
    """Time a step (forward and backward) of DDRO and IRPO the lean and the straightforward way, on one thread.

    Lean: a query is encoded once for all its candidates, log-probs only over a level's codebook, the reference's taken
    from the cache. Straightforward: policy and reference both run on every (query, candidate) pair with logits over the
    whole vocabulary. Prints medians of paired steps and writes runs/benchmark_training/results.json.
    """
    torch.set_num_threads(1)
    shown = Table(title=f"t5 {size}, queries of {words} tokens, {platform.machine()}, one thread, fp32")
    for column in ("case", "straightforward", "lean", "times", "loss differs by"):
        shown.add_column(column, justify="left" if column == "case" else "right")
    results = {}
    for name, case in track(CASES.items(), "benchmark", len(CASES)):
        policy, reference = model(size, case[1]), model(size, case[1])
        with torch.no_grad():
            for weight in policy.t5.parameters():
                weight.mul_(1.01)  # policy and reference differ
        batch = random_batch(policy, reference, case, words)
        ways = {
            "straightforward": lambda p=policy, r=reference, b=batch, x=case[0]: straightforward(p, r, b, x),
            "lean": lambda p=policy, b=batch, x=case[0]: lean(p, b, x),
        }
        difference = abs(float(ways["lean"]().detach() - ways["straightforward"]().detach()))
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(repeats):
            for way, step in ways.items():
                times[way].append(seconds(step, policy))
        ratio = statistics.median(a / b for a, b in zip(times["straightforward"], times["lean"], strict=True))
        medians = {way: statistics.median(x) for way, x in times.items()}
        results[name] = {"ratio": ratio, "loss_difference": difference, "seconds": medians}
        cells = [f"{medians[way] * 1000:,.0f} ms" for way in ways]
        shown.add_row(name, *cells, f"{ratio:.1f}", f"{difference:.0e}")
    console.print(shown)
    write_json(Path("runs") / "benchmark_training" / "results.json", results)


if __name__ == "__main__":
    run_command(command, "benchmark_training")
