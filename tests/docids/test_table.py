import itertools
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from genir.config import AtomicConfig, PQConfig, RQConfig
from genir.docids import BUILDERS, DocidTable, Source
from genir.docids.assign import build_docids
from genir.docids.faiss_codes import unpack_codes
from genir.docids.pq import build_pq
from genir.docids.rq import build_rq
from genir.docids.table import CodeLayout
from genir.errors import GenirError
from genir.records import Document

CONFIGS = {"pq": PQConfig(levels=3, codebook_size=8), "rq": RQConfig(levels=3, codebook_size=8)}


def vectors(count=60, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 12)).astype(np.float32)


def test_layout_numbers_every_code_of_every_level_once():
    layout = CodeLayout(100, (3, 5, 2))
    levels = zip(layout.offsets, layout.sizes, strict=True)
    tokens = [layout.base + offset + code for offset, size in levels for code in range(size)]
    assert tokens == list(range(100, layout.vocabulary))


def source(rows):
    return Source([Document(str(i), "", "") for i in range(len(rows))], rows)


@pytest.mark.parametrize("builder", ["pq", "rq"])
@pytest.mark.parametrize("collisions", ["extend", "reassign", "share"])
def test_docids_are_deterministic_inside_their_codebooks_and_unique_unless_shared(builder, collisions):
    settings = CONFIGS[builder].model_copy(update={"levels": 2, "codebook_size": 16, "collisions": collisions})
    (_, first), (_, second) = (build_docids(source(vectors(120)), settings, 3) for _ in range(2))
    assert (first.codes == second.codes).all()
    assert (first.codes >= 0).all()
    assert (first.codes < np.asarray(first.sizes)).all()
    assert (len({tuple(row) for row in first.codes.tolist()}) == 120) == (collisions != "share")


def test_atomic_docids_number_the_documents():
    built, final = build_docids(source(vectors(5)), AtomicConfig(), 0)
    assert final.codes.tolist() == built.codes.tolist() == [[0], [1], [2], [3], [4]]
    assert final.sizes == (5,)


@pytest.mark.parametrize("builder", ["pq", "rq"])
def test_documents_coded_later_get_the_codes_that_building_gave_them(builder):
    built = BUILDERS[builder].build(source(vectors()), CONFIGS[builder], 0)
    some = source(vectors()[7:20])
    assert (BUILDERS[builder].encode(some, CONFIGS[builder], built.codebooks) == built.codes[7:20]).all()
    with pytest.raises(GenirError, match="made from vectors of 12 numbers"):
        BUILDERS[builder].encode(source(np.zeros((2, 5), np.float32)), CONFIGS[builder], built.codebooks)
    with pytest.raises(GenirError, match="vector 1 holds a value that is not finite"):
        bad = vectors(2)
        bad[1, 3] = np.nan
        BUILDERS[builder].encode(source(bad), CONFIGS[builder], built.codebooks)


@pytest.mark.parametrize("opq", [False, True])
def test_the_code_a_document_has_is_at_the_smallest_distance(opq):
    """PQ takes the nearest code of each piece; RQ without a beam the nearest at each level."""
    for builder, update in (("pq", {"opq": opq}), ("rq", {"encoder_beam": 1})):
        built = BUILDERS[builder].build(source(vectors()), settings := CONFIGS[builder].model_copy(update=update), 0)
        distances = BUILDERS[builder].distances(source(vectors()), built.codes, built.codebooks)
        assert distances.shape == (60, settings.codebook_size)
        assert (distances.argmin(1) == built.codes[:, -1]).all()


def test_rq_codes_decode_to_the_nearest_sums_of_code_vectors():
    """Against brute force: a wide encoder beam finds the best of all 4 x 4 x 4 sums for nearly all vectors."""
    data = vectors()
    built = build_rq(source(data), RQConfig(levels=3, codebook_size=4, beam=64), 0)
    books = built.codebooks["codebooks"]
    sums = {c: books[0, c[0]] + books[1, c[1]] + books[2, c[2]] for c in itertools.product(range(4), repeat=3)}
    best = [min(sums, key=lambda c: ((sums[c] - row) ** 2).sum()) for row in data]
    assert [tuple(row) for row in built.codes.tolist()] == best


