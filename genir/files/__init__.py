"""Files and folders: atomic writing, reading with one-line errors, content hashes, and files shipped with genir."""

from genir.files.hashing import content_hash
from genir.files.reading import numbered_lines, parse_json_line, read_json, reading_own_file
from genir.files.resources import resource_path
from genir.files.writing import atomic_file, atomic_folder, explain_os_errors, folder_lock, require_space, write_json

__all__ = [
    "atomic_file",
    "atomic_folder",
    "content_hash",
    "explain_os_errors",
    "folder_lock",
    "numbered_lines",
    "parse_json_line",
    "read_json",
    "reading_own_file",
    "require_space",
    "resource_path",
    "write_json",
]
