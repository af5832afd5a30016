"""The baseline of the decoding benchmarks: beam search by Hugging Face's `generate`, constrained by a trie of dicts.

For a model with softmax_over "trie", the log masses of the children are added to the logits, and each step is
normalised over the children, which gives the scores of `genir.scoring`.

Shapes: B queries, S source tokens, k docids asked for, N documents, L levels.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, PrefixConstrainedLogitsProcessor

from genir.model import DocidModel


@dataclass(slots=True)
class DictTrie:
    """A node of a trie: the documents first .. last - 1 below it, in docid order, and its children by their tokens."""

    first: int = 0
    last: int = 0
    children: dict[int, "DictTrie"] = field(default_factory=dict)

    def find(self, tokens: list[int]) -> "DictTrie | None":
        """Find the node that some tokens lead to; None if no docid begins with them."""
        node = self
        for token in tokens:
            child = node.children.get(token)
            if child is None:
                return None
            node = child
        return node


def make_dict_trie(tokens: Tensor) -> DictTrie:
    """Build the trie of documents whose docids are given as tokens [N, L]; a negative token ends a docid.

    The documents must be in docid order, as in `genir.docids.trie.Trie`. Raises ValueError if those with the same
    beginning are not next to each other.
    """
    root = DictTrie()
    for number, docid in enumerate(tokens.tolist()):
        node = root
        node.last = number + 1
        for token in docid:
            if token < 0:
                break
            if token not in node.children:
                node.children[token] = DictTrie(number, number)
            node = node.children[token]
            if node.last != number:
                raise ValueError(f"document {number} is not next to the others whose docids begin as its own")
            node.last = number + 1
    return root


class AddLogMasses(LogitsProcessor):
    """Add the log mass of each child to its logit; see `genir.scoring.masses`.

    log_priors [B, N]: the log prior mass of each document, in docid order; -inf leaves a document out.
    """

    def __init__(self, root: DictTrie, log_priors: Tensor, beams: int) -> None:
        self.root, self.beams = root, beams
        # The largest mass of a query is 1, so that no sum can overflow.
        log_priors = log_priors.double().cpu()
        self.masses: NDArray[np.float64] = (log_priors - log_priors.amax(1, True)).exp().numpy()

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Change the scores [B * beams, V] of the tokens that may follow input_ids [B * beams, T], in place."""
        rows, tokens, values = [], [], []
        for row, written in enumerate(input_ids.tolist()):
            node = self.root.find(written[1:])
            if node is None or not node.children:
                continue
            starts = [child.first for child in node.children.values()]
            masses = np.add.reduceat(self.masses[row // self.beams, : node.last], starts)
            if masses.any():  # else it is a beam without documents, which `generate` needs to fill up the others
                rows += [row] * len(starts)
                tokens += list(node.children)
                values.append(masses)
        if values:
            with np.errstate(divide="ignore"):
                scores[rows, tokens] += torch.from_numpy(np.log(np.concatenate(values))).to(scores)
        return scores


def generate(
    model: DocidModel,
    root: DictTrie,
    input_ids: Tensor,
    attention_mask: Tensor,
    beams: int,
    k: int,
    log_priors: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Find k docids for each query among those of a trie, by beam search.

    root: see `make_dict_trie`. input_ids, attention_mask: [B, S]. log_priors [B, N]: see `AddLogMasses`; None means
    that all documents have the same prior mass. A model with softmax_over "full" does not use them.
    Returns their tokens [B, k, L] and log-probabilities [B, k], where L is the length of the longest docid found.
    """

    def list_allowed_tokens(batch: int, written: Tensor) -> list[int]:
        node = root.find(written.tolist()[1:])
        return list(node.children) if node is not None and node.children else [0]

    processors: list[LogitsProcessor] = [PrefixConstrainedLogitsProcessor(list_allowed_tokens, beams)]
    if model.softmax_over == "trie":
        priors = torch.zeros(len(input_ids), root.last) if log_priors is None else log_priors
        processors.append(AddLogMasses(root, priors, beams))
    t5: Any = model.t5
    output = t5.generate(
        input_ids=input_ids,
        attention_mask=attention_mask,
        num_beams=beams,
        num_return_sequences=k,
        max_new_tokens=len(model.layout.sizes),
        length_penalty=0.0,
        logits_processor=LogitsProcessorList(processors),
        renormalize_logits=model.softmax_over == "trie",
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
