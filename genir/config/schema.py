"""Finding the class of the section at a place in the config, such as ("sft", "phases", 0)."""

from collections.abc import Sequence
from typing import Any, get_args

from genir.config.base import Section
from genir.config.docids import DocidsConfig
from genir.config.experiment import Config

BUILDER_SECTIONS: dict[str, type[Section]] = {
    member.model_fields["builder"].default: member for member in get_args(get_args(DocidsConfig)[0])
}
"""Name of a docid builder -> the class of its docids section."""


def find_section(place: Sequence[str | int]) -> type[Section]:
    """Find the class of the section at `place`, or of the section that contains it if it is a setting or unknown.

    Indices of lists are skipped. The name of a docid builder leads to its section, as in ("docids", "pq", "levels").
    """
    section: type[Section] = Config
    for part in place:
        if part in BUILDER_SECTIONS:
            section = BUILDER_SECTIONS[str(part)]
        elif isinstance(part, str) and part in section.model_fields:
            section = inner_section(section.model_fields[part].annotation) or section
    return section


def inner_section(annotation: Any) -> type[Section] | None:
    """The section class in the annotation of a field, alone, optional or in a list; None for a plain setting."""
    members = [annotation, *get_args(annotation)]
    return next((member for member in members if isinstance(member, type) and issubclass(member, Section)), None)
