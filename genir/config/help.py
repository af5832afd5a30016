"""Names, defaults and descriptions of settings, for --help."""

import inspect
from collections.abc import Iterator, Sequence
from typing import NamedTuple, get_args, get_origin

import yaml

from genir.config.base import Section
from genir.config.schema import BUILDER_SECTIONS, find_section


class Setting(NamedTuple):
    """One setting as --help shows it; a rare one is shown by --help-all only."""

    key: str
    default: str
    description: str
    rare: bool


class SettingGroup(NamedTuple):
    """The settings of one section, with keys relative to it."""

    title: str
    description: str
    settings: list[Setting]


def setting_groups(names: Sequence[str]) -> list[SettingGroup]:
    """The settings of some sections and single settings, given by their dotted names, in groups.

    The docids section has one group for each builder. Sections with the same keys, such as ddro and irpo, share one
    group, which shows both defaults where they differ. Single settings come last.
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
            single.append(_describe(parent, key)._replace(key=name))
        else:
            groups.append(_section_group(name, section))
    if single:
        groups.append(SettingGroup("other settings", "", single))
    return _merge_equal(groups)


def _section_group(title: str, section: type[Section]) -> SettingGroup:
    summary = (inspect.getdoc(section) or "").split("\n\n")[0]
    return SettingGroup(title, " ".join(summary.split()), list(_settings(section)))


def _settings(section: type[Section]) -> Iterator[Setting]:
    """All settings of a section and of the sections inside it; lists of sections are shown by their first entry."""
    for name, field in section.model_fields.items():
        members = [field.annotation, *get_args(field.annotation)]
        inner = next((x for x in members if isinstance(x, type) and issubclass(x, Section)), None)
        if inner is None:
            yield _describe(section, name)
            continue
        prefix = f"{name}.0" if get_origin(field.annotation) is list else name
        for setting in _settings(inner):
            yield setting._replace(key=f"{prefix}.{setting.key}", rare=setting.rare or name in section.rare)


def _describe(section: type[Section], name: str) -> Setting:
    field = section.model_fields[name]
    if field.is_required():
        default = "required"
    else:
        default = yaml.safe_dump(field.default, default_flow_style=True, width=1000).split("\n")[0]
    return Setting(name, default, field.description or "", name in section.rare)


def _merge_equal(groups: Sequence[SettingGroup]) -> list[SettingGroup]:
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
        title = f"{last.title} | {group.title}"
        merged[-1] = SettingGroup(title, f"{last.description} | {group.description}", both)
    return merged
