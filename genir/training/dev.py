"""Evaluation on dev queries during training: retrieval measures, and how refinement changes log-probabilities.

Shapes: P candidate lists, C candidates per list at most, B lists of a batch, D model width.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from genir.collection.prepared import PreparedCollection
from genir.config import Config, LoopConfig, PreferenceConfig
from genir.evaluation.measures import measure
from genir.evaluation.trec import qrels
from genir.losses import CandidateBatch, ches, preferred_pairs
from genir.processes import gather_shares, take_share
from genir.retriever import Retriever
from genir.retriever.divided_search import search_over_processes
from genir.tokenizer import tokenize
from genir.training.candidate_lists import CandidateLists, candidate_logps, gather_candidate_codes


def make_dev_evaluator(
    config: Config, settings: LoopConfig, retriever: Retriever, data: PreparedCollection
) -> Callable[[], dict[str, float]]:
    """Return a function that searches the first eval_queries dev queries and returns the mean of each measure.

    The function searches with the current weights of the retriever; its result maps the names of evaluate.measures to
    their means.
    """
    queries = data.queries("dev")[: settings.eval_queries]
    wanted = {query.id for query in queries}
    judged = {query_id: grades for query_id, grades in qrels(data.judgments("dev")).items() if query_id in wanted}
    k = config.evaluate.cutoff + data.ignores_identical_ids

    def evaluate() -> dict[str, float]:
        texts = [query.text for query in queries]
        hits = search_over_processes(retriever, texts, k, beams=max(k, settings.eval_beams))
        ranks = {
            query.id: {hit.doc_id: -float(hit.rank) for hit in found if not data.is_ignored(query.id, hit.doc_id)}
            for query, found in zip(queries, hits, strict=True)
        }
        values = measure(ranks, judged, config.evaluate.measures)
        return {name: sum(by_query.values()) / len(by_query) for name, by_query in values.items()}

    return evaluate


def compute_diagnostics(policy: Retriever, lists: CandidateLists, settings: PreferenceConfig) -> dict[str, float]:
    """Compute how refinement has changed the log-probabilities of candidate lists.

    With delta = policy - reference, the keys of the result are:
    positive_logp, negative_logp: mean log-probability of the positives and of the negatives.
    margin: mean of delta(d+) - delta(d-) over all pairs with different grades, where d+ has the higher grade.
    accuracy: fraction of these pairs for which the difference is positive.
    ches: mean CHES score of the first positive and the first negative of each list.
    """
    size = min(settings.batch_size, settings.micro_batch or settings.batch_size)
    slices = [slice(start, start + size) for start in take_share(range(0, len(lists.texts), size))]
    parts = gather_shares([_score_lists(policy, lists, part, settings) for part in slices])
    logps, similarity = (torch.cat(x) for x in zip(*parts, strict=True))
    mask = torch.from_numpy(lists.doc_indices >= 0)
    c = CandidateBatch(logps, lists.reference, lists.grades, mask)
    margin = (c.delta.unsqueeze(2) - c.delta.unsqueeze(1))[preferred_pairs(c)]
    return {
        "positive_logp": float(logps[mask & (lists.grades > 0)].mean()),
        "negative_logp": float(logps[mask & (lists.grades <= 0)].mean()),
        "margin": float(margin.mean()),
        "accuracy": float((margin > 0).float().mean()),
        "ches": float(similarity.mean()),
    }


@torch.inference_mode()
def _score_lists(
    policy: Retriever, lists: CandidateLists, part: slice, settings: PreferenceConfig
) -> tuple[Tensor, Tensor]:
    """Return log-probs [B, C] of the lists in `part`, and the CHES score [B] of their first positive and negative."""
    model = policy.model
    training = model.t5.training
    model.t5.train(False)
    doc_indices = lists.doc_indices[part]
    logps = candidate_logps(policy, lists.texts[part], doc_indices, settings, lists.seen_only[part]).cpu()
    inputs = tokenize(policy.tokenizer, lists.texts[part], settings.max_tokens)
    encoded = model.encode(**{name: x.to(model.device) for name, x in inputs.items()})
    codes = gather_candidate_codes(policy.table, doc_indices).to(model.device)
    negative = (lists.grades[part] > 0).sum(-1).clamp(max=doc_indices.shape[1] - 1)
    pair = torch.stack([torch.zeros_like(negative), negative], 1).to(model.device)
    hidden = model.docid_states(encoded, codes.gather(1, pair.unsqueeze(-1).expand(-1, -1, codes.shape[-1])))
    model.t5.train(training)
    return logps, ches(hidden[:, 0], hidden[:, 1]).cpu()
