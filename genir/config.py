"""One YAML file is one experiment: its sections are the stages, and an unknown key is an error.

`load_config(path, ["sft.batch_size=64"])` gives a checked, frozen `Config`. A setting goes by the same name in YAML, on
the command line and in Python.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from genir.errors import GenirError, at
from genir.sections import (
    BaselineConfig,
    CollectionConfig,
    DDROConfig,
    DocidsConfig,
    EmbedConfig,
    EvaluateConfig,
    IRPOConfig,
    ModelConfig,
    NegativesConfig,
    QueriesConfig,
    RQConfig,
    SearchConfig,
    Section,
    SFTConfig,
)

TRAINED = ("sft", "ddro", "irpo")
"""The training stages, in their order; each leaves a retriever in a folder of its name."""


class Config(Section):
    """One experiment."""

    name: str = Field(description="of the run folder; default: the config file's name")
    folder: str = Field("runs", description="that holds the run folder")
    seed: int = Field(1, ge=0, le=2_000_000_000, description="of all that is drawn at random")
    threads: int | None = Field(
        None, ge=1, description="CPU threads; default: OMP_NUM_THREADS, else the cores that this process may use"
    )
    collection: CollectionConfig
    embed: EmbedConfig = EmbedConfig()
    docids: DocidsConfig = RQConfig()
    queries: QueriesConfig = QueriesConfig()
    model: ModelConfig = ModelConfig()
    sft: SFTConfig = SFTConfig()
    ddro: DDROConfig | None = Field(None, description="null: left out")
    irpo: IRPOConfig | None = Field(None, description="null: left out")
    baseline: BaselineConfig = BaselineConfig()
    negatives: NegativesConfig = NegativesConfig()
    search: SearchConfig = SearchConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        if not re.fullmatch(r"[\w.-]+", name) or not name.strip("."):  # .. would be the folder above
            raise ValueError(f"{name!r} cannot name a run folder (letters, digits, _ - .); give one with name=NAME")
        return name

    @model_validator(mode="after")
    def _fits_together(self) -> "Config":
        if self.evaluate.cutoff > self.search.k:
            raise ValueError(f"evaluate.measures need {self.evaluate.cutoff} hits, but search.k is {self.search.k}")
        for number, band in enumerate(self.negatives.bands):
            if band.last < band.first:
                raise ValueError(f"negatives.bands.{number}: last ({band.last}) is below first ({band.first})")
        for name in self.trained:
            if (metric := getattr(self, name).metric) not in self.evaluate.measures:
                raise ValueError(f"{name}.metric {metric} is not among evaluate.measures; add it there")
        for name in self.trained[1:]:
            if (start := self.start(name)) not in self.trained[: self.trained.index(name)]:
                raise ValueError(f"{name}.start {start} is not a stage before it; there are: {', '.join(self.trained)}")
        return self

    @property
    def trained(self) -> tuple[str, ...]:
        """The training stages of this experiment, in their order."""
        return tuple(name for name in TRAINED if getattr(self, name) is not None)

    @property
    def uses_pseudo_queries(self) -> bool:
        """Whether a training mix names them."""
        refinements = (getattr(self, name) for name in self.trained[1:])
        return any("pseudo_queries" in part.mix for part in (*self.sft.stages, *refinements))

    def start(self, name: str) -> str:
        """The stage that a refinement stage starts from."""
        given = getattr(self, name).start
        return given or self.trained[self.trained.index(name) - 1]

    @property
    def run(self) -> Path:
        """The run folder."""
        return Path(self.folder) / self.name


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, or the config of a run folder, and apply `key.sub=value` overrides.

    Raises GenirError with the key and the nearest known one.
    """
    path = Path(path)
    run = path if path.is_dir() else None  # a run folder may have been moved, or be named from elsewhere
    if run is not None:
        path = run / "config.yaml"
    try:
        values = _parse(path.read_text(encoding="utf-8"))
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
        lines = dict.fromkeys(_explain(dict(entry), overrides) for entry in error.errors())
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


def _parse(text: str) -> Any:
    return yaml.load(text, _Loader)


