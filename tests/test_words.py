"""The segmentation into words: other scripts than Latin, and unchanged results for Latin texts."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import strip_accents_unicode

from genir.words import (
    MAX_WORD_LENGTH,
    compose_marks,
    find_term_spans,
    find_terms,
    is_plain,
    join_spans,
    split_sentences,
    split_special_tokens,
    split_units,
    strip_accents,
)

LATIN = st.text(st.characters(max_codepoint=0x17F), max_size=80)
MIXED = st.text(st.sampled_from("ab 1'_.\nçé\u0301\u0323фй東京にガ゙ー水ｶﾞไทกำั้ၾြမ្សहिन्दी\u200dعَربשָׁل한"), max_size=30)


@given(LATIN)
def test_terms_of_latin_texts_are_what_scikit_learn_s_pattern_finds(text):
    assert find_terms(text) == re.findall(r"(?u)\b\w\w+\b", text)
    assert join_spans(text, find_term_spans(text)) == " ".join(re.findall(r"\w+", text))


@given(LATIN)
def test_accents_of_latin_texts_are_stripped_as_scikit_learn_does(text):
    assert find_terms(strip_accents(text)) == find_terms(strip_accents_unicode(text))


@given(LATIN)
def test_units_of_latin_texts_are_what_split_finds(text):
    assert split_units(text) == [f" {word}" for word in text.split()]


@given(LATIN, MIXED)
def test_one_word_of_another_script_does_not_change_how_latin_words_are_split(text, other):
    assert find_terms(f"{text} \n {other}")[: len(find_terms(text))] == find_terms(text)
    assert [unit.strip() for unit in split_units(f"{text} हिन्दी")] == [*text.split(), "हिन्दी"]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("फल फूल जल जेल", ["फल", "फूल", "जल", "जेल"]),
        ("নমস্কার বাংলা", ["নমস্কার", "বাংলা"]),
        ("العَرَبِيَّة لغة", ["العَرَبِيَّة", "لغة"]),
        ("שָׁלוֹם", ["שָׁלוֹם"]),
        ("क्\u200dष", ["क्\u200dष"]),
        ("tiếng Việt", ["tiếng", "Việt"]),
        ("東京大学に行く", ["東京", "京大", "大学", "学に", "に行", "行く"]),
        ("かき がき ガギ", ["かき", "がき", "ガギ"]),
        ("コーヒー", ["コー", "ーヒ", "ヒー"]),
        ("iPhone手机ABC 水 x", ["iPhone", "手机", "ABC", "水"]),
        ("ที่นี่", ["ที่นี่"]),
        ("ខ្មែរ", ["ខ្មែ", "មែរ"]),
        ("서울 대학교", ["서울", "대학교"]),
        ("андре́й Андре́й", ["андрей", "Андрей"]),
        ("i\u0307stanbul", ["istanbul"]),
    ],
)
def test_terms_of_other_scripts(text, terms):
    for form in ("NFC", "NFD"):
        assert find_terms(unicodedata.normalize(form, text)) == [compose_marks(term) for term in terms]


@given(MIXED)
def test_a_term_is_its_own_only_term(text):
    assert [found for term in find_terms(text) for found in find_terms(term)] == find_terms(text)


@given(MIXED)
def test_terms_cover_all_letters_in_order(text):
    """Joined where they overlap, the terms are the text's letters, marks and digits again."""
    composed = compose_marks(text)
    letters = [c for c in composed if c.isalnum() or c == "_"]
    joined = join_spans(composed, find_term_spans(composed))
    assert [c for c in joined if c.isalnum() or c == "_"] == letters


@given(MIXED)
def test_units_joined_are_the_text(text):
    assert "".join(split_units(text)).split() == text.split()


def test_units_are_characters_of_scripts_without_spaces_and_words_of_others():
    assert split_units("iPhone手机 はガ。ok") == ["iPhone", "手", "机", " は", "ガ", "。ok"]


@pytest.mark.parametrize("letter", ["x", "हि"])
def test_units_of_a_huge_word_are_parts_of_it(letter):
    word = letter * 3000
    units = split_units(word)
    assert "".join(units).strip() == word
    assert max(map(len, units)) == MAX_WORD_LENGTH


def test_marks_are_stripped_from_latin_greek_and_cyrillic_only():
    assert strip_accents("Éa ñ ệ ΐ й a\u00b4b") == "Ea n e \u03b9 и a b"
    for text in ("हिन्दी", "বাংলা", "ภาษาไทย", "العَرَبِيَّة", "שָׁלוֹם", "がギ", "서울"):
        assert strip_accents(text) == unicodedata.normalize("NFKC", text)


def test_plain_texts_have_neither_marks_nor_scripts_without_spaces():
    names = ("CJK UNIFIED", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")
    for character in map(chr, range(0x40000)):
        if is_plain(character):
            assert unicodedata.category(character)[0] != "M"
            assert not unicodedata.name(character, "").startswith(names)


@pytest.mark.parametrize("special", ["</s>", "<pad>", "<unk>"])
def test_special_tokens_are_split_and_other_texts_are_kept(tokenizer, special):
    assert split_special_tokens(tokenizer, [f"a {special} b"]) == [f"a {special[0]} {special[1:]} b"]
    plain = ["owls hunt < /s> mice", "a < b > c"]
    assert split_special_tokens(tokenizer, plain) == plain


def test_sentences_end_at_punctuation_or_line_ends_and_have_five_words():
    text = "Clouds are named after Latin words. Early life\nIt weighs 3.5 kg, he said! Is it so? He kept a record of it"
    assert split_sentences(text) == [
        "Clouds are named after Latin words.",
        "It weighs 3.5 kg, he said!",
        "He kept a record of it",
    ]


@pytest.mark.parametrize(
    "sentences",
    [
        ["東京大学は日本の国立大学である。", "本部は東京都文京区にある。"],
        ["हिन्दी भारत की एक भाषा है।", " यह देवनागरी लिपि में लिखी जाती है।"],
    ],
)
def test_sentences_of_other_scripts_end_at_their_own_full_stops(sentences):
    assert split_sentences("".join(sentences)) == [sentence.strip() for sentence in sentences]


@given(st.lists(st.sampled_from(["one two three four five.", "no.", "\n", "a b c d e f?", "水" * 9 + "。"])))
def test_sentences_are_parts_of_the_text_in_their_order(parts):
    text = " ".join(parts)
    found = split_sentences(text)
    assert re.sub(r"\s", "", "".join(found)) == re.sub(r"\s", "", text.replace("no.", ""))
