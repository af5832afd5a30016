import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.numpy import save_file

from genir.docids import Codes, DocidTable
from genir.docids.table import CodeLayout
from genir.errors import GenirError
from tests.helpers.docids import make_table, random_vectors

CODES = st.tuples(st.integers(1, 12), st.integers(1, 3)).flatmap(
    lambda shape: arrays(np.int32, shape, elements=st.integers(0, 2))
)


def test_a_layout_numbers_every_code_of_every_level_once():
    layout = CodeLayout(100, (3, 5, 2))
    levels = zip(layout.offsets, layout.sizes, strict=True)
    tokens = [layout.base + offset + code for offset, size in levels for code in range(size)]
    assert tokens == list(range(100, layout.vocab_size))


def test_text_docids_use_the_tokens_of_the_model_at_every_level():
    layout = CodeLayout(0, (50, 50, 50), text=True)
    assert layout.offsets == (0, 0, 0)
    assert layout.vocab_size == 50


def test_a_saved_table_loads_unchanged(tmp_path):
    doc_ids = ["a", "ü_b", "日本"]
    codes = np.array([[0, 299], [1, 0], [1, 0]], np.int32)
    books = {"codebooks": random_vectors(4)}
    DocidTable.from_codes(
        Codes(codes, (2, 300), books),
        doc_ids=doc_ids,
        titles=["A title", "", "tab\there\nline"],
        settings={"docids": {"builder": "rq"}},
    ).save(tmp_path / "docids")
    table = DocidTable.load(tmp_path / "docids")
    assert table.doc_ids == doc_ids
    assert table.titles == ["A title", "", "tab here line"]
    assert (table.codes == codes).all()
    assert table.sizes == (2, 300)
    assert table.settings == {"docids": {"builder": "rq"}}
    assert (table.codebooks["codebooks"] == books["codebooks"]).all()
    assert not table.text


def test_a_document_is_found_by_its_doc_id():
    table = make_table([[2, 0], [1, -1], [2, 1]], (3, 2))
    assert table.doc_index("d1") == 1
    assert table.docid_of(1) == (1,)
    assert table.docid_of(2) == (2, 1)
    with pytest.raises(GenirError, match="no document 'd3' among the 3 documents of this docid table"):
        table.doc_index("d3")


@given(CODES)
def test_the_unique_share_counts_documents_whose_docid_occurs_once(codes):
    docids = [tuple(row) for row in codes.tolist()]
    wanted = sum(docids.count(docid) == 1 for docid in docids) / len(docids)
    assert make_table(codes, (3,) * codes.shape[1]).unique_share == pytest.approx(wanted)


def test_a_subset_has_the_given_documents_in_the_given_order():
    table = make_table([[0], [1], [2]], (3,), settings={"seed": 1}).subset(np.array([2, 0]))
    assert table.doc_ids == table.titles == ["d2", "d0"]
    assert table.codes.tolist() == [[2], [0]]
    assert table.settings == {"seed": 1}


def test_new_documents_come_after_the_others():
    table = make_table([[0], [1]], (3,)).extended(["e"], ["Title"], np.array([[2]]))
    assert table.doc_ids == ["d0", "d1", "e"]
    assert table.titles[2] == "Title"
    assert table.codes.tolist() == [[0], [1], [2]]
    with pytest.raises(GenirError, match="document 'd0' is in the docid table already"):
        table.extended(["x", "d0"], ["", ""], np.array([[0], [1]]))


def test_longer_text_docids_add_levels():
    table = make_table([[5, 1], [7, 1]], (9, 9), text=True).extended(["e"], [""], np.array([[5, 7, 1]]))
    assert table.codes.tolist() == [[5, 1, -1], [7, 1, -1], [5, 7, 1]]
    assert table.sizes == (9, 9, 9)


def test_the_error_for_a_damaged_table_names_its_folder(tmp_path):
    make_table([[0], [1]], (2,)).save(tmp_path / "docids")
    (tmp_path / "docids" / "documents.tsv").write_text("a\t\n")
    with pytest.raises(GenirError, match=r"docids: documents\.tsv has 1 documents and codes\.safetensors 2 docids"):
        DocidTable.load(tmp_path / "docids")
    make_table([[0], [1]], (2,)).save(tmp_path / "other")
    save_file({"codes": np.array([[0], [2]], np.int32)}, tmp_path / "other" / "codes.safetensors")
    with pytest.raises(GenirError, match=r"codes\.safetensors: damaged .*a code is outside its codebook"):
        DocidTable.load(tmp_path / "other")


@pytest.mark.parametrize(
    ("codes", "sizes", "message"),
    [
        ([[2]], (2,), "outside its codebook"),
        ([[-1]], (2,), "outside its codebook"),
        ([[0, -1, 1]], (2, 2, 2), "after its padding"),
        ([[0, 1]], (2,), "lengths differ"),
    ],
)
def test_invalid_codes_are_rejected(codes, sizes, message):
    with pytest.raises(ValueError, match=message):
        make_table(codes, sizes)
