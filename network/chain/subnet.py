"""What a subnet's owner does once: buying a subnet and opening it for stake."""

from typing import TYPE_CHECKING

from assay.network.chain.connection import Connection
from assay.network.chain.errors import ChainError
from assay.network.chain.sending import Sender
from assay.network.chain.state import Receipt, format_tao
from assay.network.chain.wallets import ChainWallet

if TYPE_CHECKING:
    from bittensor import RpcSubstrate


def get_subnet_cost(connection: Connection) -> int:
    """What a subnet costs now, rao."""

    async def read(substrate: "RpcSubstrate") -> int:
        api, method = "SubnetRegistrationRuntimeApi", "get_network_registration_cost"
        return int(await substrate.runtime_call(api, method, []))

    return connection.read(read)


def create_subnet(connection: Connection, wallet: ChainWallet, max_cost: int) -> int:
    """Buys a subnet for the wallet's coldkey, its hotkey holding uid 0. The netuid.

    Raises:
        ChainError: dearer than `max_cost` rao, or refused.
    """
    from bittensor.intents import RegisterSubnet

    cost = get_subnet_cost(connection)
    if cost > max_cost:
        raise ChainError(
            f"a subnet costs {format_tao(cost)}, more than the {format_tao(max_cost)} allowed"
        )
    receipt = Sender(connection).send_intent(RegisterSubnet(), wallet, final=True)
    for event in receipt.events:
        if event.name == "SubtensorModule.NetworkAdded":
            return int(event.attributes[0])
    raise ChainError(
        f"block {receipt.block} holds the call and names no subnet: the chain queues it until "
        "another subnet is dissolved; look again later"
    )


def start_subnet(connection: Connection, wallet: ChainWallet, netuid: int) -> Receipt:
    """Opens a subnet for stake. Only its owner may, once, some time after it was bought.

    Raises:
        ChainError: not the owner, too early, or started already.
    """
    from bittensor import calls

    call = calls.SubtensorModule.start_call(netuid=netuid)
    return Sender(connection).send_call(call, wallet, final=True)
