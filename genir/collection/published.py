"""The published collections by name: their raw files, the selection of documents and splits, and their counts.

In the literature, the names "NQ320K" and "MS300K" each stand for several collections, whose results must never be
compared with each other. Here each of these collections has its own name.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from genir.collection.base import Collection
from genir.collection.beir_zip import open_beir_set, zip_name
from genir.collection.irds import IrDatasetsCollection
from genir.collection.msmarco import (
    DOCUMENT_SPLITS,
    DOCUMENT_TREC_SPLITS,
    PASSAGE_SPLITS,
    MsMarcoDocuments,
    MsMarcoPassages,
)
from genir.collection.nq import RAW_FILES as NQ_RAW_FILES
from genir.collection.nq import NaturalQuestions
from genir.collection.subsets import ClickedSubset, JudgedSubset
from genir.errors import GenirError


class Counts(NamedTuple):
    """The size of a published collection: its documents, and for each split (judged queries, judgments)."""

    documents: int
    splits: Mapping[str, tuple[int, int]]


class IrDatasetsId(NamedTuple):
    """The ir_datasets id of the same data, and for each split the rest of its id after `dataset_id`."""

    dataset_id: str
    splits: Mapping[str, str]


class PublishedCollection(NamedTuple):
    """A published collection, which is made from raw files by `select(open(folder), scratch)`."""

    group: str
    """The group of its raw files in data/sources.yaml."""
    files: Sequence[str]
    """Names of its raw files."""
    open: Callable[[Path], Collection]
    """Opens the folder of the raw files."""
    select: Callable[[Collection, Path], Collection]
    """Selects documents and queries; the second argument is a scratch folder for a temporary file."""
    counts: Counts
    bm25_r1: float | None = None
    """The published R@1 of BM25 on test in per cent, by which the collection can be recognised."""
    irds: IrDatasetsId | None = None
    """Its id in ir_datasets, from which it can be made instead of raw files."""


def _select_all(source: Collection, scratch: Path) -> Collection:
    return source


def _select_judged(source: Collection, scratch: Path) -> Collection:
    return JudgedSubset(source)


_DOCUMENT_COUNTS = {"train": (367_013, 367_013), "test": (5_193, 5_193)}
_TREC_IDS = {"dl19": "trec-dl-2019/judged", "dl20": "trec-dl-2020/judged"}

PUBLISHED = {
    # All clicked documents of msmarco-docs. There are 808 test queries: the published measures are multiples of 1/808.
    "msmarco-doc-top300k": PublishedCollection(
        "msmarco-doc",
        MsMarcoDocuments.raw_files(DOCUMENT_SPLITS),
        lambda folder: MsMarcoDocuments(folder, DOCUMENT_SPLITS),
        ClickedSubset,
        Counts(319_927, {"train": (367_013, 367_013), "test": (808, 808)}),
        18.94,
        IrDatasetsId("msmarco-document", {"train": "train", "test": "dev"}),
    ),
    "msmarco-doc": PublishedCollection(
        "msmarco-doc",
        MsMarcoDocuments.raw_files(DOCUMENT_SPLITS | DOCUMENT_TREC_SPLITS),
        lambda folder: MsMarcoDocuments(folder, DOCUMENT_SPLITS | DOCUMENT_TREC_SPLITS),
        _select_judged,
        Counts(3_213_835, _DOCUMENT_COUNTS | {"dl19": (43, 16_258), "dl20": (45, 9_098)}),
        None,
        IrDatasetsId("msmarco-document", {"train": "train", "test": "dev"} | _TREC_IDS),
    ),
    # The file of train judgments has 532,761 lines, 10 of which are repeated.
    "msmarco-passage": PublishedCollection(
        "msmarco-passage",
        MsMarcoPassages.raw_files(PASSAGE_SPLITS),
        lambda folder: MsMarcoPassages(folder, PASSAGE_SPLITS),
        _select_judged,
        Counts(
            8_841_823,
            {"train": (502_939, 532_751), "test": (6_980, 7_437), "dl19": (43, 9_260), "dl20": (54, 11_386)},
        ),
        None,
        IrDatasetsId("msmarco-passage", {"train": "train", "test": "dev/small"} | _TREC_IDS),
    ),
    "nq320k": PublishedCollection(
        "nq",
        NQ_RAW_FILES,
        NaturalQuestions,
        _select_all,
        Counts(109_739, {"train": (307_373, 307_373), "test": (7_830, 7_830)}),
        29.7,
    ),
    # One question per page: 1,713 of the pages belong to a test question and the others to a train question.
    "nq320k-ddro": PublishedCollection(
        "nq",
        NQ_RAW_FILES,
        lambda folder: NaturalQuestions(folder, one_question_per_page=True),
        _select_all,
        Counts(109_739, {"train": (108_026, 108_026), "test": (1_713, 1_713)}),
        14.06,
    ),
}


def find_published(name: str) -> PublishedCollection:
    """Return the published collection `name`, a key of `PUBLISHED` or beir/SET; raise GenirError if there is none."""
    if name.startswith("beir/"):
        return _find_beir_set(name.removeprefix("beir/"))
    if name not in PUBLISHED:
        raise GenirError(
            f"collection.published: no published collection {name!r}; there are: {', '.join(PUBLISHED)}, and beir/SET"
        )
    return PUBLISHED[name]


def _find_beir_set(name: str) -> PublishedCollection:
    """Return a BEIR data set, with the counts that the catalogue of ir_datasets states."""
    import ir_datasets

    files = [zip_name(name)]
    metadata: dict[str, Any] = {}
    for part in ("", "/train", "/dev", "/test"):
        with contextlib.suppress(KeyError):
            metadata[part] = ir_datasets.load(f"beir/{name}{part}").metadata()
    if not metadata:
        raise GenirError(
            f"collection.published beir/{name}: there is no such data set; ir-datasets.com/beir lists those of BEIR"
        )
    splits = {
        part.removeprefix("/") or "test": (counts["queries"]["count"], counts["qrels"]["count"])
        for part, counts in metadata.items()
        if "qrels" in counts
    }
    return PublishedCollection(
        "beir",
        files,
        lambda folder: open_beir_set(folder, name),
        _select_all,
        Counts(metadata[""]["docs"]["count"], splits),
        None,
        IrDatasetsId(f"beir/{name}", {}),
    )


def open_published(name: str, path: str, scratch: Path) -> Collection:
    """Open the published collection `name` from the folder of its raw files, or from its ir_datasets id (irds:ID).

    scratch: a folder for a temporary file, on a disk with enough space for the texts of the collection. Raises
    GenirError for an unknown name, for missing raw files, and for an ir_datasets id of another collection.
    """
    published = find_published(name)
    if not path.startswith("irds:"):
        return published.select(published.open(Path(path)), scratch)
    if published.irds is None or path != f"irds:{published.irds.dataset_id}":
        alternative = f" or from irds:{published.irds.dataset_id}" if published.irds else ""
        raise GenirError(f"collection.path {path}: {name} can only be made from a folder of raw files{alternative}")
    return published.select(IrDatasetsCollection(*published.irds), scratch)


def check_counts(name: str, documents: int, splits: Mapping[str, Mapping[str, int]]) -> None:
    """Raise GenirError, listing every difference, if a collection does not have the published counts.

    splits: name -> {"queries": number of judged queries, "judgments": number of judgments}.
    """
    published = find_published(name).counts
    compared = [("documents", documents, published.documents)]
    for split, (queries, judgments) in published.splits.items():
        actual = splits.get(split, {"queries": 0, "judgments": 0})
        compared.append((f"{split} queries", actual["queries"], queries))
        compared.append((f"{split} judgments", actual["judgments"], judgments))
    wrong = [f"{actual:,} {what} instead of {expected:,}" for what, actual, expected in compared if actual != expected]
    if wrong:
        raise GenirError(
            f"{name}: {', '.join(wrong)}; the raw files are incomplete or are not the published ones. To use a sample "
            "of them, set collection.expect_counts=false"
        )
