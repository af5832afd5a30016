"""The refinement stages ddro and irpo: a retriever is trained on candidate lists, against a frozen copy of itself.

Shapes: B queries, N candidates.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import set_seed

from genir.collection.prepared import PreparedCollection
from genir.config import TRAINING_STAGES, Config, PreferenceConfig
from genir.console import print_warning
from genir.errors import GenirError
from genir.evaluation.trec import qrels
from genir.losses import LOSSES, CandidateBatch, dpop_penalty, irpo, ranks, sft
from genir.pipeline.stage import Stage
from genir.processes import run_on_main
from genir.retriever import Retriever
from genir.t5.loading import set_dropout
from genir.training.batch_logps import DocumentScorer
from genir.training.candidate_lists import (
    CandidateLists,
    build_candidate_lists,
    collect_distinct_examples,
)
from genir.training.checkpoints import prepare_work_folder, save_trained_retriever
from genir.training.dev import compute_diagnostics, make_dev_evaluator
from genir.training.examples import ExampleStream, label_queries, read_sources
from genir.training.negatives import read_negatives
from genir.training.preference_data import PreferenceCollator, PreferenceDataset
from genir.training.seen import find_seen_documents
from genir.training.teacher import open_teacher
from genir.training.trainer import Loss, TrainingJob, run_phase

LOGP_DROP_TO_WARN = 1.0
"""Decrease in the mean log-probability of the dev positives, in nats, above which a warning is printed."""
MIN_DEV_BEAM = 10
"""Minimum number of beam search candidates for each dev query, from which the diagnostics are computed."""


def make_refinement_stage(name: str, start: str) -> Stage:
    """Return the pipeline stage `name`, which refines the retriever of the training stage `start`."""
    reads = ("collection", "docids", start, "negatives?", "pseudo_queries?")
    return Stage(name, settings=(name,), external=(f"{name}.teacher",), reads=reads, writes=(name,), divided=True)


def main(config: Config, name: str, start: str) -> None:
    """Refine the retriever in RUN/START with the settings of section `name`, in rounds, and write it to RUN/NAME.

    Each round builds new candidate lists with the current policy.
    """
    settings: PreferenceConfig = getattr(config, name)
    run = config.run_folder
    data = PreparedCollection(run / "collection")
    inputs = ["collection", "docids", start]
    inputs += [path for path in ("negatives", "pseudo_queries") if (run / path).exists()]
    dump = settings.model_dump(mode="json")
    work = run_on_main(lambda: prepare_work_folder(config, name, dump, inputs, (settings.teacher,)))
    set_seed(config.seed)
    policy, reference = (Retriever.from_pretrained(run / start) for _ in range(2))
    set_dropout(policy.model.t5, 0.0)  # dropout would make the policy differ from the reference by noise
    log: list[dict[str, Any]] = []
    for number in range(1, settings.rounds + 1):
        make_job = partial(_make_job, config, name, policy, reference, data, number, work)
        log += run_phase(number, work, policy, make_job)
        if settings.update_reference:
            reference.model.t5.load_state_dict(policy.model.t5.state_dict())
    warn_of_displacement(name, log)
    run_on_main(lambda: save_trained_retriever(config, name, policy, log, work))


def _make_job(
    config: Config,
    name: str,
    policy: Retriever,
    reference: Retriever,
    data: PreparedCollection,
    number: int,
    work: Path,
) -> TrainingJob:
    """Prepare the training of round `number`, counted from 1, on candidate lists from the current policy."""
    settings: PreferenceConfig = getattr(config, name)
    seed = ((config.seed * 10 + TRAINING_STAGES.index(name)) * 1000 + number) % 2**32  # numpy takes 32-bit seeds
    table, run = policy.table, config.run_folder
    sources = read_sources(run, data, table, settings.mix)
    own = table.doc_indices if data.ignores_identical_ids else {}  # a query's own document is no negative either
    judged_queries = [q for q in sources.queries if q.query_id]  # no pseudo queries, which may take their place
    judged = {q.query_id: [*q.doc_indices, *(own[i] for i in [q.query_id] if i in own)] for q in judged_queries}
    examples = collect_distinct_examples(ExampleStream(settings.pool_size, seed, settings.mix, sources, settings))
    query_ids = {judgment.query_id for judgment in data.judgments("train")}
    mined = read_negatives(run / "negatives" / "negatives.jsonl", table, query_ids) if settings.mined_candidates else {}
    teacher = None if settings.teacher is None else open_teacher(settings.teacher, table, data.documents)
    seen = find_seen_documents(policy, sources)
    lists = build_candidate_lists(policy, reference, examples, judged, mined, settings, work, teacher, seen)
    require_comparisons(name, lists, settings)
    return TrainingJob(
        title=f"{name} {number}/{settings.rounds}",
        scorer=DocumentScorer(policy, seen and seen.leaves, settings.candidate_chunk),
        examples=PreferenceDataset(lists, settings.steps * settings.batch_size, settings, seed),
        collator=PreferenceCollator(policy, lists, settings.max_tokens),
        loss=make_preference_loss(policy, settings),
        evaluate=_make_evaluator(config, settings, policy, reference, data, work),
        settings=settings,
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        seed=seed,
        checkpoints=work / f"round-{number}",
        log_folder=run / "logs" / f"{name}-{number}",
        report_to=config.report_to,
    )


def require_comparisons(name: str, lists: CandidateLists, settings: PreferenceConfig) -> None:
    """Raise GenirError if no list has two different grades, because the loss would then have nothing to compare.

    The loss s_dpo also needs a candidate with grade 0. The loss sft compares nothing, and a teacher may have graded all
    candidates of a list alike, so both are exempt.
    """
    real, grades = torch.from_numpy(lists.doc_indices >= 0), lists.grades.float()
    best = grades.masked_fill(~real, -torch.inf).amax(1, keepdim=True)
    worse = grades == 0 if settings.loss == "s_dpo" else grades < best
    if settings.loss != "sft" and settings.teacher is None and not (real & worse).any():
        raise GenirError(
            f"{name}: none of the {len(lists.doc_indices):,} candidate lists has a negative: no candidates were found, "
            "or all of them are relevant or share a docid with a relevant document. Raise "
            f"{name}.beam_candidates or {name}.mined_candidates, or widen negatives.bands"
        )


def make_preference_loss(retriever: Retriever, settings: PreferenceConfig) -> Loss:
    """Return the loss function of a refinement section for the trainer; it returns one value per query [B].

    If sft_coef or dpop_coef, the remedies for likelihood displacement, is above 0, the supervised loss or the penalty
    of DPO-Positive is added, multiplied by its coefficient.
    """

    def loss(policy: Tensor, batch: dict[str, Tensor]) -> Tensor:
        reference = batch["reference"]
        if settings.mean_logps:
            codes = retriever.index.trie_on(policy.device).generated_codes(batch["leaves"])
            length = (codes >= 0).sum(-1)
            policy, reference = policy / length, reference / length
        c = CandidateBatch(policy, reference, batch["grades"], batch["mask"])
        value = irpo_loss(c, settings) if settings.loss == "irpo" else LOSSES[settings.loss](c, settings.beta)
        if settings.sft_coef:
            value = value + settings.sft_coef * sft(c, settings.beta)
        if settings.dpop_coef:
            value = value + settings.dpop_coef * dpop_penalty(c)
        return value

    return loss


def irpo_loss(c: CandidateBatch, settings: PreferenceConfig) -> Tensor:
    """Compute IRPO's loss with the section's irpo_options, which settle what the paper leaves open; returns [B]."""
    options = settings.irpo_options
    scores = {"ideal": None, "policy": c.policy, "reference": c.reference}[options.discount_by]
    positions = None if scores is None else ranks(scores.masked_fill(~c.mask, -torch.inf))
    return irpo(c, settings.beta, positions, options.self_term, options.average_others, options.normalize_weights)


def _make_evaluator(
    config: Config,
    settings: PreferenceConfig,
    policy: Retriever,
    reference: Retriever,
    data: PreparedCollection,
    work: Path,
) -> Callable[[], dict[str, float]]:
    """Return a function that computes the measures on dev queries and the diagnostics of their candidate lists.

    The negatives of the dev lists come from the beam search of the reference alone.
    """
    search = make_dev_evaluator(config, settings, policy, data)
    texts = {query.id: query.text for query in data.queries("dev")[: settings.eval_queries]}
    judged = {query: grades for query, grades in qrels(data.judgments("dev")).items() if query in texts}
    examples = label_queries(texts, judged, policy.table.doc_indices)
    beam_only = settings.model_copy(update={"beam_candidates": max(settings.beam_candidates, MIN_DEV_BEAM)})
    lists = build_candidate_lists(reference, reference, examples, {}, {}, beam_only, work)
    return lambda: search() | compute_diagnostics(policy, lists, settings)


def warn_of_displacement(name: str, log: Sequence[Mapping[str, Any]]) -> None:
    """Print a warning with remedies if the positives of the dev queries lost much probability during refinement."""
    found = [entry["eval_positive_logp"] for entry in log if "eval_positive_logp" in entry]
    drop = found[0] - min(found)
    if drop > LOGP_DROP_TO_WARN:
        print_warning(
            f"{name}: the mean log-probability of dev positives fell by {drop:.2f} (their "
            f"probability to {math.exp(-drop):.0%} of its first value), so a beam search may prune them. "
            f"Remedies: {name}.sft_coef=0.1, {name}.dpop_coef=1, or a larger {name}.beta"
        )
