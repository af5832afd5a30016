"""Named builds of the published collections: which raw files, made into documents and splits how, and what must come
out. "NQ320K" and "MS300K" each name several builds; their numbers are never compared with each other.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from genir.collection import open_collection
from genir.collection.base import Collection
from genir.collection.beir_zip import open_beir, zip_name
from genir.collection.irds import IrDatasetsCollection
from genir.collection.msmarco import DOC, DOC_TREC, PASSAGE, MsMarcoDocuments, MsMarcoPassages
from genir.collection.nq import TEST, TRAIN, VOCABULARY, NaturalQuestions
from genir.collection.subsets import ClickedSubset, JudgedSubset
from genir.config import CollectionConfig
from genir.errors import GenirError


class Counts(NamedTuple):
    """What a build must hold: documents, and for each split judged queries and judgments."""

    documents: int
    splits: Mapping[str, tuple[int, int]]


class PublishedCollection(NamedTuple):
    """A named build. `irds`: the ir_datasets id that holds the same, and its names of our splits."""

    group: str  # in data/sources.yaml
    files: Sequence[str]
    open: Callable[[Path], Collection]
    finish: Callable[[Collection, Path], Collection]
    counts: Counts
    bm25_r1: float | None = None  # published R@1 of BM25 in per cent, the build's fingerprint
    irds: tuple[str, Mapping[str, str]] | None = None


def _msmarco_files(corpus: str, *parts: Mapping[str, Sequence[str]]) -> list[str]:
    return [corpus, *(name for part in parts for names in part.values() for name in names)]


def _as_it_is(source: Collection, scratch: Path) -> Collection:
    return source


_DOC_COUNTS = {"train": (367_013, 367_013), "test": (5_193, 5_193)}

PUBLISHED = {
    # Every document of msmarco-docs with a click. The test queries: the published figures are multiples of 1/808.
    "msmarco-doc-top300k": PublishedCollection(
        "msmarco-doc",
        _msmarco_files(MsMarcoDocuments.corpus, DOC),
        lambda folder: MsMarcoDocuments(folder, DOC),
        ClickedSubset,
        Counts(319_927, {"train": (367_013, 367_013), "test": (808, 808)}),
        18.94,
        ("msmarco-document", {"train": "train", "test": "dev"}),
    ),
    "msmarco-doc": PublishedCollection(
        "msmarco-doc",
        _msmarco_files(MsMarcoDocuments.corpus, DOC, DOC_TREC),
        lambda folder: MsMarcoDocuments(folder, DOC | DOC_TREC),
        lambda source, scratch: JudgedSubset(source),
        Counts(3_213_835, _DOC_COUNTS | {"dl19": (43, 16_258), "dl20": (45, 9_098)}),
        None,
        (
            "msmarco-document",
            {"train": "train", "test": "dev", "dl19": "trec-dl-2019/judged", "dl20": "trec-dl-2020/judged"},
        ),
    ),
    # The file of train judgments has 532,761 lines, 10 of them twice.
    "msmarco-passage": PublishedCollection(
        "msmarco-passage",
        _msmarco_files(MsMarcoPassages.corpus, PASSAGE),
        lambda folder: MsMarcoPassages(folder, PASSAGE),
        lambda source, scratch: JudgedSubset(source),
        Counts(
            8_841_823,
            {"train": (502_939, 532_751), "test": (6_980, 7_437), "dl19": (43, 9_260), "dl20": (54, 11_386)},
        ),
        None,
        (
            "msmarco-passage",
            {"train": "train", "test": "dev/small", "dl19": "trec-dl-2019/judged", "dl20": "trec-dl-2020/judged"},
        ),
    ),
    "nq320k": PublishedCollection(
        "nq",
        [TRAIN, TEST, VOCABULARY],
        NaturalQuestions,
        _as_it_is,
        Counts(109_739, {"train": (307_373, 307_373), "test": (7_830, 7_830)}),
        29.7,
    ),
    # One question for each page: 1,713 pages are there for a test question, and the rest for a train question.
    "nq320k-ddro": PublishedCollection(
        "nq",
        [TRAIN, TEST, VOCABULARY],
        lambda folder: NaturalQuestions(folder, kept_only=True),
        _as_it_is,
        Counts(109_739, {"train": (108_026, 108_026), "test": (1_713, 1_713)}),
        14.06,
    ),
}


def find_published(name: str) -> PublishedCollection:
    """The build of a name: one of `BUILDS`, or beir/SET; GenirError for an unknown one."""
    if name.startswith("beir/"):
        return _beir(name.removeprefix("beir/"))
    if name not in PUBLISHED:
        raise GenirError(f"collection.published: no build {name!r}; there are: {', '.join(PUBLISHED)}, and beir/SET")
    return PUBLISHED[name]


def _beir(name: str) -> PublishedCollection:
    """A BEIR set; ir_datasets' catalogue says what it must hold."""
    import ir_datasets

    files = [zip_name(name)]
    held: dict[str, Any] = {}
    for part in ("", "/train", "/dev", "/test"):
        with contextlib.suppress(KeyError):
            held[part] = ir_datasets.load(f"beir/{name}{part}").metadata()
    if not held:
        raise GenirError(f"collection.published beir/{name}: no such set; see ir-datasets.com/beir")
    splits = {
        part.removeprefix("/") or "test": (x["queries"]["count"], x["qrels"]["count"])
        for part, x in held.items()
        if "qrels" in x
    }
    counts = Counts(held[""]["docs"]["count"], splits)
    return PublishedCollection(
        "beir", files, lambda folder: open_beir(folder, name), _as_it_is, counts, None, (f"beir/{name}", {})
    )


