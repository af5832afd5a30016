"""Measures on the dev queries while a model is trained."""

from collections.abc import Callable

import torch
from torch import Tensor

from genir.collection.prepared import PreparedCollection
from genir.config import Config, LoopConfig, PreferenceConfig
from genir.evaluation.measures import measure
from genir.evaluation.trec import qrels
from genir.losses import CandidateBatch, better, ches
from genir.retriever import Retriever
from genir.tokenizer import tokenize
from genir.training.candidate_lists import CandidateLists, candidate_codes


def dev_measures(
    config: Config, settings: LoopConfig, retriever: Retriever, data: PreparedCollection
) -> Callable[[], dict[str, float]]:
    """A function that searches the first dev queries and returns the mean of each measure."""
    queries = data.queries("dev")[: settings.eval_queries]
    wanted = {query.id for query in queries}
    judged = {query_id: grades for query_id, grades in qrels(data.judgments("dev")).items() if query_id in wanted}
    k = config.evaluate.cutoff

    def evaluate() -> dict[str, float]:
        hits = retriever.search_many([query.text for query in queries], k, beams=max(k, settings.eval_beams))
        ranks = [{hit.doc_id: -float(hit.rank) for hit in found} for found in hits]
        values = measure(dict(zip((q.id for q in queries), ranks, strict=True)), judged, config.evaluate.measures)
        return {name: sum(by_query.values()) / len(by_query) for name, by_query in values.items()}

    return evaluate


def diagnostics(policy: Retriever, pool: CandidateLists, settings: PreferenceConfig) -> dict[str, float]:
    """What refinement did to a pool's log-probs: their means over positives and negatives, the margin and accuracy of
    delta = policy - reference over all pairs, and CHES of the best negative.
    """
    parts = [
        _scored(policy, pool, slice(start, start + settings.batch_size), settings.max_tokens)
        for start in range(0, len(pool.texts), settings.batch_size)
    ]
    logps, alike = (torch.cat(x) for x in zip(*parts, strict=True))
    mask = torch.from_numpy(pool.doc_indices >= 0)
    c = CandidateBatch(logps, pool.reference, pool.grades, mask)
    margin = (c.delta.unsqueeze(2) - c.delta.unsqueeze(1))[better(c)]
    return {
        "positive_logp": float(logps[mask & (pool.grades > 0)].mean()),
        "negative_logp": float(logps[mask & (pool.grades <= 0)].mean()),
        "margin": float(margin.mean()),
        "accuracy": float((margin > 0).float().mean()),
        "ches": float(alike.mean()),
    }


@torch.inference_mode()
def _scored(policy: Retriever, pool: CandidateLists, part: slice, max_tokens: int) -> tuple[Tensor, Tensor]:
    """Log-probs [B, C] of a part of the pool, and CHES [B] of its first positive and first negative."""
    model = policy.model
    training = model.t5.training
    model.t5.train(False)
    rows = pool.doc_indices[part]
    inputs = {k: x.to(model.device) for k, x in tokenize(policy.tokenizer, pool.texts[part], max_tokens).items()}
    encoded = model.encode(**inputs)
    codes = candidate_codes(policy.table, rows).to(model.device)
    logps = model.sequence_logps(encoded, codes).cpu().masked_fill(torch.from_numpy(rows < 0), 0)
    negative = (pool.grades[part] > 0).sum(-1).clamp(max=rows.shape[1] - 1)
    pair = torch.stack([torch.zeros_like(negative), negative], 1).to(model.device)
    hidden = model.docid_states(encoded, codes.gather(1, pair.unsqueeze(-1).expand(-1, -1, codes.shape[-1])))
    model.t5.train(training)
    return logps, ches(hidden[:, 0], hidden[:, 1]).cpu()
