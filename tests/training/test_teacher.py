"""Teachers: the sources of their scores, and the conversion of scores to grades of candidate lists."""

import json

import numpy as np
import pytest
import torch

from genir.docids import Codes, DocidTable
from genir.errors import GenirError
from genir.records import Document
from genir.training.examples import LabelledQuery
from genir.training.teacher import MAX_GRADE, apply_teacher, open_teacher

TABLE = DocidTable.from_codes(Codes(np.array([[0], [1], [2]]), (3,)), doc_ids=["a", "b", "c"], titles=["A", "B", "C"])
DOCUMENTS = [Document("a", "Owls", "hunt mice"), Document("b", "Tea", "leaves wither"), Document("c", "Ice", "flows")]
EXAMPLES = [LabelledQuery("owls", (0,), (1,), "q1"), LabelledQuery("a span", (1,), (1,))]


def test_a_score_file_scores_the_pairs_that_it_contains(tmp_path):
    path = tmp_path / "scores.jsonl"
    lines = [{"query_id": "q1", "doc_id": "a", "score": 2.5}, {"query_id": "q1", "doc_id": "c", "score": -1}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    doc_indices = np.array([[0, 1, 2], [0, 2, -1]])
    scores = open_teacher(str(path), TABLE, DOCUMENTS)(EXAMPLES, doc_indices)
    np.testing.assert_array_equal(scores, [[2.5, np.nan, -1], [np.nan] * 3])


@pytest.mark.parametrize(
    "line", ["{", '{"query_id": "q"}', '{"query_id": "q", "doc_id": "x", "score": 1}',
             '{"query_id": "q", "doc_id": "a", "score": "high"}', '{"query_id": "q", "doc_id": "b", "score": "1"}',
             '{"query_id": "q", "doc_id": "b", "score": true}', '{"query_id": "q", "doc_id": "b", "score": NaN}',
             '{"query_id": "q", "doc_id": "b", "score": Infinity}', '{"query_id": "q", "doc_id": "b", "score": 1e999}',
             '{"query_id": 7, "doc_id": "b", "score": 1}', '{"query_id": "q", "doc_id": 7, "score": 1}',
             '{"query_id": "q", "doc_id": "b", "score": 1, "score": 2}', "[]", '"x"', "[" * 5_000],
)  # fmt: skip
def test_a_malformed_line_is_an_error_with_its_number(tmp_path, line):
    path = tmp_path / "scores.jsonl"
    path.write_text('{"query_id": "q", "doc_id": "a", "score": 1}\n' + line + "\n")
    with pytest.raises(GenirError, match=r"scores\.jsonl:2: (must be|not valid JSON|JSON that exceeds)"):
        open_teacher(str(path), TABLE, DOCUMENTS)


def test_a_missing_score_file_is_an_error(tmp_path):
    with pytest.raises(GenirError, match="no such file"):
        open_teacher(str(tmp_path / "none.jsonl"), TABLE, DOCUMENTS)


def test_scaled_scores_replace_only_lower_judged_grades():
    scores = np.array([[1.0, 3.0, 2.0, np.nan], [5.0, 5.0, np.nan, np.nan], [np.nan] * 4], np.float32)
    judged = torch.tensor([[2.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    grades = apply_teacher(scores, judged)
    assert grades[0].tolist() == [2.0, MAX_GRADE, MAX_GRADE / 2, 1.0]
    assert grades[1:].tolist() == judged[1:].tolist()  # equal scores and missing ones change no grade


def test_a_cross_encoder_scores_each_query_with_the_documents_of_its_list(tmp_path):
    """The scores are compared with the predictions of a random BERT, saved as sentence-transformers saves it."""
    library = pytest.importorskip("sentence_transformers", reason="the extra embed is not installed")
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    words = sorted({word for d in DOCUMENTS for word in d.body.lower().split()} | {"a", "span"})
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    tokenizer = BertTokenizerFast(str(tmp_path / "vocab.txt"), model_max_length=32)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        num_labels=1, max_position_embeddings=32,
    )  # fmt: skip
    torch.manual_seed(0)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    doc_indices = np.array([[0, 1], [2, -1]])
    scores = open_teacher(str(tmp_path / "model"), TABLE, DOCUMENTS)(EXAMPLES, doc_indices)
    alone = library.CrossEncoder(str(tmp_path / "model"))
    for number, doc_index in ((0, 0), (0, 1), (1, 2)):
        column = doc_indices[number].tolist().index(doc_index)
        wanted = alone.predict([(EXAMPLES[number].text, DOCUMENTS[doc_index].body)])[0]
        assert scores[number, column] == pytest.approx(float(wanted), abs=1e-5)
    assert np.isnan(scores[1, 1])
    with pytest.raises(GenirError, match="cannot be loaded"):
        open_teacher(str(tmp_path / "nothing"), TABLE, DOCUMENTS)


def test_a_second_score_of_a_pair_is_an_error_and_a_file_without_any_known_pair_a_warning(tmp_path, capsys):
    path = tmp_path / "scores.jsonl"
    line = json.dumps({"query_id": "other", "doc_id": "a", "score": 1})
    path.write_text(f"{line}\n\n{line}\n")
    with pytest.raises(GenirError, match=r"scores\.jsonl:3: query 'other' and document 'a' have two scores"):
        open_teacher(str(path), TABLE, DOCUMENTS)
    path.write_text(f"{line}\n")
    assert np.isnan(open_teacher(str(path), TABLE, DOCUMENTS)(EXAMPLES, np.array([[0, 1], [2, -1]]))).all()
    assert "has no score of any candidate" in " ".join(capsys.readouterr().out.split())
