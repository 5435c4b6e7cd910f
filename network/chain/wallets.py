"""Who signs: the SDK's wallets, whose keys are files and whose passwords it asks for itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from assay.network.chain.errors import ChainError

if TYPE_CHECKING:
    from bittensor import Wallet


class ChainWallet(Protocol):
    """What signing needs. `bittensor.Wallet` is one; its coldkey is unlocked when it is used."""

    @property
    def hotkey(self) -> Any:
        """Signs what a neuron does all day."""

    @property
    def coldkey(self) -> Any:
        """Signs what costs money."""

    @property
    def coldkeypub(self) -> Any:
        """The coldkey's public half, had without a password."""


class DevWallet:
    """Keys from development URIs such as //Alice: known to everybody, for a local chain only.

    The URIs are not kept, and neither they nor the keys are ever printed.
    """

    def __init__(self, coldkey_uri: str, hotkey_uri: str) -> None:
        from bittensor.sp_core import Keypair

        self.coldkey = self.coldkeypub = Keypair.create_from_uri(coldkey_uri)
        self.hotkey = self.hotkeypub = Keypair.create_from_uri(hotkey_uri)

    def __repr__(self) -> str:
        return f"DevWallet(hotkey={self.hotkey.ss58_address})"


def open_wallet(name: str, hotkey: str, folder: Path | None = None) -> "Wallet":
    """A wallet of the SDK, from its usual folder unless another is named.

    Raises:
        ChainError: its public keys are not there.
    """
    from bittensor import Wallet

    wallet = Wallet(name, hotkey) if folder is None else Wallet(name, hotkey, str(folder))
    for file in (wallet.coldkeypub_file, wallet.hotkeypub_file):
        if not Path(file.path).exists():
            raise ChainError(f"wallet {name}/{hotkey}: {file.path} is not there: create it first")
    return wallet


def get_hotkey(wallet: ChainWallet) -> bytes:
    """Public key of a wallet's hotkey, 32 bytes. Asks for no password."""
    public = getattr(wallet, "hotkeypub", None) or wallet.hotkey
    return bytes(public.public_key)
