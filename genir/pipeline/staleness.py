"""Whether a stage is up to date, and if not, why: its record is compared with the current settings and files."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from genir.config import Config
from genir.errors import GenirError
from genir.files import content_hash, read_json

Hashes = dict[str, Any]
"""Cached content hashes by path, see `genir.files.content_hash`."""
_MAX_VALUE_LENGTH = 40
"""Characters to which the values of settings are shortened in reasons."""
_MISSING = object()


def stale_because(
    record: Mapping[str, Any] | None, wanted: Mapping[str, Any], run_folder: Path, hashes: Hashes
) -> str | None:
    """Find the first reason why a stage must run again; None if it is up to date.

    record: the record of the stage's last run in stage.json; None if it has not run. wanted: its current settings, seed
    and hashes of inputs, see `wanted_state`. hashes: the cache of content hashes.
    """
    if record is None:
        return "it has not run yet"
    if record.get("seed") != wanted["seed"]:
        return f"seed changed from {record.get('seed')} to {wanted['seed']}"
    for name, old, new in _differences(record.get("settings", {}), wanted["settings"]):
        return f"setting {name} {_describe_change(old, new)}"
    inputs, known = wanted["inputs"], record.get("inputs", {})
    for name in [*inputs, *(name for name in known if name not in inputs)]:
        if inputs.get(name) != known.get(name) or (name in inputs) != (name in known):
            return f"input {name.removesuffix('?')} changed"
    for name, old_hash in record.get("outputs", {}).items():
        path = run_folder / name.removesuffix("?")
        if not path.exists() and old_hash is not None:
            return f"output {path.name} is missing"
        if path.exists() and content_hash(path, hashes) != old_hash:
            return output_changed(path.name)
    return None


def find_changed_inputs(
    records: Mapping[str, Mapping[str, Any]], inputs: Mapping[str, str | None]
) -> Iterator[tuple[str, str]]:
    """Yield each input of a stage that is not as the stage that writes it left it, and the name of that stage.

    records: the records of stage.json. inputs: the hashes of the inputs of a stage, see `wanted_state`.
    """
    for writer, record in records.items():
        written = {name.removesuffix("?"): digest for name, digest in record.get("outputs", {}).items()}
        for name, digest in inputs.items():
            path = name.removesuffix("?")
            if path in written and digest != written[path]:
                yield path, writer


def output_changed(name: str) -> str:
    """The reason of `stale_because` for an output that is no longer as the stage left it."""
    return f"output {name} was changed"


def wanted_state(
    config: Config, settings: Iterable[str], reads: Iterable[str], external: Iterable[str], hashes: Hashes
) -> dict[str, Any]:
    """Collect the settings, seed and hashes of inputs with which a stage would run now.

    settings, reads, external: see `genir.pipeline.stage.Stage`. hashes: the cache of content hashes.
    Raises GenirError if an input is missing.
    """
    values = config.model_dump(mode="json")
    for name in reads:
        if not name.endswith("?") and not (config.run_folder / name).exists():
            raise GenirError(
                f"{config.run_folder / name}: missing; run the stages before this one first (genir run CONFIG runs "
                "them all)"
            )
    inputs = hash_paths(config.run_folder, reads, hashes)
    for name in external:
        value = setting_value(values, name)
        path = Path(value.removeprefix("hf:")) if isinstance(value, str) and value else None
        if path is not None and path.exists():
            inputs[name] = content_hash(path, hashes)
    return {
        "settings": {name: setting_value(values, name) for name in settings},
        "seed": config.seed,
        "inputs": inputs,
    }


def hash_paths(run_folder: Path, names: Iterable[str], hashes: Hashes) -> dict[str, str | None]:
    """Hash the contents of the inputs or outputs `names` of a stage; None for a missing one whose name ends in "?"."""
    paths = {name: run_folder / name.removesuffix("?") for name in names}
    return {
        name: None if name.endswith("?") and not path.exists() else content_hash(path, hashes)
        for name, path in paths.items()
    }


def setting_value(values: Mapping[str, Any], dotted: str) -> Any:
    """Look up a dotted setting in a config of nested dicts; None if there is no such setting."""
    value: Any = values
    for name in dotted.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def load_records(path: Path) -> dict[str, Any]:
    """Read the records of a stage.json, by stage; none if there is no such file. Raises GenirError if it is damaged."""
    if not path.exists():
        return {}
    try:
        found = read_json(path)
    except (GenirError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(_is_record(record) for record in found.values()):
        raise GenirError(f"{path}: damaged; restore a copy, or delete it to run all stages of this run again")
    return found


def _is_record(value: Any) -> bool:
    """Whether a value from stage.json has the structure of a stage's record."""
    parts = ("settings", "inputs", "outputs")
    return isinstance(value, dict) and all(isinstance(value.get(part, {}), dict) for part in parts)


def load_hashes(path: Path) -> Hashes:
    """Read the cache of content hashes; it is empty if the file cannot be read, since hashes can be computed again."""
    try:
        found = read_json(path)
    except (GenirError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _differences(old: Any, new: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted name, old value, new value) for everything that differs in two nested values."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        pairs = [(key, old.get(key, _MISSING), new.get(key, _MISSING)) for key in {**old, **new}]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = [(str(number), a, b) for number, (a, b) in enumerate(zip(old, new, strict=True))]
    else:
        if old is _MISSING or new is _MISSING or old != new:
            yield name, old, new
        return
    for key, a, b in pairs:
        yield from _differences(a, b, f"{name}.{key}".lstrip("."))


def _describe_change(old: Any, new: Any) -> str:
    """Describe the difference of two values of a setting, either of which may be missing."""
    if old is _MISSING:
        return f"was added, with the value {_shorten(new)}"
    return "was removed" if new is _MISSING else f"changed from {_shorten(old)} to {_shorten(new)}"


def _shorten(value: Any) -> str:
    """Format the value of a setting for a reason."""
    text = "null" if value is None else str(value)
    return text if len(text) <= _MAX_VALUE_LENGTH else f"{text[: _MAX_VALUE_LENGTH - 3]}..."
