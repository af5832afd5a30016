"""Parsing YAML, with an error for a key that appears twice in a mapping."""

from typing import Any

import yaml


class _UniqueKeyLoader(yaml.SafeLoader):
    """A YAML loader that raises an error for duplicate keys, of which PyYAML silently keeps the last one."""

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


def parse_yaml(text: str) -> Any:
    """Parse a YAML text. Raises yaml.YAMLError for invalid YAML and for duplicate keys."""
    return yaml.load(text, _UniqueKeyLoader)
