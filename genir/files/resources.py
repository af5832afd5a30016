"""Files that are shipped with genir but not imported: programs, configs and the list of downloads."""

from pathlib import Path


def resource_path(name: str) -> Path:
    """The path of a file such as "configs/quickstart.yaml", given by its path in the repository.

    An installed wheel holds these files in the package folder genir/stages; in a checkout they are beside the package.
    The path is returned whether or not the file exists.
    """
    package = Path(__file__).resolve().parent.parent
    installed = package / "stages" / name
    return installed if installed.exists() else package.parent / name
