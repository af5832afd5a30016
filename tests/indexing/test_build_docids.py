import json

import numpy as np
import pytest

from genir.config import load_config
from genir.docids import DocidTable
from genir.docids.trie import Trie
from genir.embedders import load_embedder
from genir.tokenizer import load_tokenizer
from indexing import build_docids, embed_documents, prepare_collection


@pytest.fixture
def build(tmp_path, beir):
    """A function that runs the stages prepare, embed and docids with overrides, and returns the folder docids."""
    (tmp_path / "c.yaml").write_text(
        f"collection: {{path: '{beir}'}}\nruns_dir: {tmp_path / 'runs'}\nmodel: {{vocab_size: 300}}\n"
    )

    def run(*overrides):
        config = load_config(tmp_path / "c.yaml", overrides)
        for stage in (prepare_collection, embed_documents, build_docids):
            stage.main(config)
        return config.run_folder / "docids"

    return run


def test_the_folder_holds_the_table_the_trie_the_embedder_and_the_report(build):
    folder = build("docids={builder: rq, levels: 2, codebook_size: 4}")
    table = DocidTable.load(folder)
    assert table.doc_ids == [f"d{i}" for i in range(12)]
    assert table.settings["docids"]["codebook_size"] == 4
    # Without docids, a trie of an old format could not be built again.
    assert same_trie(Trie.load(folder / "trie.safetensors", table.codes[:0]), Trie.from_codes(table.codes))
    assert load_embedder(folder / "embedder") is not None
    report = json.loads((folder / "report.json").read_text())
    assert report["documents"] == 12
    assert report["unique_share"] == table.unique_share == 1
    assert (folder / "report.png").read_bytes().startswith(b"\x89PNG")


def same_trie(first, second):
    """Whether two tries have the same docids and documents."""
    return (
        first.size == second.size
        and bool((first.codes == second.codes).all())
        and bool((first.doc_indices == second.doc_indices).all())
    )


def test_text_docids_come_with_their_tokenizer(build):
    folder = build("docids={builder: text}")
    table = DocidTable.load(folder)
    tokenizer = load_tokenizer(str(folder / "tokenizer"))
    assert table.text
    assert set(table.sizes) == {len(tokenizer)}
    assert tokenizer.decode(table.docid_of(0)[:-1]) == "about owls hunt mice"


@pytest.mark.slow
def test_the_same_seed_gives_the_same_files(build):
    settings = "docids={builder: rqvae, levels: 2, codebook_size: 4, epochs: 2}"
    first, again = ((build(settings) / "codes.safetensors").read_bytes() for _ in range(2))
    assert again == first


def test_the_printed_report_has_a_row_for_each_level_and_the_warnings(build, capsys):
    build("docids={builder: rq, levels: 2, codebook_size: 2, collisions: share}")
    printed = capsys.readouterr().out
    assert "warning: only" in printed
    printed = printed[printed.index("12 documents,") :]  # after the output of the other stages
    levels = [line.split("│")[1].strip() for line in printed.splitlines() if line.startswith("│")]
    assert levels == ["1", "2"]


def test_at_most_twelve_levels_are_printed(capsys):
    level = {"codes": 4, "documents": 9, "used": 4, "entropy_bits": 2.0, "most_used_share": 0.25, "branching": 1.0}
    report = {
        "documents": 9,
        "unique_share": 1.0,
        "unique_share_before_collisions": 1.0,
        "collision_groups": 0,
        "largest_collision": 1,
        "collisions": "extend",
        "levels": [level] * 15,
        "unique_depth": np.full(16, 0).tolist(),
        "shared_prefix": [{"neighbours": "1-1", "shared": 1.5}, {"neighbours": "random", "shared": 0.25}],
        "warnings": [],
    }
    build_docids.print_report(report)
    printed = capsys.readouterr().out
    assert "3 more levels are in docids/report.json" in printed
    assert "mean prefix shared with the nearest neighbour: 1.50 codes" in printed
    assert "mean prefix shared with random documents: 0.25 codes" in printed
