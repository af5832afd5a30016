"""The probability of one document, level by level: what the experts contribute and what the model does.

log p(d | q) is a sum over the levels at which the docid has siblings. At each of them the experts alone would give
log M_q(vc) - log M_q(v), the share of the node's prior mass that is below the code; the rest is the model's.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from genir.docids.labels import DocidLabels
from genir.docids.table import DocidTable
from genir.errors import make_printable, quote, shorten
from genir.model import DocidModel, Encoded
from genir.scoring.experts import Experts
from genir.scoring.logps import list_branchings, run_decoder
from genir.scoring.masses import Masses
from genir.scoring.softmax import child_logps, segment_log_softmax

_LONGEST_LABEL = 24


class LevelExplanation(NamedTuple):
    """One level of a docid at which it has siblings.

    level: counted from 1. code: its code; among documents that share a docid, the number of the document. siblings: how
    many codes may follow there. label: the code in readable form; such a number after #. logp: log p of the code.
    prior: what the experts alone would give it. model: logp - prior. shared: whether the siblings are documents that
    share the docid, among which the model does not choose.
    """

    level: int
    code: int
    label: str
    siblings: int
    logp: float
    prior: float
    model: float
    shared: bool


class Explanation(NamedTuple):
    """The score of a document for a query, and where it comes from.

    docid, docid_text: the document's codes, and their readable form. experts: the weighted score of each expert for the
    document. levels: the levels at which its docid has siblings; all others have the probability 1.
    """

    query: str
    doc_id: str
    docid: tuple[int, ...]
    docid_text: str
    experts: dict[str, float]
    levels: list[LevelExplanation]

    @property
    def score(self) -> float:
        """log p(d | q), the sum over the levels."""
        return sum(level.logp for level in self.levels)

    @property
    def prior(self) -> float:
        """What log p(d | q) would be by the experts alone."""
        return sum(level.prior for level in self.levels)

    @property
    def model(self) -> float:
        """What the model adds to the prior."""
        return sum(level.model for level in self.levels)

    def __str__(self) -> str:
        codes = [shorten(make_printable(level.label), _LONGEST_LABEL) for level in self.levels]
        width = max(6, *map(len, codes)) if codes else 6
        experts = "".join(f", {name} {score:.3f}" for name, score in self.experts.items())
        lines = [
            f"{make_printable(self.doc_id)} for {quote(self.query)}: log p {self.score:.3f} = prior {self.prior:.3f} + "
            f"model {self.model:+.3f}{experts}",
            f"{'level':>5}  {'code':>{width}}  {'siblings':>8}  {'log p':>8}  {'prior':>8}  {'model':>8}",
        ]
        for x, code in zip(self.levels, codes, strict=True):
            model = "-" if x.shared else f"{x.model:+.3f}"
            lines.append(
                f"{x.level:>5}  {code:>{width}}  {x.siblings:>8,}  {x.logp:>8.3f}  {x.prior:>8.3f}  {model:>8}"
            )
        return "\n".join(lines)


def explain_document(
    model: DocidModel,
    table: DocidTable,
    labels: DocidLabels,
    experts: Experts | None,
    query: str,
    doc_id: str,
    encoded: Encoded,
    masses: Masses,
    check: Callable[[], None] | None = None,
) -> Explanation:
    """Explain log p(d | q) of a document for one query; `encoded` and `masses` are of that query.

    check: see `genir.scoring.logps.document_logps`. Raises GenirError if the document does not exist.
    """
    doc_index = table.doc_index(doc_id)
    leaf = int(masses.trie.leaf_of[doc_index])
    scores = {} if experts is None else experts.explain(query, leaf)
    docid = table.docid_of(doc_index)

    def write_code(level: int) -> str:
        return labels.write_rest(docid[: level + 1], level)

    levels = _explain_levels(model, encoded, masses, leaf, write_code, check)
    return Explanation(query, doc_id, docid, labels.write(docid), scores, levels)


def _explain_levels(
    model: DocidModel,
    encoded: Encoded,
    masses: Masses,
    leaf: int,
    write_code: Callable[[int], str],
    check: Callable[[], None] | None,
) -> list[LevelExplanation]:
    """Explain the levels at which the docid of a leaf has siblings."""
    trie, leaves = masses.trie, torch.tensor([[leaf]], device=encoded.states.device)
    branchings = list_branchings(trie, leaves)
    depth = max((b.level for b in branchings if bool(trie.is_generated(b.level, b.first).all())), default=-1)
    states = run_decoder(model, encoded, trie, leaves, depth, check)[:, 0]
    result = []
    for level, row, first, last in branchings:
        if check is not None:
            check()
        children = trie.expand(level, first, last)

        def score(parent: Tensor, code: Tensor, level: int = level) -> Tensor:
            return model.child_logits(states[:, level], level, parent, code)

        logps = child_logps(masses, level, row, first, last, children, score)
        log_masses = masses.log_masses(level, row, first, last, children)
        shares = segment_log_softmax(log_masses, children.parent, 1)
        number = int(trie.child_numbers(level, first, leaves[0]))
        logp, prior = float(logps[number]), float(shares[number])
        code, shared = int(children.code[number]), not bool(trie.is_generated(level, first))
        label = f"#{code}" if shared else write_code(level)
        result.append(LevelExplanation(level + 1, code, label, len(logps), logp, prior, logp - prior, shared))
    return result
