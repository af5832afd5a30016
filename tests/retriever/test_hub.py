"""Uploading retrievers to the hub and loading them from it, against a server with the hub's HTTP interface."""

import json
import subprocess
import sys

import numpy as np
import pytest
import yaml

from genir.errors import GenirError
from genir.retriever.hub import is_hub_name
from tests.helpers.hub import TOKEN, serve_hub, serve_status
from tests.helpers.processes import ROOT
from tests.helpers.retrievers import find_all, growing_retriever

CLIENT = """
import json, sys, torch
from genir import GenirError, Retriever
torch.set_num_threads(1)
folder, token = sys.argv[1:]
r = Retriever.from_pretrained(folder)
first = r.push_to_hub("alice/owls", private=True, token=token, commit_message="first")
r.remove(["d1"])
r.push_to_hub("alice/owls", branch="less", token=token)
def find(**options):
    hits = Retriever.from_pretrained("alice/owls", **options).search("owls", k=99, beams=99)
    return [[hit.doc_id, hit.score] for hit in hits]
def fail(call):
    try:
        call()
    except GenirError as error:
        return str(error)
errors = [
    fail(lambda: r.push_to_hub("alice/owls", token="wrong")),
    fail(lambda: r.push_to_hub("owls", token=token)),
    fail(lambda: Retriever.from_pretrained("alice/none")),
    fail(lambda: Retriever.from_pretrained("alice/owls", revision="none")),
    fail(lambda: Retriever.from_pretrained(folder, revision="main")),
]
found = [find(), find(revision="less"), find(revision=first.rsplit("/", 1)[1])]
r.push_to_hub("alice/owls", token=token)
print(json.dumps([first, found, errors, find()]))
"""


