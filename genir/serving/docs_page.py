"""The page /docs, which shows the OpenAPI description of the service without any script or file from elsewhere."""

import json
import re
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup, escape


def render_docs(description: dict[str, Any]) -> str:
    """Render an OpenAPI description as an HTML page that needs nothing else."""
    environment = Environment(loader=PackageLoader("genir.serving", ""), autoescape=True, trim_blocks=True)
    environment.filters["json"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False)
    environment.filters["name"] = _describe_type
    environment.filters["text"] = _mark_code
    endpoints = [
        (method.upper(), path, operation)
        for path, operations in description["paths"].items()
        for method, operation in operations.items()
    ]
    schemas = description.get("components", {}).get("schemas", {})
    return environment.get_template("docs.html.j2").render(
        info=description["info"], endpoints=endpoints, schemas=schemas
    )


def _mark_code(text: str) -> Markup:
    """Escape a text for HTML, and mark what stands between backticks as code, as Markdown does."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _describe_type(schema: dict[str, Any]) -> str:
    """Describe the type of a value in a few words, such as "list of Hit"."""
    if "$ref" in schema:
        return str(schema["$ref"].rsplit("/", 1)[-1])
    if options := schema.get("anyOf"):
        return " or ".join(_describe_type(option) for option in options)
    if schema.get("type") == "array":
        return f"list of {_describe_type(schema.get('items', {}))}"
    if isinstance(values := schema.get("additionalProperties"), dict):
        return f"object with values of type {_describe_type(values)}"
    limits = [limit.format(schema[key]) for key, limit in _LIMITS.items() if key in schema]
    return ", ".join([str(schema.get("type", "anything")), *limits])


_LIMITS = {
    "minimum": "at least {:,}",
    "maximum": "at most {:,}",
    "exclusiveMinimum": "above {:,}",
    "maxLength": "at most {:,} characters",
}
