import inspect
import re

import pytest

from genir.config import Config, PQConfig, load_config, setting_groups
from genir.config.schema import BUILDER_SECTIONS, inner_section

SENTENCE = re.compile(r"[A-Z].*\.", re.DOTALL)


def sections_in(section, path=""):
    """Yield the class of a section and of all sections inside it, each with its path."""
    yield path, section
    for name, field in section.model_fields.items():
        if (inner := inner_section(field.annotation)) is not None:
            for member in BUILDER_SECTIONS.values() if name == "docids" else [inner]:
                yield from sections_in(member, f"{path}.{name}".lstrip("."))


@pytest.mark.parametrize(("path", "section"), list(sections_in(Config)))
def test_every_section_and_setting_is_described_by_a_sentence(path, section):
    assert SENTENCE.fullmatch(inspect.getdoc(section))
    for name, field in section.model_fields.items():
        if inner_section(field.annotation) is None or field.description:
            assert len(field.description or "") >= 20, f"{path}.{name}"
            assert SENTENCE.fullmatch(field.description), f"{path}.{name}: {field.description}"


@pytest.mark.parametrize(("path", "section"), list(sections_in(Config)))
def test_rarely_used_settings_exist_and_are_not_the_whole_section(path, section):
    assert section.rare < set(section.model_fields)


def test_a_section_is_described_by_its_docstring_and_settings_by_their_keys_and_defaults():
    (group,) = setting_groups(["search"])
    assert group.title == "search"
    shown = {setting.key: setting for setting in group.settings}
    assert list(shown) == ["splits", "k", "beams", "batch_size", "exact"]
    assert (shown["splits"].default, shown["k"].default, shown["exact"].default) == ("[test]", "100", "false")
    assert shown["batch_size"].rare
    assert not shown["k"].rare


def test_settings_of_inner_sections_are_shown_with_their_path_and_lists_by_their_first_entry():
    shown = {setting.key: setting for setting in setting_groups(["negatives"])[0].settings}
    assert (shown["bands"].default, shown["bands.0.last"].default) == ("3 entries", "100")
    shown = {setting.key: setting for setting in setting_groups(["sft"])[0].settings}
    assert shown["phases.0.steps"].default == "1000"
    assert shown["spans.max_words"].rare


def test_the_docids_section_is_one_group_for_each_builder():
    groups = setting_groups(["docids"])
    assert [group.title for group in groups] == [f"docids, with builder={name}" for name in BUILDER_SECTIONS]
    pq = next(group for group in groups if group.title.endswith("pq"))
    assert [setting.key for setting in pq.settings] == list(PQConfig.model_fields)


def test_successive_sections_with_the_same_keys_are_one_group_with_both_defaults():
    (group,) = setting_groups(["ddro", "irpo"])
    shown = {setting.key: setting.default for setting in group.settings}
    assert group.title == "ddro and irpo"
    assert (shown["loss"], shown["beta"]) == ("ddro | irpo", "0.4")


def test_single_settings_are_the_last_group_with_their_full_keys():
    groups = setting_groups(["search.k", "evaluate", "collection.path"])
    assert [group.title for group in groups] == ["evaluate", "other sections"]
    assert [(setting.key, setting.default) for setting in groups[-1].settings] == [
        ("search.k", "100"),
        ("collection.path", "required"),
    ]


def test_every_default_that_is_shown_can_be_written_in_a_config(tmp_path):
    """A config does not change when all shown defaults are given as overrides."""
    (tmp_path / "c.yaml").write_text("collection: {path: x}\nsft: {phases: [{}]}\nddro: {}\nsearch: {}")
    overrides = [
        f"{name}.{setting.key}={setting.default}"
        for name in ("sft", "ddro", "search")
        for setting in setting_groups([name])[0].settings
        if "entr" not in setting.default
    ]
    assert load_config(tmp_path / "c.yaml", overrides) == load_config(tmp_path / "c.yaml")
