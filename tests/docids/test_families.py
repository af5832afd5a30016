"""What must hold for every family: unique, prefix-free, deterministic docids, and new documents beside old ones."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genir.config import AtomicConfig, KMeansConfig, PQConfig, RQConfig, RQVAEConfig, TextConfig
from genir.decoding.trie import Trie
from genir.docids import BUILDERS, DocidTable, Source
from genir.docids.assign import build_docids, new_docids
from genir.docids.rqvae import RQVAE, fit_rqvae, revive, start_codebooks
from genir.errors import GenirError
from genir.records import Document

FAMILIES = {
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


def source(count, tokenizer, seed=0, titles=None):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, 6)).astype(np.float32)
    vectors[count // 2 :] = vectors[: count - count // 2]  # half of them twice
    texts = titles or [f"owls {i % 5}" for i in range(count)]
    documents = [
        Document(f"d{i}", text, f"{text} tea", f"http://www.x.org/{text}/{i % 3}") for i, text in enumerate(texts)
    ]
    return Source(documents, vectors, tokenizer)


def for_family(name, given_source):
    return given_source._replace(
        tokenizer=given_source.tokenizer if BUILDERS[FAMILIES[name].builder].needs == "tokenizer" else None
    )


def tuples(codes):
    return [tuple(x for x in row if x >= 0) for row in codes.tolist()]


def table_of(family, rows, seed=1):
    _, final = build_docids(rows, FAMILIES[family], seed)
    names = [document.id for document in rows.documents]
    about = {"docids": FAMILIES[family].model_dump()}
    return DocidTable(names, names, *final[:2], about, final.codebooks, rows.tokenizer is not None)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=8, deadline=None)
@given(count=st.integers(4, 30), seed=st.integers(0, 5), titles=st.lists(WORDS, min_size=30, max_size=30))
def test_docids_are_unique_prefix_free_and_inside_their_codebooks(tokenizer, family, count, seed, titles):
    rows = for_family(family, source(count, tokenizer, seed, titles[:count]))
    table = table_of(family, rows)  # its constructor refuses codes outside of the codebooks
    docids = tuples(table.codes)
    assert len(set(docids)) == count
    prefixes = {docid[:n] for docid in docids for n in range(len(docid))}
    assert not prefixes & set(docids)
    assert Trie.from_codes(table.codes).size == count
    assert tuples(table_of(family, rows).codes) == docids  # the same again


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "atomic"])
def test_new_documents_get_free_docids_and_the_old_ones_keep_theirs(tokenizer, family):
    table = table_of(family, for_family(family, source(30, tokenizer)))
    later = for_family(family, source(6, tokenizer, seed=9))
    later = later._replace(documents=[document._replace(id=f"new{document.id}") for document in later.documents])
    codes = new_docids(later, table)
    both = table.extended([document.id for document in later.documents], [""] * 6, codes)
    assert tuples(both.codes)[:30] == tuples(table.codes)
    assert len(set(tuples(both.codes))) == 36
    rebuilt = Trie.from_codes(np.concatenate([table.codes.astype(np.int32), codes]))
    assert torch.equal(rebuilt.codes, Trie.from_codes(both.codes).codes)
    kept = both.subset(np.arange(30))
    assert tuples(kept.codes) == tuples(table.codes)
    assert (new_docids(later, kept) == codes).all()  # what was removed is free again


def test_atomic_docids_and_full_codebooks_refuse_new_documents(tokenizer):
    rows = source(5, None)
    with pytest.raises(GenirError, match="atomic docids cannot take new documents"):
        new_docids(rows, table_of("atomic", rows))
    table = table_of("rq", source(5, None))
    many = source(5, None)
    many = Source([Document(f"n{i}", "", "") for i in range(100)], np.repeat(many.vectors[:1], 100, 0))
    with pytest.raises(GenirError, match="finds no free docid: too many documents have its codes"):
        new_docids(many, table)
    with pytest.raises(GenirError, match="'d0' is in the docid table already"):
        table.extended(["d0"], [""], table.codes[:1])


def test_leaves_of_kmeans_are_small_unless_their_vectors_are_equal():
    rng = np.random.default_rng(0)
    vectors = np.concatenate([rng.normal(size=(100, 5)), np.ones((20, 5))]).astype(np.float32)
    built, _ = build_docids(Source([Document(str(i), "", "") for i in range(120)], vectors), FAMILIES["kmeans"], 0)
    leaves = {}
    for row, path in enumerate(tuples(built.codes)):
        leaves.setdefault(path, []).append(row)
    for path, rows in leaves.items():
        assert len(rows) <= 4 or len(np.unique(vectors[rows], axis=0)) == 1, path
        inside = [p for p in leaves if p != path and p[: len(path)] == path]
        assert not inside  # a cluster is a leaf or it is split


def test_kmeans_puts_a_document_into_the_nearest_cluster_of_each_split():
    rows = source(60, None)
    built, _ = build_docids(rows, FAMILIES["kmeans"], 0)
    centroids, children = built.codebooks["centroids"], built.codebooks["children"]
    for vector, path in zip(rows.vectors, tuples(built.codes), strict=True):
        node = 0
        for code in path:
            first, count = children[node]
            assert code == ((centroids[first : first + count] - vector) ** 2).sum(1).argmin()
            node = first + code
        assert children[node][0] == -1


def clusters(count=400, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(16, 8))
    return (centres[rng.integers(0, 16, count)] + 0.05 * rng.normal(size=(count, 8))).astype(np.float32)


def test_an_rqvae_uses_its_codes_and_reconstructs_far_better_than_the_mean():
    config = RQVAEConfig(levels=2, codebook_size=16, latent=8, hidden=32, epochs=60, batch_size=64, learning_rate=3e-3)
    torch.manual_seed(0)
    vectors = torch.from_numpy(clusters())
    model = fit_rqvae(vectors, config)
    codes, _ = model.quantise(model.encoder(vectors))
    chosen = sum(model.codebooks[level][codes[:, level]] for level in range(2))
    error = ((model.decoder(chosen) - vectors) ** 2).mean()
    assert error < 0.2 * vectors.var(0).mean()
    assert len(codes[:, 0].unique()) >= 14


def test_dead_codes_are_put_where_there_is_something_to_code():
    torch.manual_seed(0)
    config = RQVAEConfig(levels=2, codebook_size=8, latent=4, hidden=16)
    model, vectors = RQVAE(8, config), torch.from_numpy(clusters())
    start_codebooks(model, vectors)
    with torch.no_grad():
        model.codebooks[0, 2:] = 1e6  # nothing is near
    used = lambda: {int(code) for code in model.quantise(model.encoder(vectors))[0][:, 0]}  # noqa: E731
    assert used() <= {0, 1}
    dead = torch.zeros(2, 8, dtype=torch.bool)
    dead[0, 2:] = True
    kept = model.codebooks[0, :2].clone()
    revive(model, dead, vectors)
    assert len(used()) >= 6
    assert torch.equal(model.codebooks[0, :2], kept)


def test_distances_of_an_rqvae_are_those_of_the_residual_to_each_last_code():
    rows = source(40, None)
    built, _ = build_docids(rows, FAMILIES["rqvae"], 0)
    books = built.codebooks
    latent = np.maximum(rows.vectors / books["scale"] @ books["encoder.0.weight"].T + books["encoder.0.bias"], 0)
    latent = latent @ books["encoder.2.weight"].T + books["encoder.2.bias"]
    rest = latent - books["codebooks"][0][built.codes[:, 0]]
    wanted = ((rest[:, None] - books["codebooks"][1][None]) ** 2).sum(2)
    got = BUILDERS["rqvae"].distances(rows, built.codes, books)
    np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-4)
    assert (built.codes[:, 1] == wanted.argmin(1)).all()
