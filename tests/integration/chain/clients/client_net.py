"""A subnet that clients are tried on, and what its chain holds, read by the SDK."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.network.chain.wallets import DevWallet, FileWallet, create_wallet
from subtensor_devnet import Devnet
from tests.integration.chain.clients.bridge import NodeBridge
from tests.integration.chain.nets import TAO, RuntimeNet, open_net

#: Seconds between blocks of a real runtime, and of the development network, which needs no more.
_SLOT_S, _DEVNET_SLOT_S = 1.0, 0.25
_FUNDS = 1_000 * TAO
_STAKE = 10 * TAO


@dataclass(frozen=True, slots=True)
class ClientNet:
    """A subnet and where clients reach its chain.

    Attributes:
        endpoint: for websockets.
        http: for JSON-RPC over HTTP.
        folder: wallets are made in its `wallets`.
        wallet: a wallet's name in there: it has money, a uid, and stake.
    """

    endpoint: str
    http: str
    net: RuntimeNet
    is_devnet: bool
    folder: Path
    wallet: str = "mine"

    @property
    def netuid(self) -> int:
        return self.net.netuid

    @property
    def wallets(self) -> Path:
        """The folder of wallets."""
        return self.folder / "wallets"

    def make_wallet(self, name: str) -> FileWallet:
        """A wallet on disk whose coldkey has money, without a password."""
        files = create_wallet(name, "default", self.wallets, lambda *_: None, encrypted=False)
        self.net.fund(files.coldkeypub.ss58_address, rao=_FUNDS)
        return FileWallet(files)

    def enrol(self, wallet: FileWallet | DevWallet) -> None:
        """Registers a wallet's hotkey, and stakes on it."""
        chain = self.net.chain
        hotkey = chain.add_wallet(wallet)
        chain.register(hotkey, chain.quote_registration(hotkey).cost)
        chain.add_stake(hotkey, _STAKE, any_price=True)

    def query(self, pallet: str, item: str, *keys: Any, block: int | None = None) -> Any:
        """A storage item's value, at the head or after a block."""

        async def read(substrate: Any) -> Any:
            at = None if block is None else await substrate.block_hash(block)
            return await substrate.query(pallet, item, list(keys), block_hash=at)

        return self.net.connection.read(read)

    def get_free(self, coldkey: str, block: int | None = None) -> int:
        """A coldkey's money, rao."""
        return int(self.query("System", "Account", coldkey, block=block)["data"]["free"])

    def get_fee(self, payer: str, block: int) -> int:
        """All fees that an account paid in a block, rao."""
        fees = (
            int(record["attributes"]["actual_fee"])
            for record in self.query("System", "Events", block=block)
            if record["event_id"] == "TransactionFeePaid" and record["attributes"]["who"] == payer
        )
        return sum(fees)

    def get_block_hash(self, number: int) -> str:
        """A block's hash in hex."""
        found: str = self.net.connection.read(lambda substrate: substrate.block_hash(number))
        return found


@contextmanager
def open_client_net(
    folder: Path, start_runtime: Callable[[int], AbstractContextManager[str]] | None
) -> Iterator[ClientNet]:
    """A subnet on a chain that runs by the clock, with a wallet that takes part.

    Args:
        folder: an empty one for all files.
        start_runtime: starts a real runtime with this many milliseconds between blocks; None: the
            development network.
    """
    with ExitStack() as stack:
        if start_runtime is None:
            devnet = Devnet(folder / "chain", block_time=_DEVNET_SLOT_S)
            inner = stack.enter_context(devnet).endpoint
            endpoint = inner
        else:
            inner = stack.enter_context(start_runtime(round(_SLOT_S * 1_000)))
            bridge = NodeBridge(inner)
            stack.callback(bridge.close)
            endpoint = bridge.endpoint
        (folder / "state").mkdir()
        net = open_net(inner, folder / "state")
        stack.callback(net.connection.close)
        http = inner.replace("ws://", "http://")
        client_net = ClientNet(endpoint, http, net, start_runtime is None, folder)
        client_net.enrol(client_net.make_wallet(client_net.wallet))
        yield client_net
