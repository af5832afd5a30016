"""The baseline of the decoding benchmarks: beam search by Hugging Face's `generate`, constrained by a trie of dicts.

Shapes: B queries, S source tokens, k docids asked for, N docids, L levels.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, PrefixConstrainedLogitsProcessor

from genir.docids.table import CodeLayout
from genir.model import DocidModel


class LevelSoftmax(LogitsProcessor):
    """Normalise each step of `generate` over the codebook of its level, as a model with softmax_over "level" does."""

    def __init__(self, layout: CodeLayout) -> None:
        self.layout = layout

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Normalise the scores [B * beams, V] of the next token in place, but only those of the level's codes."""
        level = input_ids.shape[1] - 1
        start = self.layout.base + self.layout.offsets[level]
        codes = slice(start, start + self.layout.sizes[level])
        scores[:, codes] = scores[:, codes].log_softmax(-1)
        return scores


def make_dict_trie(tokens: Tensor) -> dict[int, Any]:
    """Build the trie of docids, given as tokens [N, L], as nested dicts; a negative token ends a docid."""
    root: dict[int, Any] = {}
    for docid in tokens.tolist():
        node = root
        for token in docid:
            if token < 0:
                break
            node = node.setdefault(token, {})
    return root


def generate(
    model: DocidModel, root: dict[int, Any], input_ids: Tensor, attention_mask: Tensor, beams: int, k: int
) -> tuple[Tensor, Tensor]:
    """Find k docids for each query among those of a trie of dicts, by beam search.

    root: see `make_dict_trie`. input_ids, attention_mask: [B, S].
    Returns their tokens [B, k, L] and log-probabilities [B, k], where L is the length of the longest docid found.
    """

    def list_allowed_tokens(batch: int, written: Tensor) -> list[int]:
        node = root
        for token in written.tolist()[1:]:
            node = node.get(token, {})
        return list(node) or [0]

    processors: list[LogitsProcessor] = [PrefixConstrainedLogitsProcessor(list_allowed_tokens, beams)]
    if model.softmax_over == "level":
        processors.insert(0, LevelSoftmax(model.layout))
    t5: Any = model.t5
    output = t5.generate(
        input_ids=input_ids,
        attention_mask=attention_mask,
        num_beams=beams,
        num_return_sequences=k,
        max_new_tokens=len(model.layout.sizes),
        length_penalty=0.0,
        logits_processor=LogitsProcessorList(processors),
        return_dict_in_generate=True,
        output_scores=True,
        do_sample=False,
        eos_token_id=t5.config.eos_token_id if model.layout.text else None,
        pad_token_id=0,
    )
    queries = len(input_ids)
    return output.sequences[:, 1:].view(queries, k, -1), output.sequences_scores.view(queries, k)


def compare_rankings(theirs: tuple[Tensor, Tensor], ours: tuple[Tensor, Tensor]) -> str:
    """Compare the results of two searches: "yes" if they are the same, "ties" if only the order differs, else "no".

    theirs, ours: tokens [B, k, L] and scores [B, k]. "ties" means the same docids, and scores that differ by at most
    1e-4. In alphabetical order "ties" is between the others, so that `min` gives the worst of several answers.
    """
    if torch.equal(theirs[0], ours[0]):
        return "yes"
    their_docids, our_docids = ([set(map(tuple, docids)) for docids in found[0].tolist()] for found in (theirs, ours))
    same = their_docids == our_docids and torch.allclose(theirs[1], ours[1], rtol=0, atol=1e-4)
    return "ties" if same else "no"
