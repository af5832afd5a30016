import ir_datasets
import pytest

from genir.collection.published import PUBLISHED, IrDatasetsId, check_counts, find_published, open_published
from genir.collection.sources import load_sources
from genir.config import CollectionConfig, load_config
from genir.errors import GenirError
from tests.helpers.nq import write_nq
from tests.helpers.raw_files import DOCUMENT_FILES, DOCUMENTS, join_columns, write_raw


def test_the_configs_of_published_collections_do_not_choose_on_test(root):
    configs = [load_config(path) for path in sorted((root / "configs").glob("*.yaml"))]
    published = [config for config in configs if config.collection.published]
    assert len(published) >= 8
    for config in published:
        counts = find_published(config.collection.published).counts
        assert set(config.search.splits) <= set(counts.splits)
        assert "dev" not in counts.splits  # so that prepare carves it from train
        dev = counts.splits["train"][0] * config.collection.dev_fraction
        assert dev > config.sft.eval_queries


def test_every_published_collection_is_listed_in_the_help_and_its_raw_files_in_the_sources():
    description = CollectionConfig.model_fields["published"].description
    for name, published in PUBLISHED.items():
        assert f" {name}," in description
        files = load_sources()[published.group].files
        assert {file.split("/")[0] for file in published.files} <= set(files)


@pytest.mark.parametrize(
    "name", ["nfcorpus", "arguana", "quora", "cqadupstack/android", "webis-touche2020/v2", "msmarco"]
)
def test_a_beir_set_of_the_catalogue_is_a_published_collection_with_counts(name):
    published = find_published(f"beir/{name}")
    assert published.counts.documents > 1000
    assert "test" in published.counts.splits


def test_there_is_one_question_per_page_in_ddro_s_natural_questions():
    nci, ddro = PUBLISHED["nq320k"].counts, PUBLISHED["nq320k-ddro"].counts
    assert nci.documents == ddro.documents == sum(queries for queries, _ in ddro.splits.values())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ms300k", "no published collection 'ms300k'; there are: msmarco-doc-top300k, "),
        ("beir/lunch", "beir/lunch: BEIR has no such data set; there are: msmarco, "),
        ("beir/cqadupstack/lunch", "beir/cqadupstack/lunch: there is no such data set"),
        ("msmarco-doc", "missing msmarco-docs.tsv.gz, msmarco-doctrain-queries.tsv.gz, .*; copy them into this folder"),
    ],
)
def test_an_unknown_name_or_missing_raw_files_are_reported(tmp_path, name, words):
    with pytest.raises(GenirError, match=words):
        open_published(name, str(tmp_path / "raw"), tmp_path)


def test_another_ir_datasets_id_is_reported_with_the_right_one(tmp_path):
    with pytest.raises(GenirError, match=r"a folder of raw files or from irds:msmarco-document$"):
        open_published("msmarco-doc", "irds:msmarco-passage", tmp_path)
    with pytest.raises(GenirError, match=r"nq320k can only be made from a folder of raw files$"):
        open_published("nq320k", "irds:natural-questions", tmp_path)


def test_a_published_collection_is_opened_from_its_raw_files(tmp_path):
    collection = open_published("nq320k", str(write_nq(tmp_path / "raw")), tmp_path)
    assert collection.splits == list(PUBLISHED["nq320k"].counts.splits)
    assert len(list(collection.documents())) == 5


@pytest.fixture
def msmarco_dataset(tmp_path):
    """The raw files of tests.helpers.raw_files as a dataset of ir_datasets, in which the official dev set is dev."""
    (tmp_path / "docs.tsv").write_bytes(join_columns([(d[0], f"{d[2]} {d[3]}".replace("\t", " ")) for d in DOCUMENTS]))
    docs = str(tmp_path / "docs.tsv")
    registry = ir_datasets.registry
    registry.register("genir-msmarco", ir_datasets.create_dataset(docs_tsv=docs))
    for split in ("train", "dev"):
        for kind in ("queries", "qrels"):
            rows = DOCUMENT_FILES[f"msmarco-doc{split}-{kind}.tsv.gz"]
            (tmp_path / f"{split}-{kind}").write_bytes(join_columns(rows))
        part = ir_datasets.create_dataset(
            docs_tsv=docs, queries_tsv=str(tmp_path / f"{split}-queries"), qrels_trec=str(tmp_path / f"{split}-qrels")
        )
        registry.register(f"genir-msmarco/{split}", part)
    yield "genir-msmarco"
    for name in ("genir-msmarco", "genir-msmarco/train", "genir-msmarco/dev"):
        del registry._registered[name]


def test_an_ir_datasets_id_gives_the_same_documents_and_splits_as_the_raw_files(
    prepare, tmp_path, monkeypatch, msmarco_dataset
):
    write_raw(tmp_path / "raw", DOCUMENT_FILES)
    from_files = prepare("msmarco-doc-top300k")
    doc_ids = [document.id for document in from_files.documents]
    splits = {split: (from_files.judgments(split), from_files.queries(split)) for split in ("train", "dev", "test")}
    published = PUBLISHED["msmarco-doc-top300k"]
    irds = IrDatasetsId(msmarco_dataset, published.irds.splits)
    monkeypatch.setitem(PUBLISHED, "msmarco-doc-top300k", published._replace(irds=irds))
    from_dataset = prepare("msmarco-doc-top300k", path=f"irds:{msmarco_dataset}")
    assert [document.id for document in from_dataset.documents] == doc_ids
    for split, expected in splits.items():
        assert (from_dataset.judgments(split), from_dataset.queries(split)) == expected


def test_the_published_counts_pass_and_every_difference_is_listed():
    counts = {
        "train": {"queries": 108_026, "judgments": 108_026},
        "test": {"queries": 1_713, "judgments": 1_713},
    }
    check_counts("nq320k-ddro", 109_739, counts)
    del counts["test"]
    with pytest.raises(
        GenirError,
        match="nq320k-ddro: 5 documents instead of 109,739, 0 test queries instead of 1,713, 0 test judgments instead",
    ):
        check_counts("nq320k-ddro", 5, counts)
