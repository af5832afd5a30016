"""The measures of sets of experts, compared with bm25s and with rankings that are sorted here."""

from collections import Counter
from statistics import fmean

import numpy as np
import pytest

from genir.bm25 import BM25sIndex
from genir.collection.prepared import PreparedCollection
from genir.config import BaselineConfig, load_config
from genir.docids.trie import Trie
from genir.embedders import fit_tfidf
from genir.evaluation.contributions import ExpertContribution
from genir.evaluation.measures import measure
from genir.evaluation.trec import qrels
from genir.scoring.ablation import measure_experts
from genir.scoring.dense import DenseIndex
from genir.scoring.experts import FIELDS, Experts
from genir.scoring.lexical import LexicalIndex
from indexing import prepare_collection
from tests.helpers.beir import write_beir
from tests.helpers.retrievers import make_documents

DOCUMENTS = make_documents(60)
TRIE = Trie.from_codes(np.random.default_rng(1).integers(0, 4, (60, 3)))
LEAVES = [DOCUMENTS[doc_index].id for doc_index in TRIE.doc_indices.tolist()]
BM25 = BaselineConfig(k1=1.2, b=0.6)
METRICS = ["RR@10", "nDCG@3", "AP"]


@pytest.fixture
def make_data(tmp_path):
    """A prepared collection with test queries whose words are of the relevant document and of that with their id."""

    def make(queries, ignore):
        rng = np.random.default_rng(2)
        judged = [(f"d{i}", f"d{(i + rng.integers(1, 60)) % 60}", 1) for i in range(queries)]
        texts = {}
        for i, (query_id, relevant, _) in enumerate(judged):
            words = [word for d in (DOCUMENTS[i % 60], DOCUMENTS[int(relevant[1:])]) for word in d.text.split()]
            texts[query_id] = " ".join(rng.choice(words, 3))
        folder = write_beir(
            tmp_path / "beir",
            [{"_id": d.id, "title": d.title, "text": d.text} for d in DOCUMENTS],
            [{"_id": query_id, "text": text} for query_id, text in texts.items()],
            {"train": judged[:1], "dev": judged[:1], "test": judged},
        )
        (tmp_path / "c.yaml").write_text(f"collection: {{path: {folder}}}\nruns_dir: {tmp_path / 'runs'}\n")
        config = load_config(tmp_path / "c.yaml", [f"collection.ignore_identical_ids={ignore}"])
        prepare_collection.main(config)
        return PreparedCollection(config.run_folder / "collection")

    return make


def make_index(name):
    if name == "dense":
        embedder = fit_tfidf(DOCUMENTS, 8, 0, "corpus")
        index = DenseIndex(embedder.embed(DOCUMENTS), embedder)
    else:
        index = LexicalIndex.build(map(FIELDS[name].read, DOCUMENTS), BM25, FIELDS[name].ngram)
    return index.reordered(TRIE.doc_indices.numpy())


def mean_of_sorted(data, scores_of, metric, k):
    """The mean of a measure over the first 1,000 queries. scores_of: text of a query -> doc_id -> score."""
    run, judged = {}, qrels(data.judgments("test"))
    for query in data.queries("test")[:1000]:
        scores = {d: round(x, 4) for d, x in scores_of(query.text).items() if not data.is_ignored(query.id, d)}
        ranked = sorted(scores, key=lambda doc_id: (-scores[doc_id], LEAVES.index(doc_id)))[:k]
        run[query.id] = {doc_id: -float(rank) for rank, doc_id in enumerate(ranked)}
    return fmean(measure(run, {query_id: judged[query_id] for query_id in run}, [metric])[metric].values())


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("ignore", ["true", "false"])
def test_a_single_expert_is_measured_as_bm25s_ranks(make_data, metric, ignore):
    data = make_data(30, ignore)
    bm25s = BM25sIndex(DOCUMENTS, BM25)
    expected = mean_of_sorted(data, lambda text: dict(bm25s.search_many([text], 60)[0]), metric, 10)
    found = measure_experts(Experts({"text": make_index("text")}, {"text": 1.7}), LEAVES, data, "test", metric, 10)
    assert 0 < expected < 1
    assert found[:4] == ("test", metric, 30, 30)
    assert found.experts == [ExpertContribution("text", 1.7, 1.2, 0.6, pytest.approx(expected), None)]
    assert found.together == pytest.approx(expected)
    assert (found.run, found.combined) == (None, None)


@pytest.mark.parametrize("names", [("text", "dense"), ("text", "title", "characters", "dense")])
@pytest.mark.parametrize("ignore", ["true", "false"])
def test_several_experts_are_measured_alone_together_and_without_each(make_data, names, ignore):
    data = make_data(30, ignore)
    weights = dict(zip(names, (0.5, 1.5, 0.25, 0.125), strict=False))
    indexes = {name: make_index(name) for name in names}

    def mean_of(chosen):
        def score(text):
            total = Counter()
            for name in chosen:
                for leaf, x in zip(*indexes[name].score(text), strict=True):
                    total[LEAVES[leaf]] += weights[name] * float(x)
            return total

        return pytest.approx(mean_of_sorted(data, score, "RR@10", 10))

    found = measure_experts(Experts(indexes, weights), LEAVES, data, "test", "RR@10", 10)
    assert found.together == mean_of(names)
    assert [expert.name for expert in found.experts] == list(names)
    for expert in found.experts:
        assert expert.weight == weights[expert.name]
        assert (expert.k1, expert.b) == ((None, None) if expert.name == "dense" else (1.2, 0.6))
        assert expert.alone == mean_of([expert.name])
        assert expert.without == mean_of([name for name in names if name != expert.name])
    assert len({found.together, *(x for expert in found.experts for x in expert[-2:])}) > 1


def test_only_the_first_thousand_queries_are_measured(make_data):
    data = make_data(1005, "false")
    index = make_index("text")

    def score(text):
        return {LEAVES[leaf]: float(x) for leaf, x in zip(*index.score(text), strict=True)}

    found = measure_experts(Experts({"text": index}, {"text": 1.0}), LEAVES, data, "test", "RR@10", 10)
    assert (found.queries, found.total) == (1000, 1005)
    assert found.together == pytest.approx(mean_of_sorted(data, score, "RR@10", 10))
