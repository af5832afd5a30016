"""Downloads from a server on this machine: ranges, cut connections, wrong hashes, a full disk."""

import hashlib
import http.server
import os
import threading
from pathlib import Path

import pytest

from genir.collection import download
from genir.collection.download import fetch, fetch_all
from genir.collection.sources import Source, SourceGroup, load_sources, require
from genir.errors import GenirError

CONTENT = os.urandom(300_000)


class Server(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; `cut`: bytes after which each answer breaks off; `ranges`: whether parts are served."""

    cut, ranges, errors, asked = 0, True, 0, []

    def do_GET(self):
        Server.asked.append(self.headers.get("Range"))
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
        self.wfile.write(CONTENT[start : start + (Server.cut or len(CONTENT))])
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
    Server.cut, Server.ranges, Server.errors, Server.asked = 0, True, 0, []
    return Source("x.gz", f"{address}/x.gz", len(CONTENT), ("sha256", hashlib.sha256(CONTENT).hexdigest()))


def test_a_file_arrives_whole_and_is_not_fetched_twice(source, tmp_path):
    assert fetch(source, tmp_path / "new").read_bytes() == CONTENT
    fetch(source, tmp_path / "new")
    assert len(Server.asked) == 1
    assert os.listdir(tmp_path / "new") == ["x.gz"]


def test_a_connection_that_breaks_off_again_and_again_is_taken_up_where_it_was(source, tmp_path):
    Server.cut = 70_000
    assert fetch(source, tmp_path).read_bytes() == CONTENT
    assert Server.asked == [None, "bytes=70000-", "bytes=140000-", "bytes=210000-", "bytes=280000-"]


def test_what_an_earlier_command_left_is_not_fetched_again(source, tmp_path):
    (tmp_path / ".x.gz.part").write_bytes(CONTENT[:1000])
    assert fetch(source, tmp_path).read_bytes() == CONTENT
    assert Server.asked == ["bytes=1000-"]
    (tmp_path / "x.gz").rename(tmp_path / ".x.gz.part")  # killed after the last byte
    assert fetch(source, tmp_path).read_bytes() == CONTENT


def test_a_server_without_ranges_sends_all_again(source, tmp_path):
    Server.ranges = False
    (tmp_path / ".x.gz.part").write_bytes(b"something else")
    assert fetch(source, tmp_path).read_bytes() == CONTENT


def test_a_server_that_never_gets_to_the_end_is_given_up_and_the_part_is_kept(source, tmp_path):
    Server.ranges, Server.cut = False, 1000
    with pytest.raises(GenirError, match=r"the connection was cut after 1,000 bytes; the same command goes on"):
        fetch(source, tmp_path)
    assert os.listdir(tmp_path) == [".x.gz.part"]


def test_a_server_that_is_busy_for_a_while_is_asked_again(source, tmp_path):
    Server.errors = 3
    assert fetch(source, tmp_path).read_bytes() == CONTENT


def test_no_server_and_no_file_are_one_clear_line(source, tmp_path):
    with pytest.raises(GenirError, match="/nowhere: the server answers 404"):
        fetch(source._replace(url=source.url.replace("x.gz", "nowhere")), tmp_path)
    with pytest.raises(GenirError, match=r"http://127\.0\.0\.1:9/x: .*refused"):
        fetch(source._replace(url="http://127.0.0.1:9/x"), tmp_path)


def test_a_wrong_hash_leaves_nothing(source, tmp_path):
    wrong = source._replace(hash=("md5", "0" * 32))
    with pytest.raises(GenirError, match=r"not the published x\.gz \(md5 \w+, not 0+\)"):
        fetch(wrong, tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_file_of_one_s_own_with_another_hash_is_named_and_kept(source, tmp_path):
    (tmp_path / "x.gz").write_bytes(b"mine")
    with pytest.raises(GenirError, match=r"not the published x\.gz"):
        fetch(source, tmp_path)
    assert (tmp_path / "x.gz").read_bytes() == b"mine"


def test_a_file_without_a_known_hash_is_said_not_to_be_verified(source, tmp_path, capsys):
    fetch(source._replace(hash=None), tmp_path)
    assert "not verified" in capsys.readouterr().out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_one_clear_line(source, tmp_path):
    (tmp_path / ".x.gz.part").symlink_to("/dev/full")
    with pytest.raises(GenirError, match=r"x\.gz: no space left on the disk"):
        fetch(source, tmp_path)
    assert not (tmp_path / "x.gz").exists()


def test_too_little_room_is_said_before_anything_is_sent(source, tmp_path):
    with pytest.raises(GenirError, match="MB are needed"):
        fetch(source._replace(size=10**18), tmp_path)
    assert Server.asked == []


def test_of_a_group_only_what_is_missing_is_fetched(source, tmp_path):
    group = SourceGroup(
        "g", "for tests", {name: source._replace(name=name) for name in ("a.gz", "b.tar.gz", "c.tar.gz")}
    )
    for name in ("a", "one", "two"):
        (tmp_path / name).touch()
    fetch_all(group, ["a.gz", "b.tar.gz/one", "b.tar.gz/two", "c.tar.gz/three"], tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["a", "c.tar.gz", "one", "two"]


def test_every_listed_source_has_an_address_and_a_hash_of_its_kind_s_length():
    for group in load_sources().values():
        assert group.terms
        for name, source in group.files.items():
            assert source.url.startswith("https://")
            assert source.hash is None or len(source.hash[1]) == {"md5": 32, "sha256": 64}[source.hash[0]]
            assert source.size is None or source.size > 0
            assert name == source.name


def test_missing_raw_files_are_named_with_what_to_do(tmp_path):
    names = ["simplified-nq-train.jsonl.gz", "nq-dev-all.jsonl.gz", "vocab.txt"]
    (tmp_path / "nq-dev-all.jsonl").touch()
    with pytest.raises(GenirError) as error:
        require(tmp_path, names, "nq")
    assert "simplified-nq-train.jsonl.gz, vocab.txt missing" in str(error.value)
    assert "nq-dev-all" not in str(error.value)
    assert "genir prepare CONFIG --download" in str(error.value)
    with pytest.raises(GenirError, match=r"collectionandqueries\.tar\.gz missing.* 1,058 MB"):
        require(tmp_path / "nowhere", ["collectionandqueries.tar.gz/collection.tsv"], "msmarco-passage")
