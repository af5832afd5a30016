import pytest

from genir.errors import GenirError


@pytest.mark.parametrize(
    ("text", "key", "similar"),
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
def test_an_unknown_key_is_named_with_the_most_similar_known_one(load_text, text, key, similar):
    with pytest.raises(GenirError, match=rf"unknown key {key}; did you mean {similar}\?"):
        load_text(text)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("sft.batch_size=none", r"^'sft\.batch_size=none': sft\.batch_size: Input should be a valid integer"),
        ("collection={}", r"^'collection={}': collection\.path: Field required"),
        ("docids={levels: 3}", r"docids\.builder is missing; the builders are atomic, kmeans, pq, rq, rqvae, text"),
        (
            "docids={builder: fancy}",
            r"docids\.builder: unknown builder 'fancy'; the builders are atomic, kmeans, pq, rq,",
        ),
        ("sft=5", r"^'sft=5': sft: must be a section with its own keys, got 5"),
        ("evaluate.measures=[R@1000]", r"c\.yaml: evaluate\.measures need 1000 hits"),
        ("search.k=1000", r"c\.yaml: search: 100 beams cannot give k = 1000"),
        ("queries.tune_steps=5", r"c\.yaml: queries: tune_steps trains a seq2seq model, but the method is extractive"),
        ("sft.phases.0.mix={}", r"sft\.phases\.0\.mix: at least one weight must be above 0"),
        ("ddro.mix={spans: 0, queries: 0}", r"ddro\.mix: at least one weight must be above 0"),
        ("sft.phases.0.mix={spans: -1, queries: 2}", r"sft\.phases\.0\.mix\.spans: .*greater than or equal to 0"),
        ("sft.phases.0.mix={spans: .inf}", r"sft\.phases\.0\.mix\.spans: .*valid number, got '\.inf'"),
        ("seed=010", r"seed: .*valid integer, got '010'; write a number in plain decimal digits, without quotes"),
        ("baseline.k1=.inf", r"baseline\.k1: .*valid number, got '\.inf'"),
        ("threads=100000", r"threads: .*less than or equal to 1024"),
        ("search.exact=yes", r"search\.exact: must be true or false, got 'yes'"),
        ("model.pretrained=5", r"model\.pretrained: Input should be a valid string, got 5; put it in quotes: '5'"),
        ("runs_dir=$NO_SUCH/x", r"runs_dir: the environment variable \$NO_SUCH is not set"),
        ("collection.splits={../x: train}", r"collection\.splits\..*should match pattern"),
        ("evaluate.measures=[P@0]", r"evaluate\.measures: P@0: the cut-off must be a whole number from 1"),
        ("seed=-1", r"seed: .*greater than or equal to 0"),
        ("seed=4294967296", r"seed: .*less than or equal to 2000000000"),
        ("name=..", r"name: '\.\.' cannot be the name of a run folder; .* name=NAME"),
        ("negatives.bands=[{first: 5, last: 1, count: 3}]", r"negatives\.bands\.0: last \(1\) is below first \(5\)"),
    ],
)
def test_an_invalid_value_is_an_error_that_names_its_key(load_text, override, words):
    with pytest.raises(GenirError, match=words):
        load_text("collection: {path: x}\nsft: {phases: [{steps: 5}]}", override)


def test_an_override_of_the_builder_alone_is_an_error_that_gives_the_whole_section_to_write(load_text):
    text = "collection: {path: x}\ndocids: {builder: rq, levels: 3, codebook_size: 128}"
    for quoted in ('docids.builder="atomic"', "docids.builder= atomic"):
        with pytest.raises(GenirError, match="replace the whole section"):
            load_text(text, quoted)
    with pytest.raises(GenirError) as error:
        load_text(text, "docids.builder=kmeans", "docids.branching=4", "docids.leaf=2")
    assert "replace the whole section: 'docids={builder: kmeans, branching: 4}'" in str(error.value)
    assert "unknown key docids.leaf; did you mean leaf_size?" in str(error.value)
    assert str(error.value).count("replace the whole section") == 1
    assert load_text(text, "docids={builder: kmeans, branching: 4}").docids.branching == 4
    assert load_text(text, "docids.builder=pq").docids.levels == 3
