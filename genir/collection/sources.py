"""data/sources.yaml: what can be downloaded, from where, and by which hash it is known."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from genir.errors import GenirError
from genir.files import resource_path


class Source(NamedTuple):
    """One file: where it is, about how many bytes it has, and its hash ("md5" or "sha256", hex), as far as known."""

    name: str
    url: str
    size: int | None = None
    hash: tuple[str, str] | None = None
    headers: Mapping[str, str] = {}


class SourceGroup(NamedTuple):
    """Files that come from one publisher, under the same terms."""

    name: str
    terms: str
    files: Mapping[str, Source]


def load_sources(path: Path | None = None) -> dict[str, SourceGroup]:
    """The groups of a sources file; default: data/sources.yaml."""
    path = path or resource_path("data/sources.yaml")
    groups = {}
    for name, group in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        groups[name] = SourceGroup(name, group["terms"], {file: _source(file, x) for file, x in group["files"].items()})
    return groups


def _source(name: str, values: Mapping[str, object]) -> Source:
    known = next(((kind, str(values[kind])) for kind in ("sha256", "md5") if kind in values), None)
    size, headers = values.get("size"), values.get("headers")
    return Source(
        name,
        str(values["url"]),
        size if isinstance(size, int) else None,
        known,
        headers if isinstance(headers, Mapping) else {},
    )


def find(folder: Path, name: str) -> Path | None:
    """A raw file of a folder: `name`, or without its .gz. Of ARCHIVE.tar.gz/MEMBER the member, unpacked or not."""
    archive, _, member = name.rpartition("/")
    plain = [member, f"{member}.gz"] if archive else [member, member.removesuffix(".gz")]
    found = [folder / place for place in plain if (folder / place).is_file()]
    if not found and archive and (folder / archive).is_file():
        return folder / name
    return found[0] if found else None


def require(folder: Path, names: Sequence[str], group: str) -> list[Path]:
    """The raw files of a folder by their names; those that are missing raise GenirError, with what to do."""
    if not folder.is_dir():
        found: list[Path | None] = [None] * len(names)
    else:
        found = [find(folder, name) for name in names]
    missing = dict.fromkeys(file_of(name) for name, path in zip(names, found, strict=True) if path is None)
    if missing:
        sources = load_sources()[group].files
        sizes = [sources[name].size for name in missing]
        total = f", {sum(size or 0 for size in sizes) / 1e6:,.0f} MB" if all(sizes) else ""
        raise GenirError(
            f"{folder}: {', '.join(missing)} missing; put them there (the addresses stand in data/sources.yaml under "
            f"{group}), or let genir prepare CONFIG --download fetch them{total}"
        )
    return [path for path in found if path is not None]


def file_of(name: str) -> str:
    """The file to download for a raw file's name: the archive of a member."""
    return name.split("/")[0]
