"""The benchmark of added documents, run as a user runs it on a small collection."""

import json
import zlib

import pytest

from tests.helpers.processes import ROOT, run_python


@pytest.mark.long
def test_documents_that_were_left_out_are_found_after_they_were_added(beir, tmp_path):
    (tmp_path / "c.yaml").write_text(
        f"""
collection: {{path: {beir}}}
docids: {{builder: atomic}}
model: {{vocab_size: 300}}
sft: {{batch_size: 8, eval_steps: 5, warmup_steps: 1, phases: [{{mix: {{spans: 1, queries: 1}}, steps: 5}}]}}
ddro: null
irpo: null
search: {{k: 10, beams: 12}}
"""
    )
    left_out = {f"d{i}" for i in range(12) if zlib.crc32(f"d{i}".encode()) % 3 == 0}
    assert 0 < len(left_out) < 8
    done = run_python([str(ROOT / "eval" / "benchmark_added_documents.py"), "c.yaml", "--every", "3"], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    reduced = tmp_path / "runs" / "c-without-added" / "collection"
    kept = {json.loads(line)["_id"] for line in (reduced / "corpus.jsonl").read_text().splitlines()}
    assert kept == {f"d{i}" for i in range(12)} - left_out
    for split in ("train", "dev", "test"):
        assert not left_out & {
            line.split("\t")[1] for line in (reduced / "qrels" / f"{split}.tsv").read_text().split("\n")[1:-1]
        }
    added, others = json.loads((tmp_path / "runs" / "c" / "added_documents.json").read_text())
    assert added["queries"] + others["queries"] == 12
    assert added["retriever"] > 0.5
    assert added["bm25"] == pytest.approx(1)
