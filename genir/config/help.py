"""Descriptions of settings for --help."""

import yaml

from genir.config.base import Section
from genir.config.schema import BUILDER_SECTIONS, find_section


def describe(dotted: str) -> list[tuple[str, str, str]]:
    """(name, default, description) of a setting, or of every setting of a section (for docids, of every builder)."""
    *parents, last = dotted.split(".")
    parent = find_section(parents)
    sections = list(BUILDER_SECTIONS.values()) if dotted == "docids" else [find_section([*parents, last])]
    if sections == [parent]:
        field = parent.model_fields[last]
        default = "required" if field.is_required() else yaml.safe_dump(field.default, default_flow_style=True)
        return [(dotted, default.removesuffix("\n").removesuffix("\n..."), field.description or "")]
    return [row for section in sections for name in section.model_fields for row in describe_in(section, dotted, name)]


def describe_in(section: type[Section], dotted: str, name: str) -> list[tuple[str, str, str]]:
    """The rows of one field of a section that stands at `dotted`."""
    if section not in BUILDER_SECTIONS.values():
        return describe(f"{dotted}.{name}")
    field = section.model_fields[name]
    return [(f"{dotted}.{name}", str(field.default), field.description or "")]
