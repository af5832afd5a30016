"""One YAML file is one experiment: its sections are the stages, and an unknown key is an error.

`load_config(path, ["sft.batch_size=64"])` gives a checked, frozen `Config`. A setting goes by the same name in YAML, on
the command line and in Python.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from genir.config.docids import DocidsConfig
from genir.config.experiment import Config
from genir.config.messages import explain_error
from genir.config.parsing import parse_yaml
from genir.errors import GenirError, at


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, or the config of a run folder, and apply `key.sub=value` overrides.

    Raises GenirError with the key and the nearest known one.
    """
    path = Path(path)
    run = path if path.is_dir() else None  # a run folder may have been moved, or be named from elsewhere
    if run is not None:
        path = run / "config.yaml"
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise GenirError(f"{path}: no such config file or run folder") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise at(path, line, f"not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise GenirError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise GenirError(f"{path}: a config is a mapping of sections; see configs/quickstart.yaml")
    if run is not None:
        values |= {"name": run.resolve().name, "folder": str(run.resolve().parent)}
    for override in overrides:
        _override(values, override)
    values.setdefault("name", path.stem)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        lines = dict.fromkeys(explain_error(dict(entry), overrides) for entry in error.errors())
        raise GenirError(f"{path}: {'; '.join(lines)}") from None


def parse_docids(values: Mapping[str, Any]) -> DocidsConfig:
    """The docids section that a docid table was built with."""
    adapter: TypeAdapter[DocidsConfig] = TypeAdapter(DocidsConfig)
    return adapter.validate_python(values)


def save_config(config: Config, path: Path) -> None:
    """Write the whole config, defaults included."""
    from genir.files import atomic_file

    with atomic_file(path) as handle:
        yaml.safe_dump(config.model_dump(), handle, sort_keys=False, allow_unicode=True)


def _override(values: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign or not key:
        raise GenirError(f"{override!r}: an override is written key=value, for example sft.batch_size=64")
    *parents, last = key.split(".")
    place: Any = values
    try:
        for name in parents:
            place = place[int(name)] if isinstance(place, list) else place.setdefault(name, {})
        place[int(last) if isinstance(place, list) else last] = parse_yaml(text)
    except (ValueError, IndexError, TypeError, AttributeError):
        raise GenirError(f"{override!r}: {key} does not lead to a setting") from None
    except yaml.YAMLError as error:
        raise GenirError(f"{override!r}: not valid YAML: {getattr(error, 'problem', error)}") from None
