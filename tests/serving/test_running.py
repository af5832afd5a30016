"""Running the service: what is refused before it starts."""

import socket
from types import SimpleNamespace

import pytest
import torch

from genir.errors import GenirError
from genir.serving import running
from genir.serving.running import run_service
from genir.serving.settings import ServiceSettings


def test_several_processes_do_not_share_a_gpu(monkeypatch):
    on_gpu = SimpleNamespace(current=SimpleNamespace(model=SimpleNamespace(device=torch.device("cuda"))))
    monkeypatch.setattr(running.ServedRetriever, "load", lambda folder: on_gpu)
    with pytest.raises(GenirError, match="cannot share a GPU"):
        run_service("somewhere", "127.0.0.1", 0, 2, ServiceSettings())


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(GenirError, match="no such folder"):
        run_service(str(tmp_path / "nowhere"), "127.0.0.1", 0, 1, ServiceSettings())


def test_an_address_that_cannot_be_listened_on_is_named_before_anything_is_loaded(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(GenirError, match=rf"cannot listen on 127\.0\.0\.1:{port} \(Address already in use\)"):
            run_service(str(tmp_path), "127.0.0.1", port, 1, ServiceSettings())
    with pytest.raises(GenirError, match=r"cannot listen on 999\.1\.1\.1:80"):
        run_service(str(tmp_path), "999.1.1.1", 80, 1, ServiceSettings())
