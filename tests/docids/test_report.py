import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from genir.docids import DocidTable
from genir.docids.report import report

CODES = st.tuples(st.integers(2, 25), st.integers(1, 3)).flatmap(
    lambda shape: arrays(np.int32, shape, elements=st.integers(0, 2))
)


def table(codes, size=3):
    names = [f"d{i}" for i in range(len(codes))]
    return DocidTable(names, names, codes, (size,) * codes.shape[1], {"docids": {"collisions": "extend"}})


@given(CODES)
def test_figures_are_those_of_counting_tuples(codes):
    got = report(table(codes), codes, np.zeros((len(codes), 0), np.float32), 0)
    docids = [tuple(row) for row in codes.tolist()]
    counts = Counter(docids)
    assert got["unique_share"] == pytest.approx(sum(counts[docid] == 1 for docid in docids) / len(docids))
    assert got["largest_collision"] == max(counts.values())
    depth = Counter()
    for docid in docids:
        lengths = [n for n in range(1, len(docid) + 1) if sum(other[:n] == docid[:n] for other in docids) == 1]
        depth[min(lengths, default=len(docid) + 1)] += 1
    assert got["unique_depth"] == [depth[n] for n in range(1, codes.shape[1] + 2)]
    for level, figures in enumerate(got["levels"]):
        used = Counter(docid[level] for docid in docids)
        assert figures["used"] == len(used)
        entropy = -sum(n / len(docids) * math.log2(n / len(docids)) for n in used.values())
        assert figures["entropy_bits"] == pytest.approx(entropy, abs=1e-9)
        parents = {docid[:level] for docid in docids}
        assert figures["branching"] == pytest.approx(len({docid[: level + 1] for docid in docids}) / len(parents))


def test_docids_that_follow_the_vectors_share_prefixes_with_neighbours():
    rng = np.random.default_rng(0)
    subject = np.repeat(np.arange(10), 30)
    vectors = (np.eye(10)[subject] + rng.normal(0, 0.1, (300, 10))).astype(np.float32)
    meaning = np.column_stack([subject, np.tile(np.arange(30), 10)]).astype(np.int32)
    chance = meaning[rng.permutation(300)]
    by_meaning, by_chance = (
        {row["neighbours"]: row["shared"] for row in report(table(codes, 30), codes, vectors, 0)["shared_prefix"]}
        for codes in (meaning, chance)
    )
    assert by_meaning["1-1"] > 0.95
    assert by_meaning["random"] < 0.3
    assert by_chance["1-1"] < 0.3


def test_warnings_name_what_would_waste_a_training():
    same = np.zeros((20, 2), np.int32)
    words = " ".join(report(table(same, 5), same, np.zeros((20, 0), np.float32), 0)["warnings"])
    assert "only 0.0% of the documents have a docid of their own" in words
    assert "level 1 uses 1 of its 5 codes" in words
    numbered = np.column_stack([np.zeros(20), np.arange(20)]).astype(np.int32)
    words = " ".join(report(table(numbered, 20), numbered[:, :1], np.zeros((20, 0), np.float32), 0)["warnings"])
    assert "100.0% of the documents are told apart by their number in a collision alone" in words
    good = np.column_stack([np.arange(20) // 5, np.arange(20) % 5]).astype(np.int32)
    assert report(table(good, 5), good, np.zeros((20, 0), np.float32), 0)["warnings"] == []
