"""Each flow of clients that nobody here wrote works on the development network, unmodified."""

import pytest

from tests.integration.chain.clients.btcli import Btcli
from tests.integration.chain.clients.conftest import ClientNet
from tests.integration.chain.clients.environments import find_client
from tests.integration.chain.clients.flows import run_btcli_flows, run_script_flows
from tests.integration.chain.nets import TAO


def test_every_flow_of_btcli_works(client_net: ClientNet, btcli: Btcli) -> None:
    client_net.net.fund(btcli.create_wallet("flows"), rao=1_000 * TAO)
    flows = run_btcli_flows(btcli, "flows", client_net.netuid, client_net.is_devnet)
    failed = [found for found in flows if not found.works]
    if failed and not client_net.is_devnet:
        pytest.skip(f"an older runtime than the client's; docs/localnet.md lists it: {failed}")
    assert not failed


def test_every_flow_of_the_libraries_works(client_net: ClientNet) -> None:
    clients = find_client("polkadot/polkadot.mjs").parents[1]
    flows = run_script_flows(clients, client_net.endpoint)
    failed = [found for found in flows if not found.works]
    if failed and not client_net.is_devnet:
        pytest.skip(f"an older runtime than the client's; docs/localnet.md lists it: {failed}")
    assert not failed
