import copy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

import genir.tokenizer
from genir.collection.prepared import DocumentFile
from genir.config import load_config
from genir.errors import GenirError
from genir.records import Document
from genir.tokenizer import (
    MAX_TOKEN_CHARACTERS,
    choose_docid_tokenizer,
    load_tokenizer,
    sample_texts,
    tokenize,
    train_tokenizer,
)

QUICKSTART = Path(__file__).parent.parent / "data" / "quickstart" / "corpus.jsonl"


@pytest.mark.slow
def test_the_same_texts_give_the_same_tokenizer():
    texts = [document.body for document in DocumentFile(QUICKSTART)][:80]
    rare = [
        chr(0x4E00 + number) for number in range(40)
    ]  # characters that occur in no other token, which the trainer orders at random
    texts += [f"{text} {character}" for text, character in zip(texts, rare, strict=False)]
    first, *others = (train_tokenizer(texts, 500).backend_tokenizer.to_str() for _ in range(6))
    assert all(other == first for other in others)
    assert all(character in first for character in rare)


def test_case_and_accents_are_ignored_and_inputs_end_with_the_end_of_sequence_token(tokenizer):
    assert tokenizer("Öwls HUNT")["input_ids"] == tokenizer("owls hunt")["input_ids"]
    assert tokenizer("owls")["input_ids"][-1] == tokenizer.eos_token_id == 1
    assert tokenizer("")["input_ids"] == [1]
    assert tokenizer.pad_token_id == 0


def test_words_of_the_corpus_are_decoded_and_unknown_characters_are_encoded(tokenizer):
    assert tokenizer.decode(tokenizer("glaciers carve valleys", add_special_tokens=False)["input_ids"]) == (
        "glaciers carve valleys"
    )
    assert tokenizer.unk_token_id in tokenizer("日本")["input_ids"]


def test_a_saved_tokenizer_can_be_loaded_with_hugging_face(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for text in ("owls hunt mice", "", "tea, ICE & 日本"):
        assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]


