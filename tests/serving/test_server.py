"""The server's configuration and its signals."""

import resource
import signal

import pytest

from genir.serving.server import Server, make_server_config
from genir.serving.settings import ServiceSettings


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_and_not_the_process(request, number):
    server = Server(make_server_config(None, "127.0.0.1", 0, ServiceSettings()))
    before = signal.signal(number, signal.default_int_handler)  # a shell in the background would ignore Ctrl-C
    request.addfinalizer(lambda: signal.signal(number, before))
    with server.capture_signals():
        signal.raise_signal(number)
        assert server.should_exit
        assert not server.force_exit
    assert signal.getsignal(number) == signal.default_int_handler


def test_the_connections_leave_files_for_other_purposes():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, limits[1]))
    try:
        assert make_server_config(None, "127.0.0.1", 0, ServiceSettings()).backlog == 100
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert make_server_config(None, "127.0.0.1", 0, ServiceSettings(grace=7)).timeout_graceful_shutdown == 7
