"""Finding the section class at a place of the config, such as ("sft", "phases", 0)."""

from collections.abc import Sequence
from typing import Any, get_args

from genir.config.base import Section
from genir.config.docids import DocidsConfig
from genir.config.experiment import Config

BUILDER_SECTIONS = {member.model_fields["builder"].default: member for member in get_args(get_args(DocidsConfig)[0])}


def find_section(place: Sequence[Any]) -> Any:
    """The section at `place`, such as ("sft", "phases", 0), or the last one on the way to a plain setting."""
    section: Any = Config
    for part in place:
        if part in BUILDER_SECTIONS:
            section = BUILDER_SECTIONS[part]
        elif isinstance(part, str) and part in section.model_fields:
            inner = section.model_fields[part].annotation
            members = [inner, *get_args(inner)]
            section = next((a for a in members if isinstance(a, type) and issubclass(a, Section)), section)
    return section