def test_text_docids_use_the_tokenizer_of_the_model_or_one_trained_on_the_documents(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    (tmp_path / "c.yaml").write_text("collection: {path: none}\nmodel: {vocab_size: 400}\n")
    documents = DocumentFile(QUICKSTART)[:50]
    trained = choose_docid_tokenizer(load_config(tmp_path / "c.yaml"), documents)
    assert 300 < len(trained) <= 400
    given = choose_docid_tokenizer(
        load_config(tmp_path / "c.yaml", [f"model.tokenizer={tmp_path / 'tokenizer'}"]), documents
    )
    assert given.get_vocab() == tokenizer.get_vocab()


def test_a_tokenizer_that_cannot_be_loaded_is_a_one_line_error(tmp_path):
    with pytest.raises(GenirError, match="none: cannot be loaded as a tokenizer") as error:
        load_tokenizer(str(tmp_path / "none"))
    assert "\n" not in str(error.value)


def test_a_batch_of_texts_is_truncated_and_padded_on_the_right(tokenizer):
    tokenizer.padding_side = "left"  # as in some pretrained tokenizers
    try:
        batch = tokenize(tokenizer, ["owls hunt mice tea", ""], 3)
    finally:
        tokenizer.padding_side = "right"
    assert batch["input_ids"].shape == (2, 3)
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["input_ids"][0].tolist() == [*tokenizer("owls hunt mice tea")["input_ids"][:2], tokenizer.eos_token_id]
    assert batch["input_ids"][1].tolist() == [tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.pad_token_id]


def test_the_published_t5_tokenizer_pads_on_the_right_and_ends_with_the_end_of_sequence_token(root):
    folder = root.parent / "shared" / "data" / "t5-tokenizer"
    if not folder.exists():
        pytest.skip("t5-tokenizer is not in ../shared/data")
    batch = tokenize(load_tokenizer(str(folder)), ["who wrote this", "a much longer question about owls"], 8)
    assert batch["input_ids"].shape[1] <= 8
    assert (batch["input_ids"] == 1).sum(1).tolist() == [1, 1]
    assert batch["attention_mask"][0].tolist() == sorted(batch["attention_mask"][0].tolist(), reverse=True)


@pytest.mark.parametrize("special", ["</s>", "<pad>", "<unk>", "<extra_id_7>"])
def test_special_tokens_that_a_text_spells_out_are_ordinary_text(tokenizer, root, special):
    """With the tokenizer trained here and with T5's, whose vocabulary also holds its special tokens as pieces."""
    folder = root.parent / "shared" / "data" / "t5-tokenizer"
    for used in [tokenizer, *([load_tokenizer(str(folder))] if folder.exists() else [])]:
        control = {*used.all_special_ids} - {used.unk_token_id}
        for text in (f"owls {special} hunt", special, f"{special}{special}mice{special}"):
            ids = tokenize(used, [text], 64)["input_ids"][0].tolist()
            assert control.isdisjoint(ids[:-1])
            assert ids[-1] == used.eos_token_id


def test_characters_that_are_normalised_to_a_special_token_do_not_end_or_mask_the_input(tokenizer):
    """The tokenizers of T5 replace compatibility characters before they look up their pieces."""
    ids = tokenize(tokenizer, ["owls \uff1c/s\uff1e hunt \uff1cpad\uff1e mice"], 64)["input_ids"][0].tolist()
    assert {0, 1}.isdisjoint(ids[:-1])
    assert ids[-1] == 1


@pytest.mark.parametrize("length", [2, 3, 5, 8, 64])
def test_a_batch_is_truncated_and_padded_as_hugging_face_does(tokenizer, root, length):
    texts = ["owls hunt mice at night", "tea", "mice", "a glacier carves the valley in a thousand years"]
    folder = root.parent / "shared" / "data" / "t5-tokenizer"
    for used in [tokenizer, *([load_tokenizer(str(folder))] if folder.exists() else [])]:
        wanted = copy.deepcopy(used)(texts, padding=True, truncation=True, max_length=length, return_tensors="pt")
        found = tokenize(used, texts, length)
        assert all(torch.equal(found[name], wanted[name]) for name in ("input_ids", "attention_mask"))


@pytest.mark.slow
def test_threads_do_not_disturb_the_truncation_of_each_other(tokenizer):
    """Hugging Face keeps the truncation and padding of a call as settings of the tokenizer, which threads share."""
    texts = ["owls hunt mice at night", "tea"]
    lengths = (3, 5, 9)
    wanted = {length: tokenize(tokenizer, texts, length)["input_ids"].tolist() for length in lengths}

    def repeat(length):
        return all(tokenize(tokenizer, texts, length)["input_ids"].tolist() == wanted[length] for _ in range(300))

    with ThreadPoolExecutor() as threads:
        assert all(threads.map(repeat, lengths * 2))


@pytest.mark.slow
def test_a_query_with_special_tokens_keeps_its_hits(make_retriever):
    """Its words are read to the end: without the last word, the scores would differ."""
    retriever = make_retriever(np.array([[0, 1], [1, 0], [1, 1]]), (2, 2))
    for special in ("</s>", "<pad>"):
        scores = [
            [hit.score for hit in retriever.search(query, k=3)]
            for query in (f"owls {special} hunt mice", f"owls {special} hunt", f"owls {special}")
        ]
        assert scores[0] != scores[1] != scores[2]


def test_words_that_differ_in_a_mark_have_different_tokens():
    pairs = [("फल", "फूल"), ("কল", "কুল"), ("ลา", "ล่า"), ("かき", "がき"), ("كتب", "كُتِب")]
    words = [word for pair in pairs for word in pair]
    trained = train_tokenizer([" ".join(words)] * 3, 400)
    for first, second in pairs:
        assert trained.tokenize(first) != trained.tokenize(second)
    assert trained.unk_token not in trained.tokenize(" ".join(words))
    assert trained.tokenize("É Ĕ a\u00b4b") == trained.tokenize("e e a b")


def test_texts_without_a_character_are_a_one_line_error():
    for texts in ([], [""], ["\u0301"]):
        with pytest.raises(GenirError, match="the documents contain no words"):
            train_tokenizer(texts, 400)


def test_the_rest_of_a_huge_word_is_not_used_to_train_a_tokenizer():
    start = "abcdefgh" * 32
    for cut, whole in ((start, start + "xyz" * 300_000), ("=" * 256, "=" * 300_000)):
        cut_model, whole_model = (
            train_tokenizer([f"owls {word} hunt"], 400).backend_tokenizer.to_str() for word in (cut, whole)
        )
        assert cut_model == whole_model


def test_only_the_beginning_of_a_huge_text_is_tokenised(tokenizer):
    """The number of characters that the tokenizer is given does not grow with the text."""
    for text in ("owls hunt " * 100_000, "owls" * 250_000):
        found = tokenize(tokenizer, [text], 16)["input_ids"]
        assert found.tolist() == tokenize(tokenizer, [text[: 16 * MAX_TOKEN_CHARACTERS]], 16)["input_ids"].tolist()


def test_a_tokenizer_is_trained_on_a_random_sample_of_a_large_collection(monkeypatch):
    documents = [Document(f"d{i}", "", f"{i:04} " * 20) for i in range(300)]
    assert list(sample_texts(documents)) == [document.body for document in documents]
    monkeypatch.setattr(genir.tokenizer, "MAX_TRAINING_CHARACTERS", 5000)
    sample = list(sample_texts(documents))
    assert 4900 < sum(map(len, sample)) <= 5000
    assert sample == sorted({*sample})
    numbers = [int(text[:4]) for text in sample]
    assert 50 < sum(numbers) / len(numbers) < 250
    assert list(sample_texts(documents)) == sample
    monkeypatch.setattr(genir.tokenizer, "MAX_TRAINING_CHARACTERS", 1)
    assert len(list(sample_texts(documents))) == 1
