"""The raw files of the published collections: reading their list, data/sources.yaml, and finding them in a folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from genir.errors import GenirError
from genir.files import resource_path


class RawFile(NamedTuple):
    """A file that can be downloaded.

    size: in bytes, if it is known. hash: (algorithm, hex digest), if it is known; the algorithm is "md5" or "sha256".
    headers: HTTP headers that are sent with the request.
    """

    name: str
    url: str
    size: int | None = None
    hash: tuple[str, str] | None = None
    headers: Mapping[str, str] = {}


class RawFileGroup(NamedTuple):
    """Raw files of one publisher under the same terms of use."""

    name: str
    terms: str
    files: Mapping[str, RawFile]


def load_sources(path: Path | None = None) -> dict[str, RawFileGroup]:
    """Read the groups of raw files from a sources file, by default data/sources.yaml."""
    path = path or resource_path("data/sources.yaml")
    groups = {}
    for name, group in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        files = {file: _parse_source(file, values) for file, values in group["files"].items()}
        groups[name] = RawFileGroup(name, group["terms"], files)
    return groups


def _parse_source(name: str, values: Mapping[str, object]) -> RawFile:
    known = next(((kind, str(values[kind])) for kind in ("sha256", "md5") if kind in values), None)
    size, headers = values.get("size"), values.get("headers")
    return RawFile(
        name,
        str(values["url"]),
        size if isinstance(size, int) else None,
        known,
        headers if isinstance(headers, Mapping) else {},
    )


def find_raw_file(folder: Path, name: str) -> Path | None:
    """Return the path of a raw file in a folder, or None if it is missing.

    The unpacked file NAME is accepted in place of NAME.gz. ARCHIVE.tar.gz/MEMBER is found as the unpacked MEMBER or
    MEMBER.gz, otherwise as the path FOLDER/ARCHIVE.tar.gz/MEMBER, which `genir.files.numbered_lines` reads from the
    archive.
    """
    archive, _, member = name.rpartition("/")
    candidates = [member, f"{member}.gz"] if archive else [member, member.removesuffix(".gz")]
    found = [folder / candidate for candidate in candidates if (folder / candidate).is_file()]
    if not found and archive and (folder / archive).is_file():
        return folder / name
    return found[0] if found else None


def require_raw_files(folder: Path, names: Sequence[str], group: str) -> list[Path]:
    """Return the paths of raw files in a folder.

    group: their group in data/sources.yaml. Raises GenirError if files are missing; it lists them, their total size if
    it is known, and how to get them.
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
            f"{folder}: missing {', '.join(missing)}; copy them into this folder (data/sources.yaml lists their "
            f"addresses under {group}), or download them with genir prepare CONFIG --download{total}"
        )
    return [path for path in found if path is not None]


def download_name(name: str) -> str:
    """Return the name of the file that must be downloaded for a raw file; for ARCHIVE/MEMBER this is the archive."""
    return name.split("/")[0]
