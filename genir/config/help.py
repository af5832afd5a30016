"""The names, defaults and descriptions of settings, as --help shows them."""

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import yaml
from pydantic_core import PydanticUndefined

from genir.config.base import Section
from genir.config.schema import BUILDER_SECTIONS, find_section, inner_section


class Setting(NamedTuple):
    """One setting: its dotted key, its default as YAML, its description, and whether only --help-all shows it."""

    key: str
    default: str
    description: str
    rare: bool


class SettingGroup(NamedTuple):
    """Settings that are shown under one title. If they are those of a section, their keys are relative to it."""

    title: str
    description: str
    settings: list[Setting]


def setting_groups(names: Sequence[str]) -> list[SettingGroup]:
    """Describe the settings of some sections and some single settings, such as ("docids", "model.tokenizer").

    Each section is a group, and the docids section is one group for each builder. Successive sections with the same
    keys, such as ddro and irpo, are one group, which shows both defaults where they differ. All single settings are in
    the last group.
    """
    groups: list[SettingGroup] = []
    single: list[Setting] = []
    for name in names:
        *parents, key = name.split(".")
        section, parent = find_section([*parents, key]), find_section(parents)
        if name == "docids":
            for builder, builder_section in BUILDER_SECTIONS.items():
                groups.append(_section_group(f"docids, with builder={builder}", builder_section))
        elif section is parent:
            single.append(_describe(parent, key, parent.model_fields[key].default)._replace(key=name))
        else:
            groups.append(_section_group(name, section))
    if single:
        groups.append(SettingGroup("other sections", "", single))
    return _merge_equal(groups)


def _section_group(title: str, section: type[Section]) -> SettingGroup:
    """Make the group of a whole section, which the first paragraph of its docstring describes."""
    summary = (inspect.getdoc(section) or "").split("\n\n")[0]
    return SettingGroup(title, " ".join(summary.split()), list(_settings(section)))


def _settings(section: type[Section], values: Section | None = None) -> Iterator[Setting]:
    """Yield the settings of a section and of the sections inside it.

    values: an instance whose values are the defaults; None means those of the class. A list of sections is shown by its
    length and by the settings of its first entry.
    """
    for name, field in section.model_fields.items():
        default = field.default if values is None else getattr(values, name)
        inner = inner_section(field.annotation)
        prefix = name
        if inner is None or isinstance(default, list):
            yield _describe(section, name, default)
        if isinstance(default, list):
            prefix, default = f"{name}.0", default[0]
        if inner is not None:
            for setting in _settings(inner, default):
                yield setting._replace(key=f"{prefix}.{setting.key}", rare=setting.rare or name in section.rare)


def _describe(section: type[Section], name: str, default: Any) -> Setting:
    """Describe the setting `name` of a section, with its default in YAML, or the word "required"."""
    field = section.model_fields[name]
    if inner_section(field.annotation) is not None:
        shown = f"{len(default)} entries" if len(default) > 1 else "1 entry"
    elif default is PydanticUndefined:
        shown = "required"
    else:
        shown = yaml.safe_dump(default, default_flow_style=True, width=1000).split("\n")[0]
    return Setting(name, shown, field.description or "", name in section.rare)


def _merge_equal(groups: Sequence[SettingGroup]) -> list[SettingGroup]:
    """Merge successive groups that have the same keys."""
    merged: list[SettingGroup] = []
    for group in groups:
        last = merged[-1] if merged else None
        if last is None or [x.key for x in last.settings] != [x.key for x in group.settings]:
            merged.append(group)
            continue
        both = [
            a._replace(default=a.default if a.default == b.default else f"{a.default} | {b.default}")
            for a, b in zip(last.settings, group.settings, strict=True)
        ]
        merged[-1] = SettingGroup(f"{last.title} and {group.title}", f"{last.description} {group.description}", both)
    return merged
