"""The retriever: the object that users hold, and its folder."""

from genir.retriever.folder import find_retriever, identify_folder, require_replaceable
from genir.retriever.retriever import Retriever

__all__ = ["Retriever", "find_retriever", "identify_folder", "require_replaceable"]
