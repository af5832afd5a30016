"""Which docids beams keep, told afterwards, is what a search that goes level by level does."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genir.decoding.forced import simulate_beam


def kept(docids, logp, start, beams):
    """Those of some docids (tuples) that a plain beam search finishes, which has all their first `start` codes."""
    live, found = {docid[:start] for docid in docids}, set()
    while live:
        level = len(next(iter(live))) + 1
        grown = {docid[:level] for docid in docids if docid[: level - 1] in live and len(docid) >= level}
        ranked = sorted(grown, key=lambda prefix: (-logp[prefix], prefix))
        found |= {prefix for prefix in ranked[:beams] if prefix in docids}
        live = set([prefix for prefix in ranked if prefix not in docids][:beams])
    return found


@st.composite
def prefix_free(draw):
    """Docids of unequal lengths; a code of 0 ends one."""
    longest = draw(st.integers(2, 5))
    drawn = draw(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=longest - 1), min_size=1, max_size=25))
    return sorted({(*docid, 0) for docid in drawn})


@settings(deadline=None, max_examples=200)
@given(st.lists(prefix_free(), min_size=1, max_size=3), st.integers(1, 6), st.integers(0, 1), st.data())
def test_it_keeps_what_a_plain_beam_search_finishes(queries, beams, start, data):
    width = max(len(docid) for docids in queries for docid in docids)
    rows, wanted = [], []
    for number, docids in enumerate(queries):
        prefixes = sorted({docid[:m] for docid in docids for m in range(1, len(docid) + 1)}, key=len)
        logp = {(): 0.0}
        for prefix in prefixes:
            logp[prefix] = logp[prefix[:-1]] - data.draw(st.integers(0, 3))  # ties too
        told_once = data.draw(st.booleans())
        for docid, after in zip(docids, [*docids[1:], ()], strict=True):
            padding = width - len(docid)
            scores = [logp[docid[:m]] for m in range(1, len(docid) + 1)]
            alike = next(m for m in range(len(docid)) if docid[: m + 1] != after[: m + 1]) if told_once else 0
            scores[:alike] = [-torch.inf] * alike
            rows.append((number, [*docid, *[-1] * padding], [*scores, *[-torch.inf] * padding]))
        found = kept(set(docids), logp, start, beams)
        wanted += [docid in found for docid in docids]
    query, codes, scores = (torch.tensor(x) for x in zip(*rows, strict=True))
    assert simulate_beam(query, codes, torch.full_like(query, start), scores, beams).tolist() == wanted
