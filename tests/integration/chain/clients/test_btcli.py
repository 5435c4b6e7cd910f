"""btcli from PyPI, unmodified: each flow of a newcomer's first day, end to end."""

from tests.integration.chain.clients.btcli import Btcli
from tests.integration.chain.clients.conftest import ClientNet


def test_a_paid_registration_is_reported_as_one(client_net: ClientNet, btcli: Btcli) -> None:
    # spec 293 has no register_limit
    limit = "--safe" if client_net.is_devnet else "--unsafe"
    at = ("subnets", "register", "--netuid", client_net.netuid, limit)
    first = btcli.send("mine", *at)
    assert first["success"], first
    assert first["msg"] == f"Registered on {client_net.netuid} with UID 1"
    block, index = first["extrinsic_identifier"].split("-")
    assert int(block) > 0
    assert int(index) > 0
    again = btcli.send("mine", *at)
    assert again == {"success": True, "msg": "Already registered", "extrinsic_identifier": None}
