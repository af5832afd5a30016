"""The ddro and irpo stages: refine a retriever on candidate lists, against the frozen one that it starts from."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import set_seed

from genir.collection.prepared import PreparedCollection
from genir.config import TRAINING_STAGES, Config, PreferenceConfig
from genir.console import console
from genir.docids.table import DocidTable
from genir.errors import GenirError, error_at
from genir.evaluation.trec import qrels
from genir.files import atomic_folder, numbered_lines, read_json, write_json
from genir.losses import LOSSES, CandidateBatch, floor, irpo, ranks, sft
from genir.model import DocidModel
from genir.pipeline.stage import Stage
from genir.retriever import Retriever
from genir.t5.loading import load_t5, set_dropout, silence_transformers
from genir.training.candidate_lists import (
    CandidateLists,
    Mined,
    PreferenceCollator,
    PreferenceData,
    build_candidate_lists,
    draw_examples,
)
from genir.training.checkpoints import finish, work_folder
from genir.training.dev import dev_measures, diagnostics
from genir.training.examples import ExampleStream, labelled_queries
from genir.training.sft import pseudo_queries, train_queries
from genir.training.teacher import open_teacher
from genir.training.trainer import Places, fit

FALL_THAT_WARNS = 1.0  # nats of the dev positives' log-prob below where the stage started


def stage(name: str, before: str) -> Stage:
    """The record of stage `name`, which starts from `before`."""
    reads = ("collection", "docids", before, "negatives?", "pseudo_queries?")
    return Stage(name, settings=(name,), reads=reads, writes=(name,))


def main(config: Config, name: str, before: str) -> None:
    """Train from RUN/BEFORE with the losses and candidates of section `name`, in rounds, and leave RUN/NAME."""
    settings: PreferenceConfig = getattr(config, name)
    run = config.run_folder
    data = PreparedCollection(run / "collection")
    reads = ["collection", "docids", before]
    reads += [path for path in ("negatives", "pseudo_queries") if (run / path).exists()]
    work = work_folder(config, name, settings.model_dump(mode="json"), reads)
    set_seed(config.seed)
    policy, reference = (Retriever.from_pretrained(run / before) for _ in range(2))
    set_dropout(policy.model.t5, 0.0)  # policy and reference are compared: noise in one of them would be a difference
    log: list[dict[str, Any]] = []
    for number in range(1, settings.rounds + 1):
        log += _round(config, name, policy, reference, data, number, work)
        if settings.update_reference:
            reference.model.t5.load_state_dict(policy.model.t5.state_dict())
    warn_of_displacement(name, log)
    finish(config, name, policy, log, work)


def _round(
    config: Config,
    name: str,
    policy: Retriever,
    reference: Retriever,
    data: PreparedCollection,
    number: int,
    work: Path,
) -> list[dict[str, Any]]:
    """Draw candidates from the policy, train on them, and keep the best weights; a finished round is only loaded."""
    settings: PreferenceConfig = getattr(config, name)
    done = work / f"done-{number}"
    if not done.exists():
        seed = ((config.seed * 10 + TRAINING_STAGES.index(name)) * 1000 + number) % 2**32  # what numpy takes
        table = policy.table
        queries = train_queries(data, table)
        judged = {query.query_id: query.doc_indices for query in queries}
        stream = ExampleStream(
            settings.pool_size,
            seed,
            settings.mix,
            data.documents,
            queries,
            pseudo_queries(config.run_folder, table) if "pseudo_queries" in settings.mix else [],
            settings,
        )
        mined = (
            read_negatives(config.run_folder / "negatives" / "negatives.jsonl", table)
            if settings.mined_candidates
            else {}
        )
        teacher = None if settings.teacher is None else open_teacher(settings.teacher, table, data.documents)
        pool = build_candidate_lists(policy, reference, draw_examples(stream), judged, mined, settings, work, teacher)
        require_differences(name, pool, settings)
        log = fit(
            policy.model,
            PreferenceData(pool, settings.steps * settings.batch_size, settings, seed),
            PreferenceCollator(policy, pool, settings.max_tokens),
            preference_loss(settings),
            _measures(config, settings, policy, reference, data, work),
            settings,
            settings.steps,
            settings.learning_rate,
            seed,
            Places(work / f"round-{number}", config.run_folder / "logs" / f"{name}-{number}"),
            f"{name} {number}/{settings.rounds}",
        )
        with atomic_folder(done) as folder, silence_transformers():
            policy.model.t5.save_pretrained(folder)
            write_json(folder / "log.json", [entry | {"stage": number} for entry in log])
    policy.model = DocidModel(load_t5(str(done)), policy.model.layout, policy.model.normalize)
    return list(read_json(done / "log.json"))


def require_differences(name: str, pool: CandidateLists, settings: PreferenceConfig) -> None:
    """Raise where no list has two grades: a loss that compares would be trained on nothing."""
    there, grades = torch.from_numpy(pool.doc_indices >= 0), pool.grades.float()
    best = grades.masked_fill(~there, -torch.inf).amax(1, keepdim=True)
    worse = grades == 0 if settings.loss == "s_dpo" else grades < best
    if settings.loss != "sft" and settings.teacher is None and not (there & worse).any():
        raise GenirError(
            f"{name}: none of its {len(pool.doc_indices):,} lists has a negative: nothing was found, or what was found is "
            f"relevant, or shares a docid with a relevant document. Raise {name}.beam_candidates or {name}.mined_candidates, or widen "
            "negatives.bands"
        )


def preference_loss(settings: PreferenceConfig) -> Callable[[DocidModel, dict[str, Tensor]], Tensor]:
    """The section's loss and remedies, as the trainer takes it: one value a query [B]."""

    def loss(model: DocidModel, batch: dict[str, Tensor]) -> Tensor:
        encoded = model.encode(batch["input_ids"], batch["attention_mask"])
        policy = model.sequence_logps(encoded, batch["codes"], settings.candidate_chunk)
        reference = batch["reference"]
        if settings.mean_logps:
            length = (batch["codes"] >= 0).sum(-1)
            policy, reference = policy / length, reference / length
        c = CandidateBatch(policy, reference, batch["grades"], batch["mask"])
        value = irpo_loss(c, settings) if settings.loss == "irpo" else LOSSES[settings.loss](c, settings.beta)
        if settings.sft_coef:
            value = value + settings.sft_coef * sft(c, settings.beta)
        if settings.dpop_coef:
            value = value + settings.dpop_coef * floor(c)
        return value

    return loss


