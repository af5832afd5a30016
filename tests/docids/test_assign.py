"""Properties of every docid builder: unique, prefix-free, deterministic docids, for old and for added documents."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from genir.config import AtomicConfig, KMeansConfig, PQConfig, RQConfig, RQVAEConfig, TextConfig
from genir.docids import BUILDERS, BuilderInput, DocidTable
from genir.docids.assign import assign_new_docids, build_docids
from genir.docids.trie import Trie
from genir.errors import GenirError
from genir.records import Document
from tests.helpers.docids import code_tuples, random_vectors, vector_inputs

CONFIGS = {
    "atomic": AtomicConfig(),
    "kmeans": KMeansConfig(branching=3, leaf_size=4),
    "pq": PQConfig(levels=2, codebook_size=4),
    "rq": RQConfig(levels=2, codebook_size=4),
    "rqvae": RQVAEConfig(levels=2, codebook_size=4, latent_dim=4, hidden_dim=8, epochs=3, batch_size=16),
    "title": TextConfig(source="title"),
    "title_url": TextConfig(source="title_url"),
    "ultron": TextConfig(source="ultron"),
    "keywords": TextConfig(source="keywords", keywords=2),
}
WORDS = st.sampled_from(["owls", "tea", "glaciers", "", "2", "Ö日", "</s>", "<pad>", "hunt mice"])


def make_inputs(name, count, tokenizer, seed=0, titles=None, prefix="d"):
    """Make the input of a builder from documents among which every vector occurs twice, and many titles are equal."""
    vectors = random_vectors(count, 6, seed)
    vectors[count // 2 :] = vectors[: count - count // 2]
    titles = titles or [f"owls {i % 5}" for i in range(count)]
    documents = [
        Document(f"{prefix}{i}", title, f"{title} tea", f"http://www.x.org/{title}/{i % 3}")
        for i, title in enumerate(titles)
    ]
    needs_tokenizer = BUILDERS[CONFIGS[name].builder].needs == "tokenizer"
    return BuilderInput(documents, vectors, tokenizer if needs_tokenizer else None)


def build_table(name, inputs):
    _, final = build_docids(inputs, CONFIGS[name], 1)
    names = [document.id for document in inputs.documents]
    about = {"docids": CONFIGS[name].model_dump()}
    return DocidTable.from_codes(final, doc_ids=names, titles=names, settings=about, text=inputs.tokenizer is not None)


@pytest.mark.parametrize("name", CONFIGS)
@settings(max_examples=8, deadline=None)
@given(count=st.integers(4, 30), seed=st.integers(0, 5), titles=st.lists(WORDS, min_size=30, max_size=30))
def test_docids_are_unique_prefix_free_and_deterministic(tokenizer, name, count, seed, titles):
    inputs = make_inputs(name, count, tokenizer, seed, titles[:count])
    table = build_table(name, inputs)  # from_codes rejects codes outside the codebooks
    docids = code_tuples(table.codes)
    assert len(set(docids)) == count
    prefixes = {docid[:n] for docid in docids for n in range(len(docid))}
    assert not prefixes & set(docids)
    assert Trie.from_codes(table.codes).size == count
    assert code_tuples(build_table(name, inputs).codes) == docids


@pytest.mark.parametrize("builder", ["pq", "rq"])
@pytest.mark.parametrize("collisions", ["extend", "reassign", "share"])
def test_docids_are_unique_unless_collisions_are_shared(builder, collisions):
    config = CONFIGS[builder].model_copy(update={"codebook_size": 16, "collisions": collisions})
    built, final = build_docids(vector_inputs(random_vectors(120)), config, 3)
    assert (final.codes >= 0).all()
    assert (final.codes < np.asarray(final.sizes)).all()
    assert (len(set(code_tuples(final.codes))) == 120) == (collisions != "share")
    assert len(set(code_tuples(built.codes))) < 120
    if collisions == "share":
        assert (built.codes == final.codes).all()


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "atomic"])
def test_added_documents_get_free_docids_and_the_others_keep_theirs(tokenizer, name):
    table = build_table(name, make_inputs(name, 30, tokenizer))
    added = make_inputs(name, 6, tokenizer, seed=9, prefix="new")
    codes = assign_new_docids(added, table)
    both = table.extended([document.id for document in added.documents], [""] * 6, codes)
    assert code_tuples(both.codes)[:30] == code_tuples(table.codes)
    assert len(set(code_tuples(both.codes))) == 36
    rebuilt = Trie.from_codes(np.concatenate([table.codes.astype(np.int32), codes]))
    assert torch.equal(rebuilt.codes, Trie.from_codes(both.codes).codes)


def test_each_document_of_a_kmeans_table_could_also_be_added_alone(tokenizer):
    """A single new document may have a shorter path of clusters than the longest path of the table."""
    inputs = make_inputs("kmeans", 40, tokenizer)
    table = build_table("kmeans", inputs)
    assert len({int((codes >= 0).sum()) for codes in table.codes}) > 1
    for vector in inputs.vectors:
        alone = BuilderInput([Document("new", "", "")], vector[None])
        codes = assign_new_docids(alone, table)
        assert code_tuples(codes)[0] not in code_tuples(table.codes)
        table.extended(["new"], [""], codes)


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "atomic"])
def test_docids_of_removed_documents_are_free_again(tokenizer, name):
    table = build_table(name, make_inputs(name, 30, tokenizer))
    added = make_inputs(name, 6, tokenizer, seed=9, prefix="new")
    codes = assign_new_docids(added, table)
    removed = table.extended([document.id for document in added.documents], [""] * 6, codes).subset(np.arange(30))
    assert code_tuples(removed.codes) == code_tuples(table.codes)
    assert (assign_new_docids(added, removed) == codes).all()


def test_a_document_without_a_free_docid_is_rejected():
    vectors = random_vectors(5, 6)
    table = build_table("rq", vector_inputs(vectors))
    many = BuilderInput([Document(f"n{i}", "", "") for i in range(100)], np.repeat(vectors[:1], 100, 0))
    with pytest.raises(GenirError, match=r"document 'n\d+': no free docid: every code under its prefix is taken"):
        assign_new_docids(many, table)


def test_a_table_with_the_setting_names_of_earlier_versions_takes_new_documents(tmp_path):
    """The table was saved with the keys `codes` and `beam`, which are now codebook_size and encoder_beam."""
    folder = tmp_path / "docids"
    folder.mkdir()
    books = np.array([[[0, 0], [8, 0]], [[0, 0], [0, 1]]], np.float32)  # code 1 of level 1: x + 8; of level 2: y + 1
    docids = {"builder": "rq", "levels": 2, "codes": 2, "beam": 4, "collisions": "extend"}
    about = {"documents": 2, "sizes": [2, 2, 16], "text": False, "unique_share": 1.0, "docids": docids, "seed": 1}
    (folder / "docids.json").write_text(json.dumps(about))
    (folder / "documents.tsv").write_text("a\tOwls\nb\tTea\n")
    save_file({"codes": np.array([[0, 1, 0], [1, 0, 0]], np.uint8)}, folder / "codes.safetensors")
    save_file({"codebooks": books}, folder / "codebooks.safetensors")
    table = DocidTable.load(folder)
    added = BuilderInput([Document("c", "", ""), Document("d", "", "")], np.array([[8.1, 0.1], [7.9, 1.2]], np.float32))
    assert assign_new_docids(added, table).tolist() == [[1, 0, 1], [1, 1, 0]]
