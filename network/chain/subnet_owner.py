"""The owner's one-time actions: buying a subnet and opening it for stake."""

from assay.network.chain.chain_values import Receipt, format_tao
from assay.network.chain.connection import Connection
from assay.network.chain.errors import ChainError
from assay.network.chain.extrinsic_sender import ExtrinsicSender
from assay.network.chain.wallets import ChainWallet, get_coldkey
from assay.protocol.ss58 import encode_ss58


def get_subnet_cost(connection: Connection) -> int:
    """The price of a subnet now, rao."""
    api, method = "SubnetRegistrationRuntimeApi", "get_network_registration_cost"
    return int(connection.read(lambda s: s.runtime_call(api, method, [])))


def get_balance(connection: Connection, coldkey: bytes) -> int:
    """A coldkey's free balance now, rao."""
    address = encode_ss58(coldkey)
    account = connection.read(lambda s: s.query("System", "Account", [address]))
    return int(account["data"]["free"])


def create_subnet(connection: Connection, wallet: ChainWallet, max_cost: int) -> int:
    """Buys a subnet for the wallet's coldkey, its hotkey holding uid 0. The netuid; `ChainError`:
    dearer than `max_cost` rao, or refused."""
    from bittensor.intents import RegisterSubnet

    cost = get_subnet_cost(connection)
    if cost > max_cost:
        raise ChainError(
            f"a subnet costs {format_tao(cost)}, more than the {format_tao(max_cost)} allowed"
        )
    balance = get_balance(connection, get_coldkey(wallet))
    if balance < cost:
        raise ChainError(
            f"a subnet costs {format_tao(cost)}, and the coldkey has {format_tao(balance)}: "
            f"send some to {wallet.coldkeypub.ss58_address}"
        )
    receipt = ExtrinsicSender(connection).send_intent(RegisterSubnet(), wallet, final=True)
    for event in receipt.events:
        if event.name == "SubtensorModule.NetworkAdded":
            return int(event.attributes[0])
    raise ChainError(
        f"block {receipt.block} contains the call but names no subnet: the chain queues it until "
        "another subnet is dissolved; check again later"
    )


def start_subnet(connection: Connection, wallet: ChainWallet, netuid: int) -> Receipt | None:
    """Opens a subnet for stake; None where it is open already. Only its owner may, some time after
    it was bought: else `ChainError`."""
    from bittensor import calls

    call = calls.SubtensorModule.start_call(netuid=netuid)
    try:
        return ExtrinsicSender(connection).send_call(call, wallet, final=True)
    except ChainError as error:
        if "FirstEmissionBlockNumber" in str(error):
            return None
        if "BadOrigin" in str(error):
            owner = f"{wallet.coldkeypub.ss58_address} is not the owner of subnet {netuid}"
            raise ChainError(f"{owner}: name its owner's wallet") from error
        raise
