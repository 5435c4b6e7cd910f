"""Calls that only a development chain allows: its root is a key that everybody knows, and rich."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from assay.network.chain.connection import Connection
from assay.network.chain.extrinsic_sender import ExtrinsicSender
from assay.network.chain.substrate import Substrate
from assay.network.chain.values import Receipt
from assay.network.chain.wallets import DevWallet
from assay.protocol.ss58 import encode_ss58

#: Coldkey of the root, which may do anything and has the money.
ROOT = "//Alice"
#: A call of one pallet, AdminUtils for settings, and its arguments.
AdminCall = tuple[str, dict[str, Any]]


def change_settings(connection: Connection, calls: Sequence[AdminCall]) -> Receipt:
    """Changes the chain's settings as root, all of them or none; `ChainError`: refused."""

    async def wrap(substrate: Substrate) -> Any:
        batch = await _batch(substrate, "AdminUtils", calls)
        return ("Sudo", "sudo", {"call": await substrate.compose(batch)})

    return _send(connection, wrap)


def send_tao(connection: Connection, amounts: Mapping[bytes, int]) -> Receipt:
    """Gives coldkeys rao, all of them or none; `ChainError`: refused, or not this machine's
    chain."""
    transfers = [
        ("transfer_keep_alive", {"dest": encode_ss58(coldkey), "value": amount})
        for coldkey, amount in amounts.items()
    ]
    return _send(connection, lambda substrate: _batch(substrate, "Balances", transfers))


async def _batch(substrate: Substrate, pallet: str, calls: Sequence[AdminCall]) -> Any:
    inner = [await substrate.compose((pallet, name, given)) for name, given in calls]
    return ("Utility", "batch_all", {"calls": inner})


def _send(connection: Connection, wrap: Callable[[Substrate], Awaitable[Any]]) -> Receipt:
    call = connection.read(wrap)
    return ExtrinsicSender(connection).send_call(call, DevWallet(ROOT, ROOT), final=True)
