"""A retriever folder that changes while it is served."""

import logging
import threading

import pytest
from fastapi.testclient import TestClient

from genir.errors import GenirError
from genir.serving.app import create_app
from genir.serving.reloading import FolderWatcher, ServedRetriever
from genir.serving.settings import ServiceSettings
from tests.helpers.serving import make_owls


@pytest.fixture
def folder(owls, tmp_path):
    owls.save_pretrained(tmp_path / "run" / "retriever")
    return tmp_path / "run" / "retriever"


def test_a_folder_that_is_replaced_is_loaded_once(folder, tokenizer):
    served, loaded = ServedRetriever.load(str(folder.parent)), []
    watcher = FolderWatcher(served, loaded.append)
    watcher.poll()
    assert loaded == []
    before = served.current
    hits = before.search("owls hunt")
    make_owls(tokenizer, 20).save_pretrained(folder)
    watcher.poll()
    watcher.poll()
    assert loaded == [20]
    assert len(served.current.table) == 20
    assert before.search("owls hunt") == hits  # what still runs has the old files


def test_a_broken_folder_is_noted_once_and_loaded_when_it_is_complete(folder, tokenizer, caplog):
    served, loaded = ServedRetriever.load(str(folder)), []
    watcher = FolderWatcher(served, loaded.append)
    old = served.current
    make_owls(tokenizer, 20).save_pretrained(folder)
    documents = folder / "docids" / "documents.tsv"
    content = documents.read_bytes()
    documents.write_bytes(content[:-9])
    with caplog.at_level(logging.ERROR, "genir.serving"):
        for _ in range(40):  # it is tried again from time to time
            watcher.poll()
    assert loaded == [None] * 3
    assert len(caplog.records) == 1
    assert "documents.tsv" in caplog.text
    assert served.current is old
    documents.write_bytes(content)
    for _ in range(15):
        watcher.poll()
    assert loaded == [None] * 3 + [20]
    (folder / "genir.json").unlink()
    watcher.poll()
    assert len(served.current.table) == 20


def test_no_request_fails_while_the_retriever_is_replaced(folder, tokenizer):
    served = ServedRetriever.load(str(folder))
    watcher = FolderWatcher(served, lambda documents: None)
    with TestClient(create_app(served, ServiceSettings(watch=False))) as client:
        for count in (20, 25):
            make_owls(tokenizer, count).save_pretrained(folder)
            before = client.post("/search", json={"queries": ["owls"] * 3, "k": 40}).json()["results"]
            watcher.poll()
            after = client.post("/search", json={"queries": ["owls"] * 3, "k": 40}).json()["results"]
            sizes = [len(result["hits"]) for result in [*before, *after]]
            assert sizes == [{20: 30, 25: 20}[count]] * 3 + [count] * 3


def test_the_watcher_notices_a_change_by_itself(folder, tokenizer):
    was_loaded = threading.Event()
    served = ServedRetriever.load(str(folder))
    watcher = FolderWatcher(served, lambda documents: was_loaded.set(), interval=0.01)
    watcher.start()
    make_owls(tokenizer, 20).save_pretrained(folder)
    assert was_loaded.wait(60)
    watcher.stop()
    assert len(served.current.table) == 20


def test_what_is_no_retriever_is_refused(tmp_path):
    with pytest.raises(GenirError, match="not a retriever"):
        ServedRetriever.load(str(tmp_path))
