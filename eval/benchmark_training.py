"""benchmark_training: examples and tokens per second in training, and the share of the device's matrix product rate."""

import contextlib
import math
import platform
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from rich.table import Table
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedTokenizerBase

from genir.benchmarks.device import measure_matmul_rate, read_clock
from genir.benchmarks.documents import SyntheticDocuments
from genir.benchmarks.synthetic import CODEBOOK_SIZE, SHAPES, TEXT_TOKENS, make_docid_model, make_docids, make_random_t5
from genir.config import BaselineConfig, DDROConfig, IRPOConfig, LoopConfig, PreferenceConfig, SFTConfig
from genir.console import console, track
from genir.docids.table import Codes, DocidTable
from genir.docids.trie import Trie
from genir.errors import GenirError
from genir.files import write_json
from genir.losses import LOSSES, CandidateBatch
from genir.pipeline.command import run_command
from genir.retriever import Retriever
from genir.scoring.experts import Experts
from genir.scoring.lexical import LexicalIndex
from genir.tokenizer import train_tokenizer
from genir.training.batch_logps import DocumentScorer
from genir.training.candidate_lists import CandidateLists
from genir.training.examples import Collator, ExampleSources, ExampleStream
from genir.training.length_groups import LengthGroupCollator
from genir.training.packing import unpack
from genir.training.precision import autocast, uses_bf16
from genir.training.preference_data import PreferenceCollator, PreferenceDataset
from genir.training.trainer import Loss, TrainingJob, supervised_loss, train

FOLDER = Path("runs") / "benchmark_training"
WARMUP_STEPS = 5
LISTS = 4096
"""Number of synthetic candidate lists."""
TEXTS = {"short": (3, 16, 64), "long": (100, 140, 128)}
"""Kinds of texts: fewest and most words of a span, and the number of tokens at which it is truncated."""


LOSS_NAMES, PRECISIONS = ("sft", "ddro", "irpo"), ("fp32", "bf16")


class Case(NamedTuple):
    """What is trained: the loss, the levels of the docids, the candidates of a text, and the texts of a step."""

    loss: str
    levels: int
    candidates: int
    batch_size: int


CASES = [
    Case("sft", 24, 1, 128),
    Case("sft", 8, 1, 128),
    Case("ddro", 24, 16, 32),
    Case("ddro", 8, 16, 32),
    Case("irpo", 24, 32, 32),
    Case("irpo", 8, 32, 32),
]


class Enough(Exception):
    """Raised in the middle of a training, after the last step that is timed."""


