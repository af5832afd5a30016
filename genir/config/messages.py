"""Error messages for invalid configs, which name the key and the nearest known one."""

import difflib
from collections.abc import Sequence
from typing import Any, get_origin

from genir.config.parsing import parse_yaml
from genir.config.schema import BUILDER_SECTIONS, find_section


def explain_error(error: dict[str, Any], overrides: Sequence[str]) -> str:
    """One validation error as a line: the dotted key, what is wrong, and for an unknown key the nearest known one."""
    key = ".".join(str(part) for part in error["loc"] if part not in BUILDER_SECTIONS)
    match error["type"]:
        case "extra_forbidden":
            return _changed_builder(key, overrides) or _unknown(key, error["loc"])
        case "value_error":  # of a validator of ours
            return ": ".join([*([key] if key else []), str(error["ctx"]["error"])])
        case "model_type" | "model_attributes_type":
            return f"{key}: needs a section with keys of its own, not {error['input']!r}"
        case "union_tag_not_found":
            return f"{key}.builder: missing; there are: {', '.join(BUILDER_SECTIONS)}"
        case "union_tag_invalid":
            return f"{key}.builder: no builder {error['ctx']['tag']!r}; there are: {', '.join(BUILDER_SECTIONS)}"
    return f"{key}: {error['msg']}"


def _changed_builder(key: str, overrides: Sequence[str]) -> str | None:
    """What to write when an override changed the builder and left it the file's keys for another one."""
    given = {name: value for name, _, value in (override.partition("=") for override in overrides)}
    if "docids.builder" not in given or not key.startswith("docids.") or key in given:
        return None
    builder = BUILDER_SECTIONS.get(parse_yaml(given["docids.builder"]))
    if builder is None:
        return None
    fields = builder.model_fields
    section = ", ".join(f"{name}: {given[f'docids.{name}']}" for name in fields if f"docids.{name}" in given)
    return (
        f"docids.builder={given['docids.builder']} leaves the other docids keys of the config in place, and this "
        f"builder has not all of them; replace the section: 'docids={{{section}}}'"
    )


def _unknown(key: str, place: Sequence[Any]) -> str:
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
