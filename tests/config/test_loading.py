import json
import os

import pytest

from genir.config.docids import RQConfig
from genir.config.loading import load_config, parse_docids, save_config
from genir.config.training import DDROConfig
from genir.errors import GenirError


def test_every_config_of_the_repository_loads_under_the_name_of_its_file(root):
    paths = sorted((root / "configs").glob("*.yaml"))
    assert {path.stem for path in paths} >= {"quickstart", "squad"}
    for path in paths:
        assert load_config(path).name == path.stem


def test_every_config_of_the_repository_is_in_the_table_of_its_readme(root):
    """A row such as `a-{b,c}` stands for a-b and a-c."""
    named = set()
    for line in (root / "configs" / "README.md").read_text().splitlines():
        if line.startswith("| `"):
            start, _, rest = line.split("`")[1].partition("{")
            named |= {start + end for end in rest.rstrip("}").split(",")}
    assert named == {path.stem for path in (root / "configs").glob("*.yaml")}


def test_overrides_replace_nested_values_and_list_items(load_text):
    text = "collection: {path: x}\nsft: {phases: [{steps: 5}, {steps: 6}]}"
    config = load_text(
        text, "sft.phases.1.steps=7", "model.size=base", "search.splits=[dev, test]", "collection.path=y"
    )
    assert [phase.steps for phase in config.sft.phases] == [5, 7]
    assert (config.model.size, config.search.splits, config.collection.path) == ("base", ["dev", "test"], "y")


@pytest.mark.parametrize("override", ["sft", "=3"])
def test_an_override_without_a_key_and_a_value_is_an_error(load_text, override):
    with pytest.raises(GenirError, match=r"an override must have the form key=value"):
        load_text("collection: {path: x}", override)


@pytest.mark.parametrize("override", ["sft.phases.9.steps=1", "sft.phases.first.steps=1", "name.x=1"])
def test_an_override_of_a_setting_that_does_not_exist_is_an_error(load_text, override):
    with pytest.raises(GenirError, match=f"there is no setting {override.split('=')[0]}"):
        load_text("collection: {path: x}\nname: n\nsft: {phases: [{steps: 5}]}", override)


def test_an_override_adds_a_section_that_is_missing_or_null(load_text):
    for text in ("collection: {path: x}\nddro: null", "collection: {path: x}\nddro:", "collection: {path: x}"):
        assert load_text(text, "ddro.steps=3").ddro == DDROConfig(steps=3)
    assert load_text("collection: {path: x}", "ddro.spans.min_words=2").ddro.spans.min_words == 2


def test_paths_are_expanded_in_files_and_overrides(load_text, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    config = load_text("collection: {path: ~/set}\nruns_dir: $HOME/runs", "collection.path=~/set #2", "name=2024-01-01")
    assert (config.collection.path, config.runs_dir, config.name) == ("/home/me/set #2", "/home/me/runs", "2024-01-01")


@pytest.mark.parametrize("override", ["sft.phases.-1.steps=1", "sft.phases.\u0660.steps=1", "sft.phases.0_0.steps=1"])
def test_an_index_is_a_plain_number_from_0(load_text, override):
    with pytest.raises(GenirError, match="there is no setting"):
        load_text("collection: {path: x}\nsft: {phases: [{steps: 5}]}", override)


def test_deep_yaml_and_paths_without_a_readable_file_are_one_line_errors(load_text, tmp_path):
    for text, override in (("[" * 1_500, "seed=1"), ("collection: {path: x}", "sft=" + "[" * 1_500)):
        with pytest.raises(GenirError, match="not valid YAML: maximum recursion"):
            load_text(text, override)
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(GenirError, match=r"pipe\.yaml: cannot be read \(it is a pipe or a device\)"):
        load_config(tmp_path / "pipe.yaml")
    with pytest.raises(GenirError, match="no such config file"):
        load_config(tmp_path / ("x" * 300))


def test_a_file_that_is_not_a_config_is_an_error_that_names_it(load_text, tmp_path):
    for text in ("- a list", "a: [", ""):
        with pytest.raises(GenirError, match=r"c\.yaml"):
            load_text(text)
    with pytest.raises(GenirError, match="no such config file"):
        load_config(tmp_path / "nowhere.yaml")


def test_a_duplicate_key_is_an_error_that_names_its_line_or_override(load_text):
    with pytest.raises(GenirError, match=r"c\.yaml:3: not valid YAML: the key batch_size appears twice"):
        load_text("collection: {path: x}\nsft: {batch_size: 3,\n  batch_size: 4}")
    with pytest.raises(GenirError, match=r"'docids=.*': not valid YAML: the key builder appears twice"):
        load_text("collection: {path: x}", "docids={builder: pq, builder: rq}")


def test_several_mistakes_are_reported_together_each_after_the_file_or_the_override_with_the_mistake(load_text):
    text = "collection: {path: x}\nsft: {batch_size: none, patience: 0}\nsearch: {k: 5}"
    with pytest.raises(GenirError) as error:
        load_text(text, "search.beam=3", "sft.stages.0.steps=5")
    found = str(error.value).splitlines()
    assert found[0].endswith("c.yaml:")
    assert [line.split(":")[0] for line in found[1:]] == [
        "  sft.batch_size",
        "  sft.patience",
        "'sft.stages.0.steps=5'",
        "'search.beam=3'",
    ]


def test_the_config_of_an_earlier_version_is_refused_with_what_can_be_done_with_the_run_folder(tmp_path):
    (tmp_path / "config.yaml").write_text("name: x\nfolder: runs\ncollection: {path: x}\nsft: {embedding_rate: 2.0}")
    with pytest.raises(GenirError) as error:
        load_config(tmp_path)
    source, *mistakes, advice = str(error.value).splitlines()
    assert source == f"{tmp_path / 'config.yaml'}:"
    assert sorted(mistakes) == [
        "  folder is now called runs_dir",
        "  sft.embedding_rate is now called sft.embedding_lr_multiplier",
    ]
    assert f"genir search {tmp_path} --query" in advice


def test_a_saved_config_is_loaded_from_its_run_folder_after_a_move(load_text, tmp_path):
    first = load_text("collection: {path: x}\ndocids: {builder: atomic}\nseed: 4")
    save_config(first, tmp_path / "moved" / "config.yaml")
    again = load_config(tmp_path / "moved")
    assert again.run_folder == tmp_path / "moved"
    assert again.model_copy(update={"name": first.name, "runs_dir": first.runs_dir}) == first


@pytest.mark.parametrize("codebook_size", ["codebook_size", "codes"])
def test_settings_of_stored_docid_tables_are_read_under_new_and_old_names(codebook_size):
    stored = json.loads(f'{{"builder": "rq", "levels": 3, "{codebook_size}": 64}}')
    assert parse_docids(stored) == RQConfig(levels=3, codebook_size=64)