def open_source(settings: CollectionConfig, scratch: Path) -> Collection:
    """What section `collection` names: a build made from raw files or an ir_datasets id, or a collection as it is.

    `scratch`: a folder on a disk with room for the texts of a build that is sorted.
    """
    if settings.published is None:
        if not settings.path.startswith("irds:") and not Path(settings.path).is_dir():
            raise GenirError(
                f"collection.path {settings.path}: no such folder from {Path.cwd()}; name a BEIR folder, or an id as "
                "irds:ID (ids: ir-datasets.com)"
            )
        return open_collection(settings.path, settings.splits)
    build = find_published(settings.published)
    if settings.splits:
        raise GenirError(
            f"collection.splits: the build {settings.published} has its own: {', '.join(build.counts.splits)}"
        )
    if not settings.path.startswith("irds:"):
        return build.finish(build.open(Path(settings.path)), scratch)
    wanted = build.irds and f"irds:{build.irds[0]}"
    if settings.path != wanted:
        other = f", or {wanted}" if wanted else ""
        raise GenirError(
            f"collection.path {settings.path}: {settings.published} is made from a folder of raw files{other}"
        )
    assert build.irds is not None
    return build.finish(IrDatasetsCollection(*build.irds), scratch)


def check_counts(name: str, documents: int, splits: Mapping[str, Mapping[str, int]]) -> None:
    """Raise GenirError, with every difference, when what was read is not what the build must hold.

    splits: name -> {"queries": judged queries, "judgments": judgments}.
    """
    counts = find_published(name).counts
    pairs = [("documents", documents, counts.documents)]
    for split, expected in counts.splits.items():
        got = splits.get(split, {"queries": 0, "judgments": 0})
        pairs += [(f"{split} {what}", got[what], n) for what, n in zip(("queries", "judgments"), expected, strict=True)]
    wrong = [f"{got:,} {what} instead of {n:,}" for what, got, n in pairs if got != n]
    if wrong:
        raise GenirError(
            f"{name}: {', '.join(wrong)}; the raw files are not the published ones, or not whole. For a sample of "
            "them: collection.expect_counts=false"
        )