def as_owner(folder, script, *arguments):
    """Run Python in a new process that takes the address of the hub from HF_ENDPOINT."""
    done = subprocess.run([sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that the processes started by `as_owner` use; yields its address and its repositories."""
    with serve_hub() as (address, repositories):
        variables = {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": TOKEN}
        for name, value in (variables | {"HF_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}).items():
            monkeypatch.setenv(name, value)
        yield address, repositories


def files_of(repository):
    return repository.commits[repository.branches["main"]]


@pytest.mark.slow
def test_a_retriever_that_was_uploaded_gives_the_same_hits_at_each_revision(make_retriever, tmp_path, hub):
    retriever = make_retriever(np.array([[0, 1], [2, 0], [1, 1], [2, 0], [0, 0]]), (3, 2))
    retriever.save_pretrained(tmp_path / "r")
    address, repositories = hub
    commit, found, errors, last = as_owner(tmp_path, CLIENT, str(tmp_path / "r"), TOKEN)
    repository = repositories["alice/owls"]
    expected = {doc_id: score for (doc_id, _), score in find_all(retriever).items()}
    assert commit.startswith(f"{address}/alice/owls/commit/")
    for hits in (found[0], found[2]):
        assert dict(hits) == pytest.approx(expected, abs=1e-4)
    assert {doc_id for doc_id, _ in found[1]} == {doc_id for doc_id, _ in last} == expected.keys() - {"d1"}
    assert repository.private
    assert repository.messages[1] == "first"
    files = files_of(repository)
    assert files.keys() == {path.relative_to(tmp_path / "r").as_posix() for path in (tmp_path / "r").rglob("*.*")}
    card = files["README.md"].decode()
    assert 'from_pretrained("alice/owls")' in card
    assert "ranks 4 documents" in card
    assert yaml.safe_load(card.split("---")[1])["library_name"] == "genir"
    expected_words = [
        "alice/owls: the upload to the hub failed: ",
        "'owls' cannot be the name",
        "alice/none: no such folder, and not on the hub: there is no such repository, or a private",
        "at revision none: there is no such revision",
        "a revision (main) can only be chosen",
    ]
    for error, words in zip(errors, expected_words, strict=True):
        assert words in error
        assert "\n" not in error


FINDER = """
import json, torch
from genir import Retriever
torch.set_num_threads(1)
hits = Retriever.from_pretrained("alice/owls").search("owls", k=99, beams=99)
print(json.dumps([[hit.doc_id, hit.score] for hit in hits]))
"""


@pytest.mark.slow
def test_a_retriever_in_the_cache_is_loaded_without_the_hub(make_retriever, tmp_path, hub, monkeypatch):
    folder = tmp_path / "r"
    make_retriever(np.array([[0, 1], [2, 0], [1, 1]]), (3, 2)).save_pretrained(folder)
    upload = "import sys; from genir import Retriever; Retriever.from_pretrained(sys.argv[1]).push_to_hub('alice/owls')"
    as_owner(tmp_path, f"{upload}; print(0)", str(folder))
    found = as_owner(tmp_path, FINDER)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    assert as_owner(tmp_path, FINDER) == found
    with serve_status(429) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        assert as_owner(tmp_path, FINDER) == found


OVERWRITER = """
import json, sys, torch
from genir import GenirError, Retriever
from huggingface_hub import HfApi
torch.set_num_threads(1)
large, small, api = *map(Retriever.from_pretrained, sys.argv[1:]), HfApi()
def upload(name, **files):
    api.create_repo(name, exist_ok=True)
    for path, text in files.items():
        api.upload_file(path_or_fileobj=text.encode(), path_in_repo=path, repo_id=name)
large.push_to_hub("alice/owls")
upload("alice/owls", LICENSE="mine")
small.push_to_hub("alice/owls")
upload("alice/card", **{"README.md": "---\\nlibrary_name: mine\\n---\\n"})
large.push_to_hub("alice/card")
small.push_to_hub("alice/card")
upload("alice/bert", **{"model.bin": "weights"})
try:
    small.push_to_hub("alice/bert")
except GenirError as error:
    refused = str(error)
try:
    Retriever.from_pretrained("alice/bert")
except GenirError as error:
    print(json.dumps([refused, str(error)]))
"""


@pytest.mark.slow
def test_an_upload_replaces_only_what_genir_wrote(make_retriever, tokenizer, tmp_path, hub):
    large, _, _ = growing_retriever(tokenizer, weight=1.5)
    large.save_pretrained(tmp_path / "large")
    make_retriever(np.array([[0, 1], [2, 0]]), (3, 2)).save_pretrained(tmp_path / "small")
    refused, missing = as_owner(tmp_path, OVERWRITER, str(tmp_path / "large"), str(tmp_path / "small"))
    expected = {path.relative_to(tmp_path / "small").as_posix() for path in (tmp_path / "small").rglob("*.*")}
    owls, card, bert = (files_of(hub[1][f"alice/{name}"]) for name in ("owls", "card", "bert"))
    assert owls.keys() == expected | {"LICENSE"}
    assert b"ranks 2 documents" in owls["README.md"]
    assert card.keys() == expected
    assert card["README.md"] == b"---\nlibrary_name: mine\n---\n"
    assert refused.startswith("alice/bert: holds something that is not a retriever, such as model.bin; choose another")
    assert bert == {"model.bin": b"weights"}
    assert "alice/bert: this repository of the hub holds no retriever of genir (it has no genir.json)" in missing
    assert not list((tmp_path / "cache").rglob("model.bin"))


def test_what_can_be_the_name_of_a_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert is_hub_name("alice/owls-1.0")
    for name in ("owls", "a/b/c", "../owls", "~/owls", "here/owls", "/tmp/owls", "./owls", "c/owls.yaml", "c/owls.yml"):
        assert not is_hub_name(name)


@pytest.mark.parametrize("name", ["", "owls", "a/b/c"])
def test_a_wrong_name_is_refused_before_anything_is_sent(make_retriever, name):
    """Tests are offline: a request would be another error."""
    retriever = make_retriever(np.array([[0], [1]]), (2,))
    with pytest.raises(GenirError, match=f"'{name}' cannot be the name of a repository on the hub; give USER/NAME"):
        retriever.push_to_hub(name)
