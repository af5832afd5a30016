"""Files of the repository that are not imported: programs, configs and lists of data."""

from pathlib import Path


def resource_path(name: str) -> Path:
    """A file of the repository that is not imported (a program, a config, a list of data), in a checkout or a wheel."""
    here = Path(__file__).resolve().parent.parent  # the package genir
    installed = here / "stages" / name
    return installed if installed.exists() else here.parent / name
