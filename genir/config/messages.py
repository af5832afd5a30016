"""Error messages for invalid configs; they name the key and say what to write instead."""

import difflib
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_origin

from genir.config.parsing import parse_override_value
from genir.config.renamed import explain_renamed
from genir.config.schema import BUILDER_SECTIONS, find_section


def explain_errors(found: Iterable[Mapping[str, Any]], path: Path, overrides: Sequence[str]) -> str:
    """Turn pydantic's errors into one message, in which every mistake follows its origin: an override or the file.

    path: the config file. overrides: the `key=value` arguments of the command line. Several mistakes of one origin are
    listed below it, one per line.
    """
    origins: dict[str, dict[str, None]] = {}
    for error in found:
        origin = _find_override(error, overrides) or str(path)
        origins.setdefault(origin, {})[explain_error(error, overrides)] = None
    return "\n".join(
        "\n  ".join([f"{origin}:", *mistakes]) if len(mistakes) > 1 else f"{origin}: {next(iter(mistakes))}"
        for origin, mistakes in origins.items()
    )


def explain_error(error: Mapping[str, Any], overrides: Sequence[str]) -> str:
    """Turn one of pydantic's errors into a sentence: the dotted key, what is wrong, and what to write instead.

    overrides: the `key=value` arguments of the command line, which may be what has to change.
    """
    key = dotted_key(error)
    match error["type"]:
        case "extra_forbidden":
            return (
                explain_renamed(key, error["input"])
                or _explain_changed_builder(key, overrides)
                or _suggest_key(key, error["loc"])
            )
        case "value_error":  # raised by a validator of a section
            return ": ".join([*([key] if key else []), str(error["ctx"]["error"])])
        case "model_type" | "model_attributes_type":
            return f"{key}: must be a section with its own keys, got {reprlib.repr(error['input'])}"
        case "union_tag_not_found":
            return f"{key}.builder is missing; the builders are {', '.join(BUILDER_SECTIONS)}"
        case "union_tag_invalid":
            return f"{key}.builder: unknown builder {error['ctx']['tag']!r}; the builders are " + ", ".join(
                BUILDER_SECTIONS
            )
        case "bool_type":
            return f"{key}: must be true or false, got {reprlib.repr(error['input'])}"
    value = f", got {reprlib.repr(error['input'])}" if isinstance(error["input"], str | int | float | None) else ""
    return f"{key}: {error['msg']}{value}{_explain_type(error)}"


def _explain_type(error: Mapping[str, Any]) -> str:
    """Explain why a value that looks like a number is a string, or the other way round; an empty string for others."""
    value = error["input"]
    if error["type"] in ("int_type", "float_type") and isinstance(value, str) and any(map(str.isdigit, value)):
        return "; write a number in plain decimal digits, without quotes"
    if error["type"] == "string_type" and isinstance(value, bool | int | float):
        return f"; put it in quotes: '{str(value).lower()}'"
    return ""


def dotted_key(error: Mapping[str, Any]) -> str:
    """Return the key that one of pydantic's errors is about, as `section.key`."""
    return ".".join(str(part) for part in error["loc"] if part not in BUILDER_SECTIONS)


def _find_override(error: Mapping[str, Any], overrides: Sequence[str]) -> str | None:
    """Find the override that gave the key of an error, and quote it; None if the config file gave it."""
    key = dotted_key(error)
    for override in reversed(overrides):
        name = override.partition("=")[0]
        is_inside = error["type"] == "extra_forbidden" and name.startswith(f"{key}.")
        if key == name or key.startswith(f"{name}.") or is_inside:
            return repr(override)
    return None


def _explain_changed_builder(key: str, overrides: Sequence[str]) -> str | None:
    """Explain a docids key of the config that is unknown only because an override has changed the docid builder.

    None if the unknown key has another cause.
    """
    given = {name: value for name, _, value in (override.partition("=") for override in overrides)}
    if "docids.builder" not in given or not key.startswith("docids.") or key in given:
        return None
    builder = BUILDER_SECTIONS.get(parse_override_value(given["docids.builder"]))
    if builder is None:
        return None
    fields = builder.model_fields
    section = ", ".join(f"{name}: {given[f'docids.{name}']}" for name in fields if f"docids.{name}" in given)
    return (
        f"docids.builder={given['docids.builder']} keeps the config's other docids keys, some of which this builder "
        f"does not have; replace the whole section: 'docids={{{section}}}'"
    )


def _suggest_key(key: str, place: Sequence[Any]) -> str:
    """Explain an unknown key by the key that was probably meant, and list all keys of the section.

    A key of the same name in a section inside this one is suggested first, else the key with the most similar spelling.
    """
    *parents, name = place
    section = find_section(parents)
    fields = section.model_fields
    nested = [
        ".".join([*key.split(".")[:-1], field, *(["0"] if get_origin(fields[field].annotation) is list else []), name])
        for field in fields
        if (inner := find_section([*parents, field])) is not section and name in inner.model_fields
    ]
    similar = nested or difflib.get_close_matches(str(name), fields, n=1, cutoff=0.0)
    return f"unknown key {key}; did you mean {' or '.join(similar)}? (keys of this section: {', '.join(fields)})"
