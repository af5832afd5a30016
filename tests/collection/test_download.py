"""Downloads from a server on this machine: range requests, broken connections, wrong hashes, a full disk."""

import hashlib
import http.server
import os
import threading
from pathlib import Path

import pytest

from genir.collection import download
from genir.collection.download import fetch, fetch_all
from genir.collection.sources import RawFile, RawFileGroup
from genir.errors import GenirError

CONTENT = os.urandom(300_000)


class Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT and records the range of each request.

    limit: bytes after which each response breaks off, 0 for none; ranges: whether range requests are honoured; errors:
    how many of the next requests are answered with status 503.
    """

    limit, ranges, errors, requested = 0, True, 0, []

    def do_GET(self):
        Server.requested.append(self.headers.get("Range"))
        if self.path == "/nowhere":
            self.send_error(404)
            return
        if Server.errors:
            Server.errors -= 1
            self.send_error(503)
            return
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1]) if Server.ranges else 0
        if start >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : start + (Server.limit or len(CONTENT))])
        self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def address():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def source(address, monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.0)
    Server.limit, Server.ranges, Server.errors, Server.requested = 0, True, 0, []
    return RawFile("x.gz", f"{address}/x.gz", len(CONTENT), ("sha256", hashlib.sha256(CONTENT).hexdigest()))


def test_a_file_is_downloaded_once(source, tmp_path):
    assert fetch(source, tmp_path / "new").read_bytes() == CONTENT
    fetch(source, tmp_path / "new")
    assert len(Server.requested) == 1
    assert os.listdir(tmp_path / "new") == ["x.gz"]


def test_a_connection_that_breaks_off_repeatedly_is_resumed_where_it_broke_off(source, tmp_path):
    Server.limit = 70_000
    assert fetch(source, tmp_path).read_bytes() == CONTENT
    assert Server.requested == [None, "bytes=70000-", "bytes=140000-", "bytes=210000-", "bytes=280000-"]


def test_a_download_that_an_earlier_command_began_is_resumed(source, tmp_path):
    (tmp_path / ".x.gz.part").write_bytes(CONTENT[:1000])
    assert fetch(source, tmp_path).read_bytes() == CONTENT
    assert Server.requested == ["bytes=1000-"]
    (tmp_path / "x.gz").rename(tmp_path / ".x.gz.part")  # killed after the last byte
    assert fetch(source, tmp_path).read_bytes() == CONTENT


def test_a_server_that_ignores_ranges_restarts_the_file(source, tmp_path):
    Server.ranges = False
    (tmp_path / ".x.gz.part").write_bytes(b"something else")
    assert fetch(source, tmp_path).read_bytes() == CONTENT


def test_a_server_that_never_completes_the_file_is_an_error_and_the_partial_file_is_kept(source, tmp_path):
    Server.ranges, Server.limit = False, 1000
    with pytest.raises(
        GenirError, match=r"the connection was interrupted after 1,000 bytes; run the same command again to resume"
    ):
        fetch(source, tmp_path)
    assert os.listdir(tmp_path) == [".x.gz.part"]


def test_a_server_that_is_unavailable_for_a_while_is_tried_again(source, tmp_path):
    Server.errors = 3
    assert fetch(source, tmp_path).read_bytes() == CONTENT


def test_a_missing_file_or_server_is_reported_with_its_address(source, tmp_path):
    with pytest.raises(GenirError, match="/nowhere: the server answered 404"):
        fetch(source._replace(url=source.url.replace("x.gz", "nowhere")), tmp_path)
    with pytest.raises(GenirError, match=r"http://127\.0\.0\.1:9/x: .*refused"):
        fetch(source._replace(url="http://127.0.0.1:9/x"), tmp_path)


def test_a_downloaded_file_with_a_wrong_hash_is_deleted(source, tmp_path):
    wrong = source._replace(hash=("md5", "0" * 32))
    with pytest.raises(GenirError, match=r"not the published x\.gz \(md5 is \w+, expected 0+\)"):
        fetch(wrong, tmp_path)
    assert os.listdir(tmp_path) == []


def test_an_existing_file_with_a_wrong_hash_is_reported_and_kept(source, tmp_path):
    (tmp_path / "x.gz").write_bytes(b"mine")
    with pytest.raises(GenirError, match=r"not the published x\.gz"):
        fetch(source, tmp_path)
    assert (tmp_path / "x.gz").read_bytes() == b"mine"


def test_a_file_without_a_known_hash_is_printed_as_not_verified(source, tmp_path, capsys):
    fetch(source._replace(hash=None), tmp_path)
    assert "not verified" in capsys.readouterr().out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_reported_and_the_file_does_not_get_its_name(source, tmp_path):
    (tmp_path / ".x.gz.part").symlink_to("/dev/full")
    with pytest.raises(GenirError, match=r"x\.gz: no space left on the disk"):
        fetch(source, tmp_path)
    assert not (tmp_path / "x.gz").exists()


def test_insufficient_disk_space_is_reported_before_any_request(source, tmp_path):
    with pytest.raises(GenirError, match="MB"):
        fetch(source._replace(size=10**18), tmp_path)
    assert Server.requested == []


def test_only_the_missing_files_of_a_group_are_downloaded(source, tmp_path):
    group = RawFileGroup(
        "g", "for tests", {name: source._replace(name=name) for name in ("a.gz", "b.tar.gz", "c.tar.gz")}
    )
    for name in ("a", "one", "two"):
        (tmp_path / name).touch()
    fetch_all(group, ["a.gz", "b.tar.gz/one", "b.tar.gz/two", "c.tar.gz/three"], tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["a", "c.tar.gz", "one", "two"]