def _override(values: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign or not key:
        raise GenirError(f"{override!r}: an override is written key=value, for example sft.batch_size=64")
    *parents, last = key.split(".")
    place: Any = values
    try:
        for name in parents:
            place = place[int(name)] if isinstance(place, list) else place.setdefault(name, {})
        place[int(last) if isinstance(place, list) else last] = _parse(text)
    except (ValueError, IndexError, TypeError, AttributeError):
        raise GenirError(f"{override!r}: {key} does not lead to a setting") from None
    except yaml.YAMLError as error:
        raise GenirError(f"{override!r}: not valid YAML: {getattr(error, 'problem', error)}") from None


def _explain(error: dict[str, Any], overrides: Sequence[str]) -> str:
    """One validation error as a line: the dotted key, what is wrong, and for an unknown key the nearest known one."""
    key = ".".join(str(part) for part in error["loc"] if part not in _BUILDERS)
    match error["type"]:
        case "extra_forbidden":
            return _changed_builder(key, overrides) or _unknown(key, error["loc"])
        case "value_error":  # of a validator of ours
            return ": ".join([*([key] if key else []), str(error["ctx"]["error"])])
        case "model_type" | "model_attributes_type":
            return f"{key}: needs a section with keys of its own, not {error['input']!r}"
        case "union_tag_not_found":
            return f"{key}.builder: missing; there are: {', '.join(_BUILDERS)}"
        case "union_tag_invalid":
            return f"{key}.builder: no builder {error['ctx']['tag']!r}; there are: {', '.join(_BUILDERS)}"
    return f"{key}: {error['msg']}"


def _changed_builder(key: str, overrides: Sequence[str]) -> str | None:
    """What to write when an override changed the builder and left it the file's keys for another one."""
    given = {name: value for name, _, value in (override.partition("=") for override in overrides)}
    if "docids.builder" not in given or not key.startswith("docids.") or key in given:
        return None
    builder = _BUILDERS.get(_parse(given["docids.builder"]))
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
    section = _section(parents)
    fields = section.model_fields
    deeper = [
        ".".join([*key.split(".")[:-1], field, *(["0"] if get_origin(fields[field].annotation) is list else []), name])
        for field in fields
        if (inner := _section([*parents, field])) is not section and name in inner.model_fields
    ]
    near = deeper or difflib.get_close_matches(str(name), fields, n=1, cutoff=0.0)
    return f"unknown key {key}; did you mean {' or '.join(near)}? (known here: {', '.join(fields)})"


_BUILDERS = {member.model_fields["builder"].default: member for member in get_args(get_args(DocidsConfig)[0])}


def describe(dotted: str) -> list[tuple[str, str, str]]:
    """(name, default, description) of a setting, or of every setting of a section (for docids, of every builder)."""
    *parents, last = dotted.split(".")
    parent = _section(parents)
    sections = list(_BUILDERS.values()) if dotted == "docids" else [_section([*parents, last])]
    if sections == [parent]:
        field = parent.model_fields[last]
        default = "required" if field.is_required() else yaml.safe_dump(field.default, default_flow_style=True)
        return [(dotted, default.removesuffix("\n").removesuffix("\n..."), field.description or "")]
    return [row for section in sections for name in section.model_fields for row in describe_in(section, dotted, name)]


def describe_in(section: type[Section], dotted: str, name: str) -> list[tuple[str, str, str]]:
    """The rows of one field of a section that stands at `dotted`."""
    if section not in _BUILDERS.values():
        return describe(f"{dotted}.{name}")
    field = section.model_fields[name]
    return [(f"{dotted}.{name}", str(field.default), field.description or "")]


def _section(place: Sequence[Any]) -> Any:
    """The section at `place`, such as ("sft", "stages", 0), or the last one on the way to a plain setting."""
    section: Any = Config
    for part in place:
        if part in _BUILDERS:
            section = _BUILDERS[part]
        elif isinstance(part, str) and part in section.model_fields:
            inner = section.model_fields[part].annotation
            members = [inner, *get_args(inner)]
            section = next((a for a in members if isinstance(a, type) and issubclass(a, Section)), section)
    return section
