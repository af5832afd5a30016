"""Parsing and writing YAML by the rules of YAML 1.2, so that only plain decimal numbers are numbers.

PyYAML follows YAML 1.1, in which 010 is 8, 1:30 is 90, 1_000 is 1000, yes is true and 2024-01-01 is a date. Here each
of these is a string, which a setting that needs a number, true or false then refuses. In return, 1e-4 is a number.
"""

import re
from collections.abc import Callable
from typing import Any

import yaml

from genir.checks import is_encodable, parse_float, parse_int

_TAG = "tag:yaml.org,2002:"
_FLOAT = re.compile(r"[-+]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)\Z")


class _Loader(yaml.SafeLoader):
    """A loader with the plain scalars of YAML 1.2, and an error for duplicate keys, of which PyYAML keeps the last."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012  PyYAML's own attribute, filled below

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value} appears twice in one mapping; remove one", problem_mark=key.start_mark
                )
            seen.add(str(key.value))
        return node


class _Dumper(yaml.SafeDumper):
    """A dumper that quotes every string that `_Loader` would read as a number."""


def _require_encodable(text: str) -> str:
    """Return a string; raises ValueError if it has unpaired surrogates, which no file or terminal can be given."""
    if not is_encodable(text):
        raise ValueError(f"{text[:40]!r} contains an unpaired surrogate, which is not a valid character")
    return text


def _parse_number(node: Any, parse: Callable[[str], float]) -> float:
    """Convert a number; raises YAMLError with the line of one that is too large."""
    try:
        return parse(str(node.value))
    except ValueError as error:
        raise yaml.MarkedYAMLError(problem=str(error), problem_mark=node.start_mark) from None


_Loader.add_implicit_resolver(f"{_TAG}null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(f"{_TAG}bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), [*"tTfF"])
_Loader.add_implicit_resolver(f"{_TAG}int", re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z"), [*"-+0123456789"])
_Loader.add_implicit_resolver(f"{_TAG}merge", re.compile(r"<<\Z"), ["<"])
_Loader.add_implicit_resolver(f"{_TAG}float", _FLOAT, [*"-+.0123456789"])
_Loader.add_constructor(f"{_TAG}int", lambda loader, node: _parse_number(node, parse_int))
_Loader.add_constructor(f"{_TAG}float", lambda loader, node: _parse_number(node, parse_float))
_Loader.add_constructor(f"{_TAG}str", lambda loader, node: _require_encodable(str(node.value)))
_Dumper.add_implicit_resolver(f"{_TAG}float", _FLOAT, [*"-+.0123456789"])


def parse_yaml(text: str) -> Any:
    """Parse a YAML text. Raises yaml.YAMLError or ValueError for invalid YAML and for duplicate keys."""
    return yaml.load(text, _Loader)


def parse_override_value(text: str) -> Any:
    """Parse the value of an override: a list, a mapping or a quoted string in YAML, or else one number or word.

    Everything else in an unquoted value belongs to it, such as " #", which starts a comment in a YAML file.
    """
    text = text.strip()
    if text.startswith(("[", "{", '"', "'")):
        return parse_yaml(text)
    loader: Any = _Loader("")
    return loader.construct_document(yaml.ScalarNode(loader.resolve(yaml.ScalarNode, text, (True, False)), text))


def dump_yaml(values: Any) -> str:
    """Write values as YAML, which `parse_yaml` reads back as the same values."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