class StepTimer:
    """A loss that ends the training after some steps, of which it measures the time. Each step computes it once."""

    def __init__(self, loss: Loss, steps: int) -> None:
        self.loss = loss
        self.steps = steps
        self.calls = 0
        self.tokens = 0
        self.seconds = math.nan

    def __call__(self, logps: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Compute the loss of a step; the first call after the timed steps raises Enough."""
        if self.calls == WARMUP_STEPS:
            self.seconds = -read_clock()
        if self.calls == WARMUP_STEPS + self.steps:
            self.seconds += read_clock()
            raise Enough
        if self.calls >= WARMUP_STEPS:
            groups: Any = batch["groups"]
            self.tokens += sum(int(group["attention_mask"].sum()) for group in groups)
        self.calls += 1
        return self.loss(logps, batch)


def choose(option: str, given: str, known: Sequence[str]) -> list[str]:
    """Split the value of an option at commas. Raises GenirError for an unknown part."""
    parts = given.split(",")
    if unknown := [part for part in parts if part not in known]:
        raise GenirError(f"{option}: unknown {unknown[0]!r}; choose from {', '.join(known)}")
    return parts


def make_settings(case: Case, texts: str, precision: str, workers: int | None) -> LoopConfig:
    """Make the section of the config for a case."""
    shortest, longest, max_tokens = TEXTS[texts]
    settings: dict[str, Any] = {
        "batch_size": case.batch_size,
        "max_tokens": max_tokens,
        "precision": precision,
        "workers": workers,
        "spans": {"min_words": shortest, "max_words": longest, "word_dropout": 0.1},
        "eval_steps": 1_000_000,
    }
    if case.loss == "sft":
        return SFTConfig(**settings)
    section = DDROConfig if case.loss == "ddro" else IRPOConfig
    return section(**settings, candidates_per_step=case.candidates)


def make_retriever(
    shape: str, levels: int, documents: SyntheticDocuments, tokenizer: PreTrainedTokenizerBase, experts: bool
) -> Retriever:
    """Make a retriever with random weights for synthetic documents with docids of `levels` codes."""
    codes = make_docids(len(documents))[:, :levels].astype(np.int32)
    names = [f"d{i}" for i in range(len(documents))]
    table = DocidTable.from_codes(Codes(codes, (CODEBOOK_SIZE,) * levels), doc_ids=names, titles=[""] * len(names))
    trie = Trie.from_codes(table.codes)
    found = None
    if experts:
        texts = (documents[i].text for i in trie.doc_indices.tolist())
        found = Experts({"text": LexicalIndex.build(texts, BaselineConfig())}, {"text": 0.5})
    t5 = make_random_t5(shape, TEXT_TOKENS)
    return Retriever(make_docid_model(t5, levels), tokenizer, table, 128, trie, experts=found)


def make_job(
    case: Case,
    settings: LoopConfig,
    retriever: Retriever,
    documents: SyntheticDocuments,
    steps: int,
    folder: Path,
) -> TrainingJob:
    """Make the training of a case, whose loss ends it after `steps` timed steps."""
    length = (WARMUP_STEPS + steps + 1) * case.batch_size
    kinds: Any = ("spans",) if retriever.experts else ()
    stream = ExampleStream(length, 1, {"spans": 1.0}, ExampleSources(documents, [], []), settings, kinds)
    examples: Any = stream
    collator: Any = Collator(retriever, settings.max_tokens)
    loss: Loss = supervised_loss
    if isinstance(settings, PreferenceConfig):
        lists = make_lists(stream, case, len(documents))
        examples = PreferenceDataset(lists, length, settings, seed=1)
        collator = PreferenceCollator(retriever, lists, settings.max_tokens)
        loss = partial(compute_preference_loss, settings)
    return TrainingJob(
        title=case.loss,
        scorer=DocumentScorer(retriever),
        examples=examples,
        collator=collator,
        loss=StepTimer(loss, steps),
        evaluate=lambda: {settings.metric: 0.0},
        settings=settings,
        steps=WARMUP_STEPS + steps + 1,
        learning_rate=1e-4,
        seed=1,
        checkpoints=folder / "checkpoints",
        log_folder=folder / "log",
        report_to=(),
    )


def make_lists(stream: ExampleStream, case: Case, documents: int) -> CandidateLists:
    """Make lists of random candidates, of which the first is relevant, with random log-probs of the reference."""
    count, rng = min(LISTS, len(stream)), np.random.default_rng(1)
    shape = count, case.candidates
    return CandidateLists(
        [stream[i].text for i in range(count)],
        rng.integers(0, documents, shape),
        torch.eye(case.candidates)[0].expand(shape).contiguous(),
        torch.from_numpy(-rng.gamma(5.0, 2.0, shape).astype(np.float32)),
        torch.zeros(count, dtype=torch.bool),
    )


def compute_preference_loss(settings: PreferenceConfig, policy: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Compute the loss of a refinement section."""
    return LOSSES[settings.loss](
        CandidateBatch(policy, batch["reference"], batch["grades"], batch["mask"]), settings.beta
    )


def count_flops(job: TrainingJob) -> int:
    """Count the floating-point operations of the matrix products of one training step, forward and backward."""
    scorer, settings = job.scorer.train(), job.settings
    device, loss = scorer.t5.device, job.loss
    examples: Any = job.examples
    divide = LengthGroupCollator(job.collator, len(scorer.retriever.table), device)
    packed = divide([examples[i] for i in range(settings.batch_size)])
    batch = unpack(packed | {"block": packed["block"].to(device)})
    assert isinstance(loss, StepTimer)
    with FlopCounterMode(display=False) as counter, autocast(settings.precision, device):
        torch.autograd.backward(loss.loss(scorer(batch), batch).mean())
    scorer.zero_grad()
    return int(counter.get_total_flops())


def measure(job: TrainingJob) -> dict[str, float | None]:
    """Run a training until it has been timed, and return what was measured."""
    loss, device = job.loss, job.scorer.t5.device
    assert isinstance(loss, StepTimer)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(Enough):
        train(job)
    job.scorer.zero_grad()
    memory = torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else None
    rate = count_flops(job) * loss.steps / loss.seconds
    return {
        "examples_per_second": job.settings.batch_size * loss.steps / loss.seconds,
        "tokens_per_second": loss.tokens / loss.seconds,
        "tflops": rate / 1e12,
        "share_of_matmul_rate": rate / measure_matmul_rate(uses_bf16(job.settings.precision), device),
        "gpu_gb": memory,
    }


def command(
    shape: Annotated[str, typer.Option(help="Shape of the T5: trained (one layer), small or base.")] = "base",
    texts: Annotated[str, typer.Option(help="Texts: long (128 tokens) or short (3 to 16 words).")] = "long",
    precision: Annotated[str, typer.Option(help="Precisions to measure, separated by commas.")] = "fp32,bf16",
    loss: Annotated[str, typer.Option(help="Losses to measure, separated by commas.")] = "sft,ddro,irpo",
    batch_size: Annotated[int | None, typer.Option(help="Texts of a step (default: 128, or 32 in refinement).")] = None,
    documents: Annotated[int, typer.Option(help="Number of synthetic documents.", min=100)] = 100_000,
    steps: Annotated[int, typer.Option(help="Number of timed steps.", min=1)] = 20,
    workers: Annotated[int | None, typer.Option(help="Processes that prepare batches, as sft.workers.")] = None,
    experts: Annotated[bool, typer.Option(help="Train with BM25 as an expert.")] = False,
) -> None:
    """Time training steps with their whole data pipeline: spans, tokenisation, trie softmax, loss and AdamW.

    Trains a T5 with random weights on synthetic documents by the loop of `genir train`, in one process, with docids of
    24 and of 8 levels: SFT with 128 texts in a step, DDRO with 15 pairs and IRPO with 32 candidates for each of 32
    texts. Tokens are those of the texts, without padding. "of peak" is the rate of the matrix products, divided by that
    of one large product in the same precision on the same device. The results are printed and written to
    runs/benchmark_training/results.json.
    """
    for option, given, known in (("--shape", shape, SHAPES), ("--texts", texts, TEXTS)):
        choose(option, given, list(known))
    losses, precisions = choose("--loss", loss, LOSS_NAMES), choose("--precision", precision, PRECISIONS)
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU"
    threads = "" if torch.cuda.is_available() else f", {torch.get_num_threads()} threads"
    table = Table(title=f"t5 {shape}, {texts} texts, {documents:,} documents, {name}{threads}")
    columns = ("case", "precision", "examples/s", "tokens/s", "TFLOP/s", "of peak", "GPU memory")
    for column in columns:
        table.add_column(column, justify="left" if column in columns[:2] else "right")
    cases = [case for case in CASES if case.loss in losses]
    collection = SyntheticDocuments(documents)
    tokenizer = train_tokenizer((document.text for document in collection[:1000]), 8000)
    results = []
    for case in track(cases, "benchmark"):
        case = case if batch_size is None else case._replace(batch_size=batch_size)
        retriever = make_retriever(shape, case.levels, collection, tokenizer, experts)
        if torch.cuda.is_available():
            torch.nn.Module.to(retriever.model.t5, "cuda")
        for each in precisions:
            settings = make_settings(case, texts, each, workers)
            with tempfile.TemporaryDirectory() as folder:
                found = measure(make_job(case, settings, retriever, collection, steps, Path(folder)))
            label = f"{case.loss} {case.levels} x {CODEBOOK_SIZE}, {case.batch_size} x {case.candidates}"
            results.append({"case": label, "precision": each, **found})
            rates = [f"{found[key]:,.0f}" for key in ("examples_per_second", "tokens_per_second")]
            memory = "" if found["gpu_gb"] is None else f"{found['gpu_gb']:.1f} GB"
            table.add_row(label, each, *rates, f"{found['tflops']:.2f}", f"{found['share_of_matmul_rate']:.0%}", memory)
    console.print(table)
    write_json(FOLDER / "results.json", results)


if __name__ == "__main__":
    run_command(command, "benchmark_training")
