import pytest

from genir.config import load_config, save_config
from genir.errors import GenirError


@pytest.fixture
def config(tmp_path):
    def write(text, *overrides):
        (tmp_path / "c.yaml").write_text(text)
        return load_config(tmp_path / "c.yaml", overrides)

    return write


def test_every_shipped_config_parses(root):
    paths = sorted((root / "configs").glob("*.yaml"))
    assert {path.stem for path in paths} >= {"quickstart", "squad"}
    for path in paths:
        assert load_config(path).name == path.stem


@pytest.mark.parametrize(
    ("text", "key", "near"),
    [
        ("colection: {path: x}", "colection", "collection"),
        ("collection: {paht: x}", "collection.paht", "path"),
        ("collection: {path: x}\nsft: {batch_sise: 3}", "sft.batch_sise", "batch_size"),
        ("collection: {path: x}\nsft: {phases: [{step: 3}]}", "sft.phases.0.step", "steps"),
        ("collection: {path: x}\nsft: {spans: {min_word: 3}}", "sft.spans.min_word", "min_words"),
        ("collection: {path: x}\ndocids: {builder: rq, level: 3}", "docids.level", "levels"),
        ("collection: {path: x}\nsft: {steps: 5}", "sft.steps", "sft.phases.0.steps"),
        ("collection: {path: x}\nsft: {max_words: 5}", "sft.max_words", "sft.spans.max_words"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(config, text, key, near):
    with pytest.raises(GenirError, match=rf"unknown key {key}; did you mean {near}\?"):
        config(text)


def test_a_wrong_value_names_its_key(config):
    with pytest.raises(GenirError, match=r"sft\.batch_size: "):
        config("collection: {path: x}\nsft: {batch_size: none}")
    with pytest.raises(GenirError, match=r"collection\.path: "):
        config("collection: {}")
    with pytest.raises(GenirError, match=r"search: .*5 beams cannot give k = 9"):
        config("collection: {path: x}\nsearch: {k: 9, beams: 5}")
    with pytest.raises(GenirError, match=r"evaluate\.measures need 1000 hits, but search.k is 100"):
        config("collection: {path: x}\nevaluate: {measures: [RR@10, R@1000, AP]}")
    with pytest.raises(GenirError, match=r"sft\.metric R@5 is not among evaluate\.measures"):
        config("collection: {path: x}\nsft: {metric: R@5}")
    with pytest.raises(GenirError, match=r"queries: .*tune_steps trains a seq2seq model, but the method is text"):
        config("collection: {path: x}\nqueries: {tune_steps: 5}")
    with pytest.raises(
        GenirError, match=r"docids\.builder: no builder 'fancy'; .* atomic, kmeans, pq, rq, rqvae, text"
    ):
        config("collection: {path: x}\ndocids: {builder: fancy}")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("docids={levels: 3}", r"docids\.builder: missing; there are: atomic"),
        ("sft=5", r"yaml: sft: needs a section with keys of its own, not 5"),
        ("evaluate.measures=[R@1000]", r"yaml: evaluate\.measures need 1000 hits"),
        ("search.k=1000", r"yaml: search: 100 beams cannot give k = 1000"),
        ("sft.phases.0.mix={}", r"sft\.phases\.0\.mix: at least one share must be above 0"),
        ("ddro.mix={spans: 0, queries: 0}", r"ddro\.mix: at least one share must be above 0"),
        ("sft.phases.0.mix={spans: -1, queries: 2}", r"sft\.phases\.0\.mix\.spans: .*greater than or equal to 0"),
        ("sft.phases.0.mix={spans: .inf}", r"sft\.phases\.0\.mix\.spans: .*finite"),
        ("seed=-1", r"seed: .*greater than or equal to 0"),
        ("seed=4294967296", r"seed: .*less than or equal to 2000000000"),
        ("name=..", r"name: '\.\.' cannot name a run folder .* name=NAME"),
        ("name=.", r"name: '\.' cannot name a run folder"),
        ("name=my config", r"name: 'my config' cannot name a run folder"),
        ("negatives.bands=[{first: 5, last: 1, count: 3}]", r"negatives\.bands\.0: last \(1\) is below first \(5\)"),
    ],
)
def test_a_value_that_would_fail_later_is_refused(config, override, words):
    with pytest.raises(GenirError, match=words):
        config("collection: {path: x}\nsft: {phases: [{steps: 5}]}", override)


def test_a_builder_changed_by_an_override_is_told_to_bring_its_section(config):
    text = "collection: {path: x}\ndocids: {builder: rq, levels: 3, codebook_size: 128}"
    for quoted in ('docids.builder="atomic"', "docids.builder= atomic"):
        with pytest.raises(GenirError, match="replace the section"):
            config(text, quoted)
    with pytest.raises(GenirError, match="the key a is there twice"):
        config(text, "docids={a: 1, a: 2}")
    with pytest.raises(GenirError) as error:
        config(text, "docids.builder=kmeans", "docids.branching=4", "docids.leaf=2")
    assert "replace the section: 'docids={builder: kmeans, branching: 4}'" in str(error.value)
    assert "unknown key docids.leaf; did you mean leaf_size?" in str(error.value)
    assert str(error.value).count("replace the section") == 1
    assert config(text, "docids={builder: kmeans, branching: 4}").docids.branching == 4
    assert config(text, "docids.builder=pq").docids.levels == 3


def test_overrides_replace_nested_values_and_list_items(config):
    text = "collection: {path: x}\nsft: {phases: [{steps: 5}, {steps: 6}]}"
    got = config(text, "sft.phases.1.steps=7", "model.size=base", "search.splits=[dev, test]", "collection.path=y")
    assert [stage.steps for stage in got.sft.phases] == [5, 7]
    assert (got.model.size, got.search.splits, got.collection.path) == ("base", ["dev", "test"], "y")


@pytest.mark.parametrize("override", ["sft", "=3", "sft.phases.9.steps=1", "name.x=1"])
def test_an_override_that_leads_nowhere_is_an_error(config, override):
    with pytest.raises(GenirError, match=r"override|does not lead"):
        config("collection: {path: x}\nsft: {phases: [{steps: 5}]}", override)


def test_a_key_that_is_there_twice_is_an_error_with_its_line(config):
    with pytest.raises(GenirError, match=r"c\.yaml:3: not valid YAML: the key batch_size is there twice"):
        config("collection: {path: x}\nsft: {batch_size: 3,\n  batch_size: 4}")
    with pytest.raises(GenirError, match="not valid YAML"):
        config("collection: {path: x}", "docids={builder: pq, builder: rq}")
    merged = config(
        "collection: {path: x}\nddro: &a {beam_candidates: 3, pool_size: 9}\nirpo: {<<: *a, beam_candidates: 4}"
    )
    assert (merged.irpo.beam, merged.irpo.pool) == (4, 9)


def test_what_is_not_a_config_is_a_clear_error(config, tmp_path):
    for text in ("- a list", "a: [", ""):
        with pytest.raises(GenirError, match=r"c\.yaml"):
            config(text)
    with pytest.raises(GenirError, match="no such config file"):
        load_config(tmp_path / "nowhere.yaml")


def test_a_saved_config_is_read_back_from_its_run_folder(config, tmp_path):
    first = config("collection: {path: x}\ndocids: {builder: atomic}\nseed: 4")
    save_config(first, tmp_path / "moved" / "config.yaml")
    again = load_config(tmp_path / "moved")
    assert again.run == tmp_path / "moved"
    assert again.model_copy(update={"name": first.name, "folder": first.folder}) == first
