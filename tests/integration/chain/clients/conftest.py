"""A subnet for clients, on a chain that runs by the clock as theirs do; each client's home."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from assay.devnet import Devnet
from tests.integration.chain.clients.bridge import NodeBridge
from tests.integration.chain.clients.btcli import Btcli
from tests.integration.chain.clients.environments import find_client
from tests.integration.chain.conftest import start_runtime
from tests.integration.chain.nets import TAO, RuntimeNet, open_net

#: Seconds between blocks, as a localnet has it.
_SLOT_S = 1.0


@dataclass(frozen=True, slots=True)
class ClientNet:
    """A subnet and where clients reach its chain."""

    endpoint: str
    net: RuntimeNet
    is_devnet: bool

    @property
    def netuid(self) -> str:
        """As it is typed."""
        return str(self.net.netuid)


@pytest.fixture(scope="session", params=["devnet", "runtime"])
def client_net(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ClientNet]:
    """The same on the development network and on a real runtime."""
    is_devnet = request.param == "devnet"
    with ExitStack() as stack:
        if is_devnet:
            devnet = Devnet(tmp_path_factory.mktemp("devnet"), block_time=_SLOT_S)
            inner = endpoint = stack.enter_context(devnet).endpoint
        else:
            inner = stack.enter_context(start_runtime(round(_SLOT_S * 1_000)))
            bridge = NodeBridge(inner)
            stack.callback(bridge.close)
            endpoint = bridge.endpoint
        net = open_net(inner, tmp_path_factory.mktemp("state"))
        stack.callback(net.connection.close)
        yield ClientNet(endpoint, net, is_devnet)


@pytest.fixture(scope="session")
def btcli(client_net: ClientNet, tmp_path_factory: pytest.TempPathFactory) -> Btcli:
    """btcli with two wallets: `rich`, which is //Alice's, and `mine`, which has 1,000 TAO."""
    program = find_client("btcli/bin/btcli")
    made = Btcli(program, client_net.endpoint, tmp_path_factory.mktemp("home"))
    made.create_wallet("rich", "alice")
    client_net.net.fund(made.create_wallet("mine"), rao=1_000 * TAO)
    return made


@pytest.fixture(scope="session")
def scripts() -> Path:
    """The folder of the clients' own scripts."""
    return Path(__file__).parent
