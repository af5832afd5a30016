"""The lexical index against bm25s, and against an index that is built of the same documents."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genir.bm25 import BM25sIndex
from genir.config import BaselineConfig
from genir.errors import GenirError
from genir.records import Document
from genir.scoring import lexical, postings
from genir.scoring.lexical import LexicalIndex

WORDS = ["owls", "owl", "hunt", "mice", "tea", "leaves", "the", "x", "naïve", "東京大学", "ภาษาไทย", "फूल", "ab", "abc"]
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), max_size=10)
QUERIES = st.lists(st.sampled_from([*WORDS, "unknown", "京都"]), max_size=6).map(" ".join)
SETTINGS = st.builds(BaselineConfig, k1=st.floats(0, 3), b=st.floats(0, 1), stemmer=st.sampled_from(["english", None]))
DEFAULT = BaselineConfig()
NGRAMS = st.sampled_from([None, 3])


def name(texts):
    return [Document(f"d{i}", "", text) for i, text in enumerate(texts)]


def build(texts, settings=DEFAULT, ngram=None):
    return LexicalIndex.build(texts, settings, ngram)


def require_equal(left, right):
    """Both indexes give exactly the same scores, for all words together and for some of them."""
    assert len(left) == len(right)
    for query in [" ".join(WORDS), "owls tea abc tea", "naïve 京大"]:
        for ours, theirs in zip(left.score(query), right.score(query), strict=True):
            assert ours.dtype == theirs.dtype
            assert np.array_equal(ours, theirs)


def require_same_files(left, right, folder):
    left.save(folder / "left")
    right.save(folder / "right")
    for file in (folder / "left").iterdir():
        assert file.read_bytes() == (folder / "right" / file.name).read_bytes()


@given(TEXTS, QUERIES, SETTINGS)
def test_scores_are_those_of_bm25s(texts, query, settings):
    index = build(texts, settings)
    positions, scores = index.score(query)
    theirs = dict(BM25sIndex(name(texts), settings).search_many([query], max(1, len(texts)))[0])
    assert [f"d{i}" for i in positions] == sorted(theirs, key=lambda doc_id: int(doc_id[1:]))
    assert scores == pytest.approx([theirs[f"d{i}"] for i in positions], rel=1e-4)
    assert len(index) == len(texts)
    assert (scores > 0).all()
    assert (positions.dtype, scores.dtype) == (np.int32, np.float32)


def test_scores_of_a_larger_random_collection_are_those_of_bm25s():
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(3000)]
    ranks = (3000 * rng.random(300_000) ** 4).astype(int)
    texts = [" ".join(words[i] for i in part) for part in np.split(ranks, np.sort(rng.integers(0, 300_000, 4999)))]
    settings = BaselineConfig(stemmer=None)
    index, baseline = build(texts, settings), BM25sIndex(name(texts), settings)
    queries = [" ".join(words[i] for i in rng.integers(0, 3000, 5) ** 2 // 3000) for _ in range(20)] + ["w0 w1 w1 w1"]
    for query, hits in zip(queries, baseline.search_many(queries, 5000), strict=True):
        positions, scores = index.score(query)
        expected = np.zeros(5000)
        expected[[int(doc_id[1:]) for doc_id, _ in hits]] = [score for _, score in hits]
        assert positions.tolist() == np.flatnonzero(expected).tolist()
        np.testing.assert_allclose(scores, expected[positions], rtol=1e-4)


@pytest.mark.parametrize("part", [1, 50])
def test_scores_do_not_depend_on_how_many_postings_are_scored_at_once(monkeypatch, part):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, 9)) for _ in range(60)]
    index, queries = build(texts), [" ".join(rng.choice(WORDS, 4)) for _ in range(10)]
    expected = [index.score(query) for query in queries]
    monkeypatch.setattr(lexical, "PART", part)
    monkeypatch.setattr(postings, "PART", part)
    for made in (index, build(texts[::-1]).reordered(range(60)[::-1]), build([*texts, *texts]).subset(range(60))):
        for query, matches in zip(queries, expected, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(made.score(query), matches, strict=True))


@given(TEXTS, TEXTS, SETTINGS, NGRAMS)
def test_an_extended_index_is_the_index_of_all_documents(old, new, settings, ngram):
    extended = build(old, settings, ngram).extended(new)
    require_equal(extended, build(old + new, settings, ngram))


@given(TEXTS, st.data(), SETTINGS, NGRAMS)
def test_a_subset_is_the_index_of_the_chosen_documents(texts, data, settings, ngram):
    chosen = sorted(data.draw(st.sets(st.integers(0, len(texts) - 1)))) if texts else []
    require_equal(build(texts, settings, ngram).subset(chosen), build([texts[i] for i in chosen], settings, ngram))


@given(TEXTS, st.data(), SETTINGS, NGRAMS)
def test_a_reordered_index_is_the_index_of_the_documents_in_this_order(texts, data, settings, ngram):
    index = build(texts, settings, ngram)
    order = data.draw(st.permutations(range(len(texts))))
    require_equal(index.reordered(order), build([texts[i] for i in order], settings, ngram))
    require_equal(index, build(texts, settings, ngram))


@given(TEXTS, SETTINGS, SETTINGS, NGRAMS)
def test_an_index_with_other_parameters_is_one_that_is_built_with_them(texts, settings, other, ngram):
    settings = settings.model_copy(update={"stemmer": other.stemmer})
    require_equal(build(texts, settings, ngram).with_parameters(other.k1, other.b), build(texts, other, ngram))


@given(TEXTS, QUERIES, SETTINGS)
def test_the_entries_of_a_query_add_up_to_its_scores(texts, query, settings):
    index = build(texts, settings)
    expected = np.zeros(len(texts))
    (entries,) = index.find_entries([query])
    for document, frequency, length, weight in zip(*entries, strict=True):
        norm = settings.k1 * (1 - settings.b + settings.b * length)
        expected[document] += weight * frequency / (frequency + norm)
    positions, scores = index.score(query)
    assert sorted(set(entries.positions.tolist())) == positions.tolist()
    assert scores == pytest.approx(expected[positions], rel=1e-4)


def test_ngrams_in_more_than_a_tenth_of_the_documents_are_ignored():
    texts = ["glaciers", "glacier", *(f"owl{i}" for i in range(18))]
    index = build(texts, ngram=3)
    assert index.score("glaciers").positions.tolist() == [0, 1]
    assert index.score("owl").positions.tolist() == []
    assert build(texts).score("owl17").positions.tolist() == [19]


@pytest.mark.parametrize("many", [1, 300, 70_000])
def test_the_files_do_not_depend_on_how_the_index_was_made(tmp_path, many):
    """This includes frequencies and lengths that one byte cannot hold; 70,000 is stored as 65,535."""
    texts = ["owls hunt", "owls tea " * many, "", "tea abc", "ab"]
    whole = build(texts)
    require_same_files(whole, build(texts[:1]).extended(texts[1:]), tmp_path)
    require_same_files(whole, build(texts[:4]).extended(texts[4:]), tmp_path)
    require_same_files(build(texts[2:]), whole.subset([2, 3, 4]), tmp_path)
    require_same_files(build(texts[::-1]), whole.reordered([4, 3, 2, 1, 0]), tmp_path)


@pytest.mark.parametrize("many", [254, 255, 256, 65_535, 65_536, 70_000])
def test_scores_of_long_documents_and_very_frequent_terms_are_those_of_bm25s(many):
    texts = ["owls " * many, "tea", "owls tea"]
    found = build(texts).score("owls tea")
    hits = dict(BM25sIndex(name(texts), DEFAULT).search_many(["owls tea"], 3)[0])
    assert found.scores == pytest.approx([hits[f"d{i}"] for i in range(3)], rel=1e-4)


@pytest.mark.parametrize("texts", [[], [""], ["", "the of", "x"]])
def test_without_terms_nothing_matches(tmp_path, texts):
    build(texts).save(tmp_path / "index")
    for index in (
        build(texts),
        LexicalIndex.load(tmp_path / "index"),
        build(["owls", *texts]).subset(range(1, len(texts) + 1)),
    ):
        assert len(index) == len(texts)
        for query in ("owls", "", "the"):
            assert [array.tolist() for array in index.score(query)] == [[], []]


@pytest.mark.slow
@given(TEXTS, SETTINGS)
def test_a_saved_index_is_loaded_unchanged(tmp_path_factory, texts, settings):
    index = build(texts, settings).with_term_weights({"owl": 0.5, "naïve": 2, "東": 0})
    folder = tmp_path_factory.mktemp("lexical") / "index"
    index.save(folder)
    loaded = LexicalIndex.load(folder)
    require_equal(loaded, index)
    more = build([*texts, "owls abc 東京"], settings).with_term_weights(index.term_weights)
    require_equal(loaded.extended(["owls abc 東京"]), more)
    reverse = build(texts[::-1], settings).with_term_weights(index.term_weights)
    require_equal(loaded.reordered(range(len(texts))[::-1]), reverse)
    require_equal(loaded, index)


def test_several_threads_get_the_same_scores_as_one():
    rng = np.random.default_rng(0)
    index = build([" ".join(rng.choice(WORDS, 9)) for _ in range(500)])
    queries = [" ".join(rng.choice(WORDS, 3)) for _ in range(200)]
    with ThreadPoolExecutor(4) as threads:
        for ours, theirs in zip(threads.map(index.score, queries), map(index.score, queries), strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_numbers_of_documents_that_are_not_in_order_are_an_error():
    index = build(["owls", "tea", "mice"])
    for numbers in ([1, 0], [1, 1], [-1, 2]):
        with pytest.raises(ValueError, match="must be ascending"):
            index.subset(numbers)
    for numbers in ([0, 1], [0, 1, 1], [1, 2, 3]):
        with pytest.raises(ValueError, match="every document once"):
            index.reordered(numbers)


def test_a_missing_file_is_named(tmp_path):
    build(["owls"]).save(tmp_path / "index")
    with pytest.raises(GenirError, match=r"other/lexical\.json: no such file"):
        LexicalIndex.load(tmp_path / "other")
    (tmp_path / "index" / "postings.safetensors").unlink()
    with pytest.raises(GenirError, match=r"postings\.safetensors: no such file"):
        LexicalIndex.load(tmp_path / "index")


def test_damaged_files_are_errors_of_one_line(tmp_path):
    folder, other = tmp_path / "index", tmp_path / "other"
    for path in (folder, other):
        build(["owls hunt", "mice"] if path == folder else ["owls", "tea", "tea"]).save(path)
    settings = json.loads((folder / "lexical.json").read_text())
    whole = (folder / "postings.safetensors").read_bytes()
    changes = [{"k1": "high"}, {"term_weights": {"owl": -1}}, {"term_weights": {"owl": "1"}}, {"term_weights": [1]}]
    damages = {
        "lexical.json": [b"{", b"[]", b"{}", *(json.dumps(settings | change).encode() for change in changes)],
        "postings.safetensors": [b"", whole[:-1], whole[:50], (other / "postings.safetensors").read_bytes()],
    }
    for file, contents in damages.items():
        original = (folder / file).read_bytes()
        for content in contents:
            (folder / file).write_bytes(content)
            with pytest.raises(GenirError, match=file) as caught:
                LexicalIndex.load(folder)
            assert "\n" not in str(caught.value)
        (folder / file).write_bytes(original)
    require_equal(LexicalIndex.load(folder), build(["owls hunt", "mice"]))
