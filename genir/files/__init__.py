"""Files and folders: written whole or not at all, read with clear errors, and known by their hash."""

from genir.files.hashing import content_hash
from genir.files.reading import intact, numbered_lines, parse_json, read_json
from genir.files.resources import shipped
from genir.files.writing import atomic_file, atomic_folder, clear_os_errors, require_space, sole_user, write_json

__all__ = [
    "atomic_file",
    "atomic_folder",
    "clear_os_errors",
    "content_hash",
    "intact",
    "numbered_lines",
    "parse_json",
    "read_json",
    "require_space",
    "shipped",
    "sole_user",
    "write_json",
]
