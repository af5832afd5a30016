"""Clients that are slow, or too many, over real connections."""

import socket
from contextlib import ExitStack

import pytest

from genir.serving.protocol import make_protocol
from tests.helpers.serving import ask, make_config, receive_all, running

HEALTH = b"GET /health HTTP/1.1\r\nHost: genir\r\n\r\n"
POST = b"POST /search HTTP/1.1\r\nHost: genir\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"


@pytest.fixture
def address(owls):
    config = make_config(owls)
    config.timeout_keep_alive = 1
    config.http = make_protocol(5, request_seconds=0.2)
    with running(config) as address:
        yield address


@pytest.mark.parametrize("begun", [b"", b"GET /hea", HEALTH + b"GET /hea", POST])
def test_a_client_that_does_not_complete_its_request_is_disconnected(address, begun):
    with socket.create_connection(address) as connection:
        connection.sendall(begun)
        assert receive_all(connection).count(b"200 OK") == begun.count(b"GET /health ")


def test_a_client_that_does_not_read_its_answer_is_disconnected(address):
    with socket.create_connection(address) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        with pytest.raises(OSError, match=r"reset|Broken pipe"):  # and not a timeout
            for _ in range(100_000):
                connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: genir\r\n\r\n")


def test_the_connection_that_waits_for_the_longest_time_gives_way_to_another(address):
    with ExitStack() as clients:
        connections = [clients.enter_context(socket.create_connection(address)) for _ in range(6)]
        for connection in connections[1:]:
            connection.sendall(HEALTH)
        assert ask(address, "health").status_code == 200
        assert receive_all(connections[0]) == b""
        assert b"200 OK" in connections[-1].recv(4096)