@given(st.integers(1, 11), st.data())
def test_unpacked_codes_are_those_that_were_packed(bits, data):
    codes = data.draw(arrays(np.int64, (5, 4), elements=st.integers(0, 2**bits - 1)))
    packed = np.zeros((5, -(-4 * bits // 8)), np.uint8)
    for row, level, bit in itertools.product(range(5), range(4), range(bits)):
        place = level * bits + bit
        packed[row, place // 8] |= ((codes[row, level] >> bit) & 1) << (place % 8)
    assert (unpack_codes(packed, 4, bits) == codes).all()


@pytest.mark.parametrize("opq", [False, True])
def test_pq_codes_are_the_nearest_code_of_each_piece(opq):
    data = vectors()
    built = build_pq(source(data), CONFIGS["pq"].model_copy(update={"opq": opq}), 0)
    books = built.codebooks["codebooks"]
    if opq:
        rotation = built.codebooks["rotation"]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(12), atol=1e-4)
        data = data @ rotation.T
    for level, piece in enumerate(np.split(data, 3, axis=1)):
        distance = ((piece[:, None] - books[level]) ** 2).sum(2)
        assert (distance.argmin(1) == built.codes[:, level]).all()


@pytest.mark.parametrize("builder", ["pq", "rq"])
def test_quantisers_say_what_they_cannot_do(builder):
    def build(**update):
        return BUILDERS[builder].build(source(vectors()), CONFIGS[builder].model_copy(update=update), 0)

    with pytest.raises(GenirError, match=r"48 is not a power of two.*32 or 64"):
        build(codes=48)
    with pytest.raises(GenirError, match="64 codes cannot be learned from 60 documents"):
        build(codes=64)
    if builder == "pq":
        with pytest.raises(GenirError, match="12 cannot be cut into 5 equal pieces"):
            build(levels=5)


@pytest.mark.parametrize("builder", ["pq", "rq"])
def test_fewer_documents_than_dimensions_are_quantised_too(builder):
    data = np.random.default_rng(0).normal(size=(20, 96)).astype(np.float32)
    built = BUILDERS[builder].build(source(data), CONFIGS[builder], 0)
    assert built.codes.shape == (20, 3)


@pytest.mark.parametrize("builder", ["pq", "rq"])
def test_a_missing_faiss_names_both_extras(monkeypatch, builder):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(GenirError, match=r"genir\[cpu\] or, with CUDA, genir\[gpu\]; never both"):
        BUILDERS[builder].build(source(vectors()), CONFIGS[builder], 0)


def test_a_saved_table_reads_back_the_same(tmp_path):
    ids = ["a", "ü b".replace(" ", "_"), "日本"]
    codes = np.array([[0, 299], [1, 0], [1, 0]], np.int32)
    books = {"codebooks": vectors(4)}
    DocidTable(ids, ["A title", "", "tab\there\nline"], codes, (2, 300), {"builder": "rq"}, books).save(tmp_path / "t")
    table = DocidTable.load(tmp_path / "t")
    assert table.doc_ids == ids
    assert table.titles == ["A title", "", "tab here line"]
    assert (table.codes == codes).all()
    assert table.sizes == (2, 300)
    assert table.settings == {"builder": "rq"}
    assert (table.codebooks["codebooks"] == books["codebooks"]).all()
    assert table.docid("日本") == (1, 0)
    assert table.documents((1, 0)) == ids[1:]
    assert table.documents((0, 0)) == []
    assert table.unique_share == pytest.approx(1 / 3)


def test_a_damaged_table_is_a_clear_error(tmp_path):
    DocidTable(["a", "b"], ["", ""], np.array([[0], [1]], np.int32), (2,)).save(tmp_path / "t")
    (tmp_path / "t" / "documents.tsv").write_text("a\t\n")
    with pytest.raises(GenirError, match="1 documents, 2 docids"):
        DocidTable.load(tmp_path / "t")
    with pytest.raises(ValueError, match="outside its codebook"):
        DocidTable(["a"], [""], np.array([[2]], np.int32), (2,))
