"""Files and folders: atomic writing, reading with one-line errors, content hashes, and files shipped with genir."""

from genir.files.hashing import content_hash, find_damage, hash_files
from genir.files.reading import (
    list_folder,
    numbered_lines,
    parse_json_line,
    parse_strict_json,
    read_json,
    read_text,
    reading_own_file,
    require_regular_file,
)
from genir.files.resources import resource_path
from genir.files.temporary import remove_folder, remove_leftovers, restore_replaced
from genir.files.writing import atomic_file, atomic_folder, explain_os_errors, folder_lock, require_space, write_json

__all__ = [
    "atomic_file",
    "atomic_folder",
    "content_hash",
    "explain_os_errors",
    "find_damage",
    "folder_lock",
    "hash_files",
    "list_folder",
    "numbered_lines",
    "parse_json_line",
    "parse_strict_json",
    "read_json",
    "read_text",
    "reading_own_file",
    "remove_folder",
    "remove_leftovers",
    "require_regular_file",
    "require_space",
    "resource_path",
    "restore_replaced",
    "write_json",
]
