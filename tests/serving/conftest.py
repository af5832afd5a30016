"""One retriever, and one service over HTTP, which the tests of the package share."""

import httpx
import pytest

from tests.helpers.serving import make_config, make_owls, running


@pytest.fixture(scope="package")
def owls(tokenizer):
    return make_owls(tokenizer)


@pytest.fixture(scope="package")
def service(owls):
    """A client of a service over HTTP."""
    with running(make_config(owls)) as address, httpx.Client(base_url=f"http://127.0.0.1:{address[1]}") as client:
        yield client
