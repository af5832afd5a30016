"""YAML text -> values; a key that stands twice in a mapping is an error."""

from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """Refuses a key that a mapping has twice: YAML would keep the last one without a word."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value} is there twice; keep one", problem_mark=key.start_mark
                )
            seen.add(str(key.value))
        return node


def parse_yaml(text: str) -> Any:
    return yaml.load(text, _Loader)
