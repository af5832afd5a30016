"""The prefixes that a search considered, as a tree: what it kept, what became a hit, and the best of what it pruned.

Codes without alternatives have the probability 1. They make no node of their own: they belong to the prefix that they
continue.

Shapes: c children of all beams of a level.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from genir.decoding.index import DocumentIndex
from genir.decoding.search import TracedLevel
from genir.decoding.topk import topk_mask
from genir.docids.labels import DocidLabels
from genir.docids.trie import Children
from genir.scoring.masses import Masses
from genir.scoring.softmax import segment_log_softmax

SHOWN_PRUNED = 5
"""How many of the prefixes that were pruned at a level the tree shows, the most likely ones."""
Status: TypeAlias = Literal["kept", "pruned", "hit"]


@dataclass
class Prefix:
    """A prefix of docids that a search considered.

    text, label: the readable form of all its codes, and of those that its parent lacks; the number of a document that
    shares its docid after #. codes: all its codes, with those that follow without alternatives; if only one
    document begins with it, the rest of that document's docid. Documents that share a docid are told apart by one more
    code, their number. level: number of codes up to the last one that has alternatives, 0 for the root. status: "kept"
    as a beam, "pruned", or "hit" if it is one of the k documents found. documents: how many begin with it. logp: log p
    of the prefix. prior: what the experts alone would give it: the log of its share of the prior mass. code_logp,
    code_prior: the same for the code of `level` alone, given the codes before it. shared: whether that code is the
    number of a document that shares its docid, about which the model has no opinion. rank: that of a hit. doc_id,
    title: the document, if there is only one. children: the prefixes one code longer that are shown, most likely first.
    others, others_logp: how many more the search considered and pruned, and the log of their total probability.
    """

    codes: tuple[int, ...]
    level: int
    status: Status
    documents: int
    logp: float = 0.0
    prior: float = 0.0
    code_logp: float = 0.0
    code_prior: float = 0.0
    shared: bool = False
    text: str = ""
    label: str = ""
    rank: int | None = None
    doc_id: str | None = None
    title: str | None = None
    children: list["Prefix"] = field(default_factory=list)
    others: int = 0
    others_logp: float = -torch.inf

    @property
    def p(self) -> float:
        """The probability of the prefix."""
        return math.exp(self.logp)

    @property
    def others_p(self) -> float:
        """The total probability of the prefixes one code longer that are not shown."""
        return math.exp(self.others_logp)

    @property
    def model(self) -> float:
        """What the model changes in the log-probability of the prefix: logp - prior."""
        return self.logp - self.prior

    @property
    def code_model(self) -> float:
        """What the model changes in the log-probability of the last code that has alternatives."""
        return self.code_logp - self.code_prior

    def to_dict(self) -> dict[str, Any]:
        """The prefix and those below it as JSON types; what is -inf is None."""
        fields = {name: value for name, value in vars(self).items() if name != "children"}
        fields |= {"codes": list(self.codes), "model": self.model, "code_model": self.code_model}
        fields["others_logp"] = self.others_logp if self.others else None
        return fields | {"children": [child.to_dict() for child in self.children]}


class LevelCounts(NamedTuple):
    """What became of the prefixes of one level.

    level: their number of codes. considered, kept, hits: how many the search considered, kept as beams, and found to
    be among the k best documents; it pruned the others. pruned_p: the probability of those that it pruned, together.
    """

    level: int
    considered: int
    kept: int
    hits: int
    pruned_p: float


def build_prefix_tree(
    trace: Sequence[TracedLevel], masses: Masses, index: DocumentIndex, leaves: Sequence[int]
) -> Prefix:
    """Build the tree of the prefixes that a search of one query considered; returns the root, the empty docid.

    trace: what the search recorded. masses: the prior masses of the query. leaves: the documents found, best first.
    """
    ranks = {leaf: rank for rank, leaf in enumerate(leaves, 1)}
    root = Prefix((), 0, "kept", index.trie.size)
    if root.documents == 1:
        _end_at(root, 0, index, ranks)
    beams = [root]
    for level in trace:
        beams = _add_level(beams, level, masses, index, ranks)
    _write_labels(root, index.labels)
    return root


def _write_labels(node: Prefix, labels: DocidLabels) -> None:
    """Write the codes of a prefix, and of those below it, as text."""
    start = max(node.level - 1, 0)
    if node.shared:
        node.label = f"#{node.codes[start]}"
        node.text = f"{labels.write(node.codes[:start])} {node.label}"
    else:
        node.text, node.label = labels.write(node.codes), labels.write_rest(node.codes, start)
    for child in node.children:
        _write_labels(child, labels)


def _add_level(
    beams: list[Prefix], traced: TracedLevel, masses: Masses, index: DocumentIndex, ranks: dict[int, int]
) -> list[Prefix]:
    """Add the children of the beams to the tree, and return those that are beams of the next level."""
    level, live, children, logps, continued = traced
    parent, scores, sizes = children.parent, live.score[children.parent] + logps, children.last - children.first
    log_masses = masses.log_masses(level, live.query, live.first, live.last, children)
    priors = segment_log_softmax(log_masses, parent, len(beams))
    shared = ~masses.trie.is_generated(level, live.first)[parent]
    has_siblings = parent.bincount(minlength=len(beams))[parent] > 1
    shown = continued | _find_hits(children, [*ranks])
    shown |= topk_mask(scores.masked_fill(shown | ~has_siblings, -torch.inf).unsqueeze(0), SHOWN_PRUNED)[0]
    _count_others(beams, parent[~shown], scores[~shown])
    columns = (parent, children.code, children.first, has_siblings, continued, sizes, scores, priors, logps, shared)
    following = []
    for number, code, leaf, has_sibling, is_continued, documents, logp, prior, code_logp, is_shared in zip(
        *(x[shown].tolist() for x in columns), strict=True
    ):
        node, codes, total = beams[number], (*beams[number].codes, code), beams[number].prior + prior
        if has_sibling:
            status: Status = "kept" if is_continued else "pruned"
            node = Prefix(codes, level + 1, status, documents, logp, total, code_logp, prior, is_shared)
            beams[number].children.append(node)
            if documents == 1:
                _end_at(node, leaf, index, ranks)
        else:
            node.codes = codes
        if is_continued:
            following.append(node)
    for beam in beams:
        beam.children.sort(key=lambda child: -child.logp)
    return following


def count_levels(trace: Sequence[TracedLevel], leaves: Sequence[int]) -> list[LevelCounts]:
    """Count what became of the prefixes of each level; levels at which no beam had a choice are left out."""
    counts = []
    for level, live, children, logps, continued in trace:
        found = _find_hits(children, leaves)
        kept, hits = int(continued.sum()), int(found.sum())
        pruned = (live.score[children.parent] + logps)[~continued & ~found].double().exp().sum()
        if len(children.parent) > len(live.query):
            counts.append(LevelCounts(level + 1, len(children.parent), kept, hits, float(pruned)))
    return counts


def _find_hits(children: Children, leaves: Sequence[int]) -> Tensor:
    """Which children [c] are one of the documents of these leaves."""
    return (children.last - children.first == 1) & torch.isin(children.first, children.first.new_tensor(leaves))


def _count_others(beams: list[Prefix], parent: Tensor, scores: Tensor) -> None:
    """Record how many children of the beams are not shown, and how likely they are together."""
    counts = parent.bincount(minlength=len(beams)).tolist()
    sums = scores.new_zeros(len(beams), dtype=torch.float64).index_add(0, parent, scores.double().exp())
    for beam, count, logp in zip(beams, counts, sums.log().tolist(), strict=True):
        beam.others, beam.others_logp = count, logp


def _end_at(node: Prefix, leaf: int, index: DocumentIndex, ranks: dict[int, int]) -> None:
    """Complete a prefix with which only the document of `leaf` begins."""
    doc_index = int(index.trie.doc_indices[leaf])
    if not node.shared:
        node.codes = index.table.docid_of(doc_index)
    node.doc_id, node.title = index.table.doc_ids[doc_index], index.table.titles[doc_index]
    node.rank = ranks.get(leaf)
    if node.rank is not None:
        node.status = "hit"