def irpo_loss(c: CandidateBatch, settings: PreferenceConfig) -> Tensor:
    """IRPO with the section's choices where the paper leaves them open."""
    options = settings.irpo_options
    scores = {"ideal": None, "policy": c.policy, "reference": c.reference}[options.discount_by]
    positions = None if scores is None else ranks(scores.masked_fill(~c.mask, -torch.inf))
    return irpo(c, settings.beta, positions, options.self_term, options.average_others, options.normalize_weights)


def _measures(
    config: Config,
    settings: PreferenceConfig,
    policy: Retriever,
    reference: Retriever,
    data: PreparedCollection,
    work: Path,
) -> Callable[[], dict[str, float]]:
    """Retrieval measures on dev, and what happens to the log-probs of dev positives and negatives."""
    search = dev_measures(config, settings, policy, data)
    texts = {query.id: query.text for query in data.queries("dev")[: settings.eval_queries]}
    judged = {query: grades for query, grades in qrels(data.judgments("dev")).items() if query in texts}
    examples = labelled_queries(texts, judged, policy.table.doc_indices)
    alone = settings.model_copy(update={"beam": max(settings.beam_candidates, 10)})
    pool = build_candidate_lists(reference, reference, examples, {}, {}, alone, work)
    return lambda: search() | diagnostics(policy, pool, settings)


def read_negatives(path: Path, table: DocidTable) -> Mined:
    """The rows of each train query's mined negatives; empty when none were mined."""
    mined: dict[str, list[int]] = {}
    if not path.exists():
        return mined
    for line, text in numbered_lines(path):
        try:
            entry = json.loads(text)
            mined[entry["query_id"]] = [table.doc_indices[negative["doc_id"]] for negative in entry["negatives"]]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise error_at(path, line, f"not a line that the negatives stage wrote ({error!r}); run it again") from None
    return mined


def warn_of_displacement(name: str, log: Sequence[Mapping[str, Any]]) -> None:
    """Say it when the positives lost probability while the margin grew, and what to do."""
    found = [entry["eval_positive_logp"] for entry in log if "eval_positive_logp" in entry]
    fall = found[0] - min(found)
    if fall > FALL_THAT_WARNS:
        console.print(
            f"[yellow]warning:[/] {name}: the log-prob of dev positives fell by {fall:.2f} (their probability to "
            f"{math.exp(-fall):.0%}), so a beam may prune them. Remedies: {name}.sft_coef=0.1, {name}.dpop_coef=1, or "
            f"a larger {name}.beta"
        )
