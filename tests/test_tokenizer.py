from pathlib import Path

from transformers import AutoTokenizer

from genir.collection.prepared import DocumentFile
from genir.tokenizer import train_tokenizer

QUICKSTART = Path(__file__).parent.parent / "data" / "quickstart" / "corpus.jsonl"


def test_the_same_texts_give_the_same_tokenizer():
    texts = [document.body for document in DocumentFile(QUICKSTART)][:80]
    rare = [chr(0x4E00 + number) for number in range(40)]  # signs that no piece holds are numbered by the trainer
    texts += [f"{text} {sign}" for text, sign in zip(texts, rare, strict=False)]
    first, *others = (train_tokenizer(texts, 500).backend_tokenizer.to_str() for _ in range(6))
    assert all(other == first for other in others)
    assert all(sign in first for sign in rare)


def test_case_and_accents_do_not_matter_and_inputs_end_with_eos(tokenizer):
    assert tokenizer("Öwls HUNT")["input_ids"] == tokenizer("owls hunt")["input_ids"]
    assert tokenizer("owls")["input_ids"][-1] == tokenizer.eos_token_id == 1
    assert tokenizer("")["input_ids"] == [1]
    assert tokenizer.pad_token_id == 0


def test_words_of_the_corpus_come_back_and_unknown_signs_do_not_break(tokenizer):
    assert tokenizer.decode(tokenizer("glaciers carve valleys", add_special_tokens=False)["input_ids"]) == (
        "glaciers carve valleys"
    )
    assert tokenizer.unk_token_id in tokenizer("日本")["input_ids"]


def test_a_saved_tokenizer_is_a_plain_hugging_face_one(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for text in ("owls hunt mice", "", "tea, ICE & 日本"):
        assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]
