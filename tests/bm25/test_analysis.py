from concurrent.futures import ThreadPoolExecutor

import pytest
from bm25s.stopwords import STOPWORDS_EN
from bm25s.tokenization import Tokenizer
from hypothesis import given
from hypothesis import strategies as st

from genir.bm25.analysis import STOP_WORDS, Analyzer, NgramAnalyzer, TermNumbering
from genir.errors import GenirError
from genir.words import find_terms

WORDS = ["The", "owls", "Owl's", "hunting", "hunted", "x", "naïve", "東京大学", "ภาษาไทย", "फूल", "was", "running"]
TEXTS = st.lists(st.lists(st.sampled_from(WORDS) | st.text(max_size=5), max_size=8).map(" ".join), max_size=6)


def test_the_stop_words_are_those_of_bm25s():
    assert set(STOPWORDS_EN) == STOP_WORDS


@pytest.mark.parametrize("stemmer", ["english", "german", None])
@given(TEXTS)
def test_terms_and_their_numbers_are_those_of_the_tokenizer_of_bm25s(stemmer, texts):
    import Stemmer

    stem = Stemmer.Stemmer(stemmer) if stemmer else None
    tokenizer = Tokenizer(lower=True, splitter=find_terms, stopwords="en", stemmer=stem)
    ids = list(tokenizer.streaming_tokenize(texts, allow_empty=False))
    names = {number: term for term, number in tokenizer.get_vocab_dict().items()}
    analyzer = Analyzer(stemmer)
    numbering = TermNumbering(analyzer)
    assert [numbering.number_terms(text) for text in texts] == ids
    assert [analyzer.find_terms(text) for text in texts] == [[names[number] for number in row] for row in ids]
    assert {number: term for term, number in numbering.numbers.items()} == names


def test_several_threads_get_the_same_terms_as_one():
    analyzer = Analyzer("english")
    texts = [f"hunting{i} owls running{i}s" for i in range(300)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(analyzer.find_terms, texts)) == [analyzer.find_terms(text) for text in texts]


def test_an_unknown_stemmer_is_an_error():
    with pytest.raises(GenirError, match=r"baseline\.stemmer: no stemmer 'klingon'; there are: .*english"):
        Analyzer("klingon")


def test_ngrams_reach_over_the_words_and_have_a_space_at_both_ends():
    assert NgramAnalyzer(5).find_terms("The red OWL!") == [" red ", "red o", "ed ow", "d owl", " owl "]


@given(TEXTS, st.integers(1, 6))
def test_the_first_and_the_last_characters_of_ngrams_spell_the_words(texts, size):
    analyzer = NgramAnalyzer(size)
    numbering = TermNumbering(analyzer)
    for text in texts:
        joined = " ".join(["", *Analyzer(None).find_terms(text), ""])
        found = analyzer.find_terms(text)
        assert {len(gram) for gram in found} <= {size}
        assert "".join(gram[:1] for gram in found) + found[-1][1:] == joined if found else len(joined) < size
        assert numbering.number_terms(text) == [numbering.numbers[gram] for gram in found]
