"""The raw files that can be downloaded (data/sources.yaml), and where they are in a folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from genir.errors import GenirError
from genir.files import resource_path


class Source(NamedTuple):
    """One file to download: its address, its size in bytes and its hash (algorithm, hex digest) where they are known.

    The algorithm is "md5" or "sha256". `headers` are sent with the request.
    """

    name: str
    url: str
    size: int | None = None
    hash: tuple[str, str] | None = None
    headers: Mapping[str, str] = {}


class SourceGroup(NamedTuple):
    """Files of one publisher under the same terms of use."""

    name: str
    terms: str
    files: Mapping[str, Source]


def load_sources(path: Path | None = None) -> dict[str, SourceGroup]:
    """Read the groups of a sources file, by default data/sources.yaml."""
    path = path or resource_path("data/sources.yaml")
    groups = {}
    for name, group in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        files = {file: _parse_source(file, values) for file, values in group["files"].items()}
        groups[name] = SourceGroup(name, group["terms"], files)
    return groups


def _parse_source(name: str, values: Mapping[str, object]) -> Source:
    known = next(((kind, str(values[kind])) for kind in ("sha256", "md5") if kind in values), None)
    size, headers = values.get("size"), values.get("headers")
    return Source(
        name,
        str(values["url"]),
        size if isinstance(size, int) else None,
        known,
        headers if isinstance(headers, Mapping) else {},
    )


def find_raw_file(folder: Path, name: str) -> Path | None:
    """Return the path of a raw file in a folder, or None if it is missing.

    NAME.gz is also found unpacked, as NAME. ARCHIVE.tar.gz/MEMBER is found as the unpacked MEMBER or MEMBER.gz, else as
    the path FOLDER/ARCHIVE.tar.gz/MEMBER, which `genir.files.numbered_lines` reads from the archive.
    """
    archive, _, member = name.rpartition("/")
    candidates = [member, f"{member}.gz"] if archive else [member, member.removesuffix(".gz")]
    found = [folder / candidate for candidate in candidates if (folder / candidate).is_file()]
    if not found and archive and (folder / archive).is_file():
        return folder / name
    return found[0] if found else None


def require_raw_files(folder: Path, names: Sequence[str], group: str) -> list[Path]:
    """Return the paths of raw files in a folder.

    Raises GenirError that lists the missing ones, their size where it is known, and how to get them.
    """
    if not folder.is_dir():
        found: list[Path | None] = [None] * len(names)
    else:
        found = [find_raw_file(folder, name) for name in names]
    missing = dict.fromkeys(download_name(name) for name, path in zip(names, found, strict=True) if path is None)
    if missing:
        sources = load_sources()[group].files
        sizes = [sources[name].size for name in missing]
        total = f" ({sum(size or 0 for size in sizes) / 1e6:,.0f} MB)" if all(sizes) else ""
        raise GenirError(
            f"{folder}: missing {', '.join(missing)}; put them there (data/sources.yaml lists the addresses under "
            f"{group}), or download them with genir prepare CONFIG --download{total}"
        )
    return [path for path in found if path is not None]


def download_name(name: str) -> str:
    """Return the name of the file to download for a raw file: of ARCHIVE/MEMBER the archive."""
    return name.split("/")[0]
