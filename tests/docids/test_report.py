import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from genir.docids.report import make_report
from tests.helpers.docids import make_table

CODES = st.tuples(st.integers(2, 25), st.integers(1, 3)).flatmap(
    lambda shape: arrays(np.int32, shape, elements=st.integers(0, 2))
)


def report_on(codes, size=3, built=None, vectors=None):
    """Return the report on a table; it has no statistics of similarity unless vectors are given."""
    table = make_table(codes, (size,) * codes.shape[1], settings={"docids": {"collisions": "extend"}})
    vectors = np.zeros((len(codes), 0), np.float32) if vectors is None else vectors
    return make_report(table, codes if built is None else built, vectors, 0)


@given(CODES)
def test_the_statistics_equal_counts_over_tuples(codes):
    report = report_on(codes)
    docids = [tuple(row) for row in codes.tolist()]
    counts = Counter(docids)
    assert report["unique_share"] == pytest.approx(sum(counts[docid] == 1 for docid in docids) / len(docids))
    assert report["largest_collision"] == max(counts.values())
    depth = Counter()
    for docid in docids:
        lengths = [n for n in range(1, len(docid) + 1) if sum(other[:n] == docid[:n] for other in docids) == 1]
        depth[min(lengths, default=len(docid) + 1)] += 1
    assert report["unique_depth"] == [depth[n] for n in range(1, codes.shape[1] + 2)]
    for level, statistics in enumerate(report["levels"]):
        used = Counter(docid[level] for docid in docids)
        assert statistics["used"] == len(used)
        entropy = -sum(n / len(docids) * math.log2(n / len(docids)) for n in used.values())
        assert statistics["entropy_bits"] == pytest.approx(entropy, abs=1e-9)
        parents = {docid[:level] for docid in docids}
        assert statistics["branching"] == pytest.approx(len({docid[: level + 1] for docid in docids}) / len(parents))


def test_docids_that_follow_the_vectors_share_prefixes_with_nearest_neighbours():
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(10), 30)
    vectors = (np.eye(10)[cluster] + rng.normal(0, 0.1, (300, 10))).astype(np.float32)
    clustered = np.column_stack([cluster, np.tile(np.arange(30), 10)]).astype(np.int32)
    reports = [report_on(codes, 30, vectors=vectors) for codes in (clustered, clustered[rng.permutation(300)])]
    by_cluster, by_chance = (
        {group["neighbours"]: group["shared"] for group in report["shared_prefix"]} for report in reports
    )
    assert by_cluster["1-1"] > 0.95
    assert by_cluster["random"] < 0.3
    assert by_chance["1-1"] < 0.3
    assert reports[0]["similarity_correlation"] > 0.4
    assert abs(reports[1]["similarity_correlation"]) < 0.1


def test_warnings_name_problems_that_make_training_useless():
    same = np.zeros((20, 2), np.int32)
    words = " ".join(report_on(same, 5)["warnings"])
    assert "only 0.0% of the documents have a unique docid" in words
    assert "level 1 uses 1 of its 5 codes" in words
    numbered = np.column_stack([np.zeros(20), np.arange(20)]).astype(np.int32)
    words = " ".join(report_on(numbered, 20, built=numbered[:, :1])["warnings"])
    assert "100.0% of the documents differ from others only in their collision number" in words
    prefix = np.array([[0, -1], [0, 1], [1, -1], [2, 0]], np.int32)
    words = " ".join(report_on(prefix, 3)["warnings"])
    assert "1 docids are prefixes of other docids" in words
    good = np.column_stack([np.arange(20) // 5, np.arange(20) % 5]).astype(np.int32)
    assert report_on(good, 5)["warnings"] == []
