"""A subnet for clients, on a chain that runs by the clock as theirs do; each client's home."""

from collections.abc import Iterator

import pytest

from tests.integration.chain.clients.client_net import open_client_net
from tests.integration.chain.clients.clients import Clients
from tests.integration.chain.clients.environments import find_client
from tests.integration.chain.conftest import start_runtime


#: No longer than its tests: it writes blocks by the clock, and others limit files of a process.
@pytest.fixture(scope="module", params=["devnet", "runtime"])
def clients(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Clients]:
    """All clients on the development network, and on a real runtime."""
    find_client("btcli/bin/btcli")  # a test that is to be skipped needs no chain
    start = None if request.param == "devnet" else start_runtime
    with open_client_net(tmp_path_factory.mktemp("clients"), start) as net:
        yield Clients(net, find_client)
