"""Error messages for invalid configs, which name the key and the nearest known one."""

import difflib
from collections.abc import Sequence
from typing import Any, get_origin

from genir.config.parsing import parse_yaml
from genir.config.renamed import renamed_key
from genir.config.schema import BUILDER_SECTIONS, find_section


def explain_error(error: dict[str, Any], overrides: Sequence[str]) -> str:
    """Turn one of pydantic's errors into a sentence: the dotted key, what is wrong, and what to write instead."""
    key = ".".join(str(part) for part in error["loc"] if part not in BUILDER_SECTIONS)
    match error["type"]:
        case "extra_forbidden":
            return _explain_renamed(key) or _explain_changed_builder(key, overrides) or _suggest_key(key, error["loc"])
        case "value_error":  # raised by one of our validators
            return ": ".join([*([key] if key else []), str(error["ctx"]["error"])])
        case "model_type" | "model_attributes_type":
            return f"{key}: must be a section with keys of its own, got {error['input']!r}"
        case "union_tag_not_found":
            return f"{key}.builder is missing; the builders are {', '.join(BUILDER_SECTIONS)}"
        case "union_tag_invalid":
            return f"{key}.builder: unknown builder {error['ctx']['tag']!r}; the builders are " + ", ".join(
                BUILDER_SECTIONS
            )
    return f"{key}: {error['msg']}"


def _explain_renamed(key: str) -> str | None:
    """The new name of a key that was renamed since an earlier version."""
    section, _, name = key.rpartition(".")
    new = renamed_key(section, name)
    return None if new is None else f"{key} is called {new} now"


def _explain_changed_builder(key: str, overrides: Sequence[str]) -> str | None:
    """What to write when an override changed the docid builder but left the keys of another builder in place."""
    given = {name: value for name, _, value in (override.partition("=") for override in overrides)}
    if "docids.builder" not in given or not key.startswith("docids.") or key in given:
        return None
    builder = BUILDER_SECTIONS.get(parse_yaml(given["docids.builder"]))
    if builder is None:
        return None
    fields = builder.model_fields
    section = ", ".join(f"{name}: {given[f'docids.{name}']}" for name in fields if f"docids.{name}" in given)
    return (
        f"docids.builder={given['docids.builder']} keeps the other docids keys of the config, and this builder does "
        f"not know all of them; replace the whole section: 'docids={{{section}}}'"
    )


def _suggest_key(key: str, place: Sequence[Any]) -> str:
    """The known keys of a section, and the one that an unknown key most resembles."""
    *parents, name = place
    section = find_section(parents)
    fields = section.model_fields
    deeper = [
        ".".join([*key.split(".")[:-1], field, *(["0"] if get_origin(fields[field].annotation) is list else []), name])
        for field in fields
        if (inner := find_section([*parents, field])) is not section and name in inner.model_fields
    ]
    near = deeper or difflib.get_close_matches(str(name), fields, n=1, cutoff=0.0)
    return f"unknown key {key}; did you mean {' or '.join(near)}? (known here: {', '.join(fields)})"
