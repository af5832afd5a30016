"""Retrievers on the Hugging Face hub: downloading a repository, and uploading a folder to one."""

import glob
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genir.console import print_note
from genir.errors import GenirError
from genir.files import content_hash, read_json
from genir.files.hub import TIMEOUT, explain_hub_error, find_hub_problem

if TYPE_CHECKING:
    from huggingface_hub import HfApi

SETTINGS_FILE = "genir.json"
CARD_FILE = "README.md"
_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def is_hub_name(name: str | Path) -> bool:
    """Whether a text can be the name of a repository, USER/NAME, and cannot be meant as a path or a config file."""
    path = Path(name)
    is_pair = _HUB_NAME.fullmatch(str(name)) is not None and path.suffix not in (".yaml", ".yml")
    return is_pair and not path.exists() and not path.parent.is_dir()


def require_hub_name(name: str) -> None:
    """Raise GenirError unless a text can be the name of a repository."""
    if _HUB_NAME.fullmatch(name) is None:
        raise GenirError(f"{name!r} cannot be the name of a repository on the hub; give USER/NAME")


def download_repository(name: str, revision: str | None = None) -> Path:
    """Download the retriever in a repository of the hub into the local cache, and return the folder.

    revision: a branch, a tag or a commit; by default the branch main. Raises GenirError if there is no such repository
    or revision, if it holds no retriever, which is found before anything large is downloaded, or if the hub cannot be
    reached.
    """
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError

    problem = ""
    try:
        problem = find_hub_problem(lambda: HfApi().model_info(name, revision=revision, timeout=TIMEOUT))
        cache_only = bool(problem)  # otherwise it would try again for half a minute
        settings = Path(hf_hub_download(name, SETTINGS_FILE, revision=revision, local_files_only=cache_only))
        commit = settings.parent.name
        return Path(snapshot_download(name, revision=commit, local_files_only=cache_only))
    except RemoteEntryNotFoundError:
        raise GenirError(
            f"{name}: this repository of the hub holds no retriever of genir (it has no {SETTINGS_FILE})"
        ) from None
    except Exception as error:  # the hub raises a dozen unrelated types
        at = "" if revision is None else f" at revision {revision}"
        if problem and isinstance(error, LocalEntryNotFoundError):
            raise GenirError(f"{name}: no such folder, and the hub cannot be reached: {problem}") from None
        raise GenirError(f"{name}: no such folder, and not on the hub{at}: {explain_hub_error(error)}") from None


def upload_folder(
    folder: Path, name: str, private: bool | None, branch: str | None, token: str | None, message: str
) -> str:
    """Upload all files of a retriever folder in one commit, and return the address of the commit.

    The repository and the branch are created if they do not exist. Of the files that are already there, those of an
    earlier retriever are replaced or deleted, and all others stay. A model card that genir did not write, or that was
    edited since, replaces that of the folder. private: whether a new repository is private; None leaves it to the
    settings of its owner. Raises GenirError if the branch holds something that is not a retriever, and if the hub
    refuses.
    """
    from huggingface_hub import HfApi

    try:
        api = HfApi(token=token, library_name="genir")
        api.create_repo(name, private=private, exist_ok=True)
        if branch is not None:
            api.create_branch(name, branch=branch, exist_ok=True)
        present = api.list_repo_files(name, revision=branch)
        earlier = _read_settings(api, name, branch, present)
        if CARD_FILE in present:
            _keep_edited_card(folder, Path(api.hf_hub_download(name, CARD_FILE, revision=branch)), earlier, name)
        commit = api.upload_folder(
            repo_id=name,
            folder_path=folder,
            revision=branch,
            commit_message=message,
            delete_patterns=[glob.escape(path) for path in earlier.get("files", ())],
        )
    except GenirError:
        raise
    except Exception as error:
        raise GenirError(f"{name}: the upload to the hub failed: {explain_hub_error(error)}") from None
    return str(commit.commit_url)


def _read_settings(api: "HfApi", name: str, branch: str | None, present: Iterable[str]) -> dict[str, Any]:
    """Read genir.json of a branch; empty if there is none, and nothing that an upload could destroy.

    present: the files of the branch. Raises GenirError if they are not those of a retriever.
    """
    if SETTINGS_FILE in present:
        content = read_json(Path(api.hf_hub_download(name, SETTINGS_FILE, revision=branch)))
        return content if isinstance(content, dict) else {}
    others = [path for path in present if path not in (CARD_FILE, ".gitattributes")]
    if others:
        raise GenirError(
            f"{name}: holds something that is not a retriever, such as {others[0]}; choose another repository or branch"
        )
    return {}


def _keep_edited_card(folder: Path, card: Path, earlier: dict[str, Any], name: str) -> None:
    """Copy the model card of a repository into the folder, unless it is as genir wrote it.

    earlier: genir.json of the repository.
    """
    if content_hash(card) != earlier.get("card"):
        shutil.copy(card, folder / CARD_FILE)
        print_note(f"{name}: its {CARD_FILE} is not as genir wrote it, so it is kept; delete it there to get a new one")
