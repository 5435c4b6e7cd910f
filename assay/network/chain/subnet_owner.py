"""The owner's one-time actions: buying a subnet and opening it for stake."""

from assay.network.chain.connection import Connection
from assay.network.chain.errors import ChainError
from assay.network.chain.extrinsic_sender import ExtrinsicSender
from assay.network.chain.values import Receipt, format_tao
from assay.network.chain.wallets import ChainWallet, get_coldkey
from assay.protocol.ss58 import encode_ss58


def get_subnet_cost(connection: Connection) -> int:
    """The current price of a subnet, rao."""
    api, method = "SubnetRegistrationRuntimeApi", "get_network_registration_cost"
    return int(connection.read(lambda s: s.runtime_call(api, method, [])))


def get_balance(connection: Connection, coldkey: bytes) -> int:
    """A coldkey's current free balance, rao."""
    address = encode_ss58(coldkey)
    account = connection.read(lambda s: s.query("System", "Account", [address]))
    return int(account["data"]["free"])


def create_subnet(connection: Connection, wallet: ChainWallet, max_cost: int) -> int:
    """Buy a subnet for the wallet's coldkey. Its hotkey gets uid 0. Return the netuid.
    `ChainError`: it costs more than `max_cost` rao, or was refused."""
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
    """Open a subnet for stake. Return None if it is open already. Only its owner may, and only some
    time after the purchase. Raises a `ChainError` otherwise."""
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
