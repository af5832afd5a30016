"""Loading and saving configs: one YAML file is one experiment.

`load_config(path, ["sft.batch_size=64"])` returns a checked, immutable `Config`. A setting has the same name in YAML,
on the command line and in Python, and an unknown name is an error.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from genir.checks import parse_int
from genir.config.docids import DocidsConfig
from genir.config.experiment import Config
from genir.config.messages import dotted_key, explain_errors
from genir.config.parsing import dump_yaml, parse_override_value, parse_yaml
from genir.config.renamed import explain_renamed, update_docid_settings
from genir.errors import GenirError, error_at
from genir.files import atomic_file, read_text


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> Config:
    """Load a YAML file, or the config of a run folder, and apply overrides of the form `section.key=value`.

    A run folder may have been moved or renamed since its config was saved: name and runs_dir are taken from its path.

    Raises GenirError for a file that is missing or not valid YAML, for unknown keys (with the most similar known key)
    and for invalid values; the message names every wrong key, and the file or the override that holds it.
    """
    path = Path(path)
    run_folder = path if os.path.isdir(path) else None  # noqa: PTH112  Path.is_dir raises for names that are too long
    if run_folder is not None:
        path = run_folder / "config.yaml"
    values = _read_yaml(path)
    if not isinstance(values, dict):
        raise GenirError(f"{path}: a config must be a mapping of sections; see configs/quickstart.yaml")
    if run_folder is not None:
        values |= {"name": run_folder.resolve().name, "runs_dir": str(run_folder.resolve().parent)}
    for override in overrides:
        _apply_override(values, override)
    values.setdefault("name", path.stem)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        found = error.errors()
        message = explain_errors(found, path, overrides)
        if run_folder is not None and any(explain_renamed(dotted_key(entry), entry["input"]) for entry in found):
            message += (
                "\nAn earlier version of genir wrote this run folder. Its retriever can be used as it is (genir search "
                f'{run_folder} --query "..."); to run its stages again, rename the keys in its config.yaml.'
            )
        raise GenirError(message) from None


def parse_docids(values: Mapping[str, Any]) -> DocidsConfig:
    """Parse the docids section that is stored with a docid table.

    Tables that were stored by earlier versions, under the old names of settings, are read too.
    """
    adapter: TypeAdapter[DocidsConfig] = TypeAdapter(DocidsConfig)
    return adapter.validate_python(update_docid_settings(values))


def save_config(config: Config, path: Path) -> None:
    """Write all settings of a config to a YAML file, defaults included."""
    with atomic_file(path) as handle:
        handle.write(dump_yaml(config.model_dump()))


def _read_yaml(path: Path) -> Any:
    """Read a config file. Raises GenirError if it is missing or not valid YAML."""
    if not os.path.lexists(path):
        if path.name == "config.yaml" and (path.parent / "genir.json").exists():
            raise GenirError(
                f"{path.parent}: this is a retriever folder; the command needs a config file or a run folder"
            )
        raise GenirError(f"{path}: no such config file or run folder")
    try:
        return parse_yaml(read_text(path))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise error_at(path, line, f"not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise GenirError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


def _apply_override(values: dict[str, Any], override: str) -> None:
    """Apply an override `section.key=value` to the nested `values`, in place; integers in the key are list indices.

    A section that is missing or null is added. Raises GenirError for an override of another form, or if its key does
    not exist.
    """
    key, sign, text = override.partition("=")
    if not sign or not key:
        raise GenirError(f"{override!r}: an override must have the form key=value, for example sft.batch_size=64")
    try:
        value = parse_override_value(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise GenirError(f"{override!r}: not valid YAML: {getattr(error, 'problem', error)}") from None
    *parents, last = key.split(".")
    container: Any = values
    try:
        for name in parents:
            place = _find_place(container, name)
            if isinstance(container, dict) and container.get(place) is None:
                container[place] = {}
            container = container[place]
        container[_find_place(container, last)] = value
    except (ValueError, IndexError, TypeError, AttributeError):
        raise GenirError(f"{override!r}: there is no setting {key}; `genir STAGE --help-all` lists all") from None


def _find_place(container: Any, name: str) -> str | int:
    """Return the key of a mapping, or the index of a list from 0; raises ValueError if the name is not an index."""
    if not isinstance(container, list):
        return name
    if (index := parse_int(name)) < 0:
        raise ValueError(f"the index {index} is negative")
    return index
