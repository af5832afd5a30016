"""Builds by name: what there is, what a build may be asked, and what the configs ask of them."""

import pytest

from genir.collection.published import find_published
from genir.config import load_config
from genir.errors import GenirError
from indexing.prepare_collection import download


def test_the_configs_of_published_rows_name_builds_and_do_not_choose_on_test(root):
    found = [load_config(path) for path in sorted((root / "configs").glob("*.yaml"))]
    published = [config for config in found if config.collection.published]
    assert len(published) >= 8
    for config in published:
        counts = find_published(config.collection.published).counts
        assert set(config.search.splits) <= set(counts.splits)
        assert "dev" not in counts.splits  # so prepare carves it from train
        dev = counts.splits["train"][0] * config.collection.dev_fraction
        assert dev > config.sft.eval_queries


@pytest.mark.parametrize(
    ("build", "words"),
    [
        ("ms300k", "no build 'ms300k'; there are: msmarco-doc-top300k, "),
        ("beir/lunch", "beir/lunch: BEIR has no such set; there are: msmarco, "),
        ("beir/cqadupstack/lunch", "beir/cqadupstack/lunch: no such set"),
        ("msmarco-doc", "msmarco-docs.tsv.gz, msmarco-doctrain-queries.tsv.gz, .* missing; put them there"),
    ],
)
def test_what_is_not_known_or_not_there_is_named(prepare, build, words):
    with pytest.raises(GenirError, match=words):
        prepare(build)


def test_a_build_has_its_own_splits_and_only_a_build_is_downloaded(prepare, tmp_path):
    with pytest.raises(GenirError, match="the build nq320k has its own: train, test"):
        prepare("nq320k", "collection.splits={dev: test}")
    config = load_config(tmp_path / "c.yaml", ["collection.published=null"])
    with pytest.raises(GenirError, match=r"name one with collection\.published=NAME"):
        download(config.collection)
