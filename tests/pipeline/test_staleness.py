"""The reason why a stage must run again, for each kind of change."""

import copy

import pytest

from genir.config import load_config
from genir.errors import GenirError
from genir.files import content_hash
from genir.pipeline.staleness import setting_value, stale_because, wanted_state


@pytest.fixture
def run(tmp_path):
    """A run folder, a function from overrides to the wanted state, and the record of a stage that has just run."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.txt").write_text("a")
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "in.txt").write_text("in")
    (tmp_path / "r" / "out.txt").write_text("out")
    text = f"collection: {{path: {tmp_path / 'source'}}}\nruns_dir: {tmp_path}\nsft: {{phases: [{{steps: 5}}]}}\n"
    (tmp_path / "r.yaml").write_text(text)

    def wanted(*overrides):
        config = load_config(tmp_path / "r.yaml", overrides)
        return wanted_state(config, ("sft", "search.k"), ("in.txt", "other.txt?"), ("collection.path",), {})

    record = copy.deepcopy(wanted()) | {"outputs": {"out.txt": content_hash(tmp_path / "r" / "out.txt")}}
    return tmp_path / "r", wanted, record


def test_a_stage_is_up_to_date_when_only_other_settings_changed(run):
    folder, wanted, record = run
    assert stale_because(record, wanted(), folder, {}) is None
    assert stale_because(record, wanted("baseline.k1=2"), folder, {}) is None


def test_a_stage_without_a_record_has_not_run(run):
    folder, wanted, _ = run
    assert stale_because(None, wanted(), folder, {}) == "it has not run yet"


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("seed=7", "seed changed from 1 to 7"),
        ("sft.phases.0.steps=6", "setting sft.phases.0.steps changed from 5 to 6"),
        ("sft.spans.min_words=2", "setting sft.spans.min_words changed from 3 to 2"),
        ("search.k=50", "setting search.k changed from 100 to 50"),
        ("sft.phases.0.mix={spans: 1}", "setting sft.phases.0.mix.spans changed from 0.7 to 1.0"),
    ],
)
def test_a_changed_setting_is_named_with_both_values(run, override, reason):
    folder, wanted, record = run
    assert stale_because(record, wanted(override), folder, {}) == reason


def test_a_setting_that_another_version_does_not_have_is_named(run):
    folder, wanted, record = run
    del record["settings"]["sft"]["patience"]
    assert stale_because(record, wanted(), folder, {}) == "setting sft.patience was added, with the value 5"
    record["settings"]["sft"] |= {"patience": 5, "old": "x"}
    assert stale_because(record, wanted(), folder, {}) == "setting sft.old was removed"


def test_a_long_value_is_shortened(run):
    folder, wanted, record = run
    record["settings"]["sft"]["metric"] = "x" * 100
    assert stale_because(record, wanted(), folder, {}) == f"setting sft.metric changed from {'x' * 37}... to RR@10"


@pytest.mark.parametrize("path", ["r/in.txt", "source/a.txt", "source/b.txt", "r/other.txt"])
def test_a_changed_or_new_input_is_named(run, path):
    folder, wanted, record = run
    (folder.parent / path).write_text("changed")
    name = {"r/in.txt": "in.txt", "r/other.txt": "other.txt"}.get(path, "collection.path")
    assert stale_because(record, wanted(), folder, {}) == f"input {name} changed"


def test_a_changed_or_missing_output_is_named(run):
    folder, wanted, record = run
    (folder / "out.txt").write_text("edited")
    assert stale_because(record, wanted(), folder, {}) == "output out.txt was changed"
    (folder / "out.txt").unlink()
    assert stale_because(record, wanted(), folder, {}) == "output out.txt is missing"


def test_a_missing_input_is_an_error(run):
    folder, wanted, _ = run
    (folder / "in.txt").unlink()
    with pytest.raises(GenirError, match=r"in\.txt: missing; run the stages before this one first"):
        wanted()


def test_a_dotted_setting_is_looked_up_and_none_if_it_does_not_exist():
    assert setting_value({"a": {"b": 3}}, "a.b") == 3
    assert setting_value({"a": {"b": 3}}, "a.c") is None
    assert setting_value({"a": 1}, "a.b") is None
