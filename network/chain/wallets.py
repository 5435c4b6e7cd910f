"""Who signs: the SDK's wallets, whose keys are files and whose passwords it asks for itself."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from assay.network.chain.errors import ChainError

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class ChainWallet(Protocol):
    """What signing needs: the hotkey for what a neuron does all day, the coldkey, unlocked when it
    is used, for what costs money, and their public halves. `bittensor.Wallet` is one."""

    @property
    def hotkey(self) -> Any: ...
    @property
    def coldkey(self) -> Any: ...
    @property
    def coldkeypub(self) -> Any: ...
    @property
    def hotkeypub(self) -> Any: ...


class DevWallet:
    """Keys from development URIs such as //Alice: known to everybody, for a local chain only.
    Neither they nor the keys are ever printed."""

    def __init__(self, coldkey_uri: str, hotkey_uri: str) -> None:
        from bittensor.sp_core import Keypair

        self.coldkey = self.coldkeypub = Keypair.create_from_uri(coldkey_uri)
        self.hotkey = self.hotkeypub = Keypair.create_from_uri(hotkey_uri)

    def __repr__(self) -> str:
        return f"DevWallet(hotkey={self.hotkey.ss58_address})"


@dataclass(frozen=True, slots=True)
class WalletKey:
    """A key on disk: its name and public address, None where the file cannot be read."""

    name: str
    address: str | None


@dataclass(frozen=True, slots=True)
class WalletFolder:
    """A coldkey on disk and the hotkeys beside it."""

    coldkey: WalletKey
    hotkeys: tuple[WalletKey, ...]


def open_wallet(name: str, hotkey: str, folder: Path) -> ChainWallet:
    """A wallet of the SDK, or development keys where the name starts with two slashes;
    `ChainError`: a name that is none, or public keys that are not there."""
    if name.startswith("//"):
        return DevWallet(name, hotkey if hotkey.startswith("//") else f"{name}//{hotkey}")
    wallet = _name_wallet(name, hotkey, folder)
    for file in (wallet.coldkeypub_file, wallet.hotkey_file):
        if not Path(file.path).exists():
            raise ChainError(
                f"wallet {name}/{hotkey}: {file.path} is not there: create it with "
                "`assay wallet create`, or name another"
            )
    return wallet


def create_wallet(
    name: str,
    hotkey: str,
    folder: Path,
    on_mnemonic: Callable[[str, str], None],
    *,
    encrypted: bool = True,
) -> Any:
    """Makes whichever of a wallet's two keys is not there yet; nothing is ever overwritten.
    `on_mnemonic` gets "coldkey" or "hotkey" and the only way back to it; `encrypted` asks on the
    terminal for the coldkey's password. `ChainError`: both are there, or cannot be written."""
    from bittensor.keyfiles import KeyfileError

    wallet = _name_wallet(name, hotkey, folder)
    cold, hot = (Path(f.path).exists() for f in (wallet.coldkey_file, wallet.hotkey_file))
    if cold and hot:
        raise ChainError(f"wallet {name}/{hotkey} is there already: name another hotkey")
    words: list[str] = []  # shown once the key is on disk: before that there is none
    try:
        if not cold:
            wallet.create_new_coldkey(use_password=encrypted, on_mnemonic=words.append)
            on_mnemonic("coldkey", words.pop())
        if not hot:
            wallet.create_new_hotkey(on_mnemonic=words.append)
            on_mnemonic("hotkey", words.pop())
    except (KeyfileError, ValueError, OSError) as error:
        raise ChainError(f"wallet {name}/{hotkey} cannot be written: {error}") from error
    return wallet


def list_wallets(folder: Path) -> list[WalletFolder]:
    """All wallets in a folder, by their public addresses."""
    from bittensor.wallets import list_wallets_detailed

    return [
        WalletFolder(
            WalletKey(found.name, found.ss58),
            tuple(WalletKey(hotkey.name, hotkey.ss58) for hotkey in found.hotkeys),
        )
        for found in list_wallets_detailed(str(folder))
    ]


def _name_wallet(name: str, hotkey: str, folder: Path) -> Any:
    from bittensor import Wallet

    for word in (name, hotkey):
        if not _NAME.fullmatch(word) or set(word) == {"."}:
            raise ChainError(f"{word!r} names no wallet or hotkey: use letters, digits, . _ and -")
    return Wallet(name, hotkey, str(folder.expanduser()))


def get_hotkey(wallet: ChainWallet) -> bytes:
    """Public key of a wallet's hotkey, 32 bytes. Asks for no password."""
    return bytes(get_public(wallet, "hotkey").public_key)


def get_coldkey(wallet: ChainWallet) -> bytes:
    """Public key of a wallet's coldkey, 32 bytes. Asks for no password."""
    return bytes(wallet.coldkeypub.public_key)


def get_public(wallet: ChainWallet, signer: str) -> Any:
    """The public half of "coldkey" or "hotkey". Wallets of older programs have no file for the
    hotkey's, and their hotkeys no password."""
    if signer == "coldkey":
        return wallet.coldkeypub
    file = getattr(wallet, "hotkeypub_file", None)
    return wallet.hotkey if file is None or not Path(file.path).exists() else wallet.hotkeypub
