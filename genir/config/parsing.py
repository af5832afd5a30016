"""Parsing YAML; a key that appears twice in a mapping is an error."""

from typing import Any

import yaml


class _UniqueKeyLoader(yaml.SafeLoader):
    """A YAML loader that refuses duplicate keys, of which PyYAML would silently keep the last one."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value} appears twice; keep one", problem_mark=key.start_mark
                )
            seen.add(str(key.value))
        return node


def parse_yaml(text: str) -> Any:
    """The value of a YAML text. Raises yaml.YAMLError where it is not valid."""
    return yaml.load(text, _UniqueKeyLoader)
