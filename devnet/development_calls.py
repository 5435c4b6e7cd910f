"""What only a chain for development allows: its root is a key that everybody knows, and rich."""

from collections.abc import Mapping, Sequence
from typing import Any

from assay.network.chain.chain_values import Receipt
from assay.network.chain.connection import Connection
from assay.network.chain.extrinsic_sender import ExtrinsicSender
from assay.network.chain.substrate import Substrate
from assay.network.chain.wallets import DevWallet
from assay.protocol import encode_ss58

#: Coldkey of whoever may do anything, and has the money.
ROOT = "//Alice"
#: A call of AdminUtils and its arguments.
AdminCall = tuple[str, dict[str, Any]]


def change_settings(connection: Connection, calls: Sequence[AdminCall]) -> Receipt:
    """Changes the chain's settings as root, all of them or none.

    Raises:
        ChainError: refused, be it the call within.
    """

    async def wrap(substrate: Substrate) -> Any:
        inner = [await substrate.compose(("AdminUtils", name, given)) for name, given in calls]
        batch = await substrate.compose(("Utility", "batch_all", {"calls": inner}))
        return ("Sudo", "sudo", {"call": batch})

    call = connection.read(wrap)
    return ExtrinsicSender(connection).send_call(call, DevWallet(ROOT, ROOT), final=True)


def send_tao(connection: Connection, amounts: Mapping[bytes, int]) -> Receipt:
    """Gives coldkeys rao, all of them or none.

    Raises:
        ChainError: refused, or a chain that is not of this machine.
    """

    async def wrap(substrate: Substrate) -> Any:
        transfers = [
            {"dest": encode_ss58(coldkey), "value": amount} for coldkey, amount in amounts.items()
        ]
        inner = [
            await substrate.compose(("Balances", "transfer_keep_alive", transfer))
            for transfer in transfers
        ]
        return ("Utility", "batch_all", {"calls": inner})

    return ExtrinsicSender(connection).send_call(
        connection.read(wrap), DevWallet(ROOT, ROOT), final=True
    )
