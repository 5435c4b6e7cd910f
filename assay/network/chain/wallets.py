"""Signing keys: the SDK's wallets. Their keys are files, and the SDK itself asks for passwords."""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from assay.network.chain.errors import ChainError
from assay.protocol.ss58 import decode_ss58

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
#: First bytes of an encrypted key file, in each of the SDK's formats.
_LOCKS = (b"$NACL", b"$ANSIBLE_VAULT", b"gAAAAA")
#: Most bytes of a key file that are read.
_KEY_MAX = 1 << 16


class ChainWallet(Protocol):
    """The keys for signing: the hotkey for a neuron's daily work, the coldkey for spending,
    unlocked on use, and their public halves."""

    @property
    def hotkey(self) -> Any: ...
    @property
    def coldkey(self) -> Any: ...
    @property
    def coldkeypub(self) -> Any: ...
    @property
    def hotkeypub(self) -> Any: ...


class DevWallet:
    """Keys from development URIs such as //Alice. They are public, and for a local chain only.
    Neither they nor the keys are ever printed."""

    def __init__(self, coldkey_uri: str, hotkey_uri: str) -> None:
        from bittensor.sp_core import Keypair

        self.coldkey = self.coldkeypub = Keypair.create_from_uri(coldkey_uri)
        self.hotkey = self.hotkeypub = Keypair.create_from_uri(hotkey_uri)

    def __repr__(self) -> str:
        return f"DevWallet(hotkey={self.hotkey.ss58_address})"


class FileWallet:
    """Keys from the SDK's files. An encrypted key is unlocked at its first use, and stays unlocked:
    the SDK alone would ask again for every signature. `files` is a `bittensor.Wallet`."""

    def __init__(self, files: Any) -> None:
        self._files = files

    def __repr__(self) -> str:
        return f"FileWallet({self._files.name}/{self._files.hotkey_str})"

    @cached_property
    def hotkey(self) -> Any:
        """The hotkey. Raises ChainError: it cannot be unlocked, or read."""
        return self._unlock("hotkey")

    @cached_property
    def coldkey(self) -> Any:
        """The coldkey. Raises ChainError: it cannot be unlocked, or read."""
        return self._unlock("coldkey")

    @property
    def coldkeypub(self) -> Any:
        return self._files.coldkeypub

    @property
    def hotkeypub(self) -> Any:
        """The hotkey's public half. Wallets of older programs have no file for it, and their
        hotkeys have no password."""
        has_file = Path(self._files.hotkeypub_file.path).exists()
        return self._files.hotkeypub if has_file else self.hotkey

    def _unlock(self, signer: str) -> Any:
        """One of the keys, unlocked with its password if it has one."""
        from bittensor.keyfiles import KeyfileError

        file = Path(getattr(self._files, f"{signer}_file").path)
        try:
            if not _is_locked(file):
                return getattr(self._files, signer)
            password = _require_password(self._files, signer)
            return getattr(self._files, f"get_{signer}")(password)
        except EOFError:
            raise ChainError(f"the {signer} in {file} stays locked: no password given") from None
        except (KeyfileError, ValueError, OSError) as error:
            raise ChainError(f"the {signer} in {file} cannot be used: {error}") from error


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """A wallet for signing by the SDK. The SDK reads all keys, and this class unlocks only one."""

    coldkey: Any
    coldkeypub: Any
    hotkey: Any
    hotkeypub: Any

    @staticmethod
    def unlock(wallet: ChainWallet, signer: str) -> "SigningKeys":
        """Ask for the password of "coldkey" or "hotkey" if it has one. The other key's public half
        replaces that key."""
        cold, hot = wallet.coldkeypub, wallet.hotkeypub
        if signer == "coldkey":
            return SigningKeys(wallet.coldkey, cold, hot, hot)
        return SigningKeys(cold, cold, wallet.hotkey, hot)


@dataclass(frozen=True, slots=True)
class WalletKey:
    """A key on disk: its name and public address, None where the file cannot be read."""

    name: str
    address: str | None


@dataclass(frozen=True, slots=True)
class WalletFolder:
    """A coldkey on disk and its hotkeys."""

    coldkey: WalletKey
    hotkeys: tuple[WalletKey, ...]


def open_wallet(name: str, hotkey: str, folder: Path) -> ChainWallet:
    """A wallet of the SDK, or development keys if the name starts with two slashes. `ChainError`:
    the name is invalid, or public keys are missing."""
    if name.startswith("//"):
        return DevWallet(name, hotkey if hotkey.startswith("//") else f"{name}//{hotkey}")
    require_keys(name, hotkey, folder)
    return FileWallet(_name_wallet(name, hotkey, folder))


def require_keys(name: str, hotkey: str, folder: Path, signer: str | None = None) -> None:
    """Check that keys exist, without the SDK (which takes a second to load) unless a key is
    encrypted. Development keys always pass.

    Args:
        signer: "coldkey" or "hotkey": this key will sign, and must be unlockable.

    Raises:
        ChainError: the name is invalid, keys are missing, or there is no way to enter a password.
    """
    if name.startswith("//"):
        return
    _require_names(name, hotkey, folder)
    wallet = folder.expanduser() / name
    files = {"coldkey": wallet / "coldkey", "hotkey": wallet / "hotkeys" / hotkey}
    for file in (wallet / "coldkeypub.txt", files["hotkey"], files[signer or "hotkey"]):
        if not file.exists():
            raise ChainError(
                f"wallet {name}/{hotkey}: {file} does not exist: create it with "
                "`assay wallet create`, or name another wallet"
            )
    if signer is not None and not sys.stdin.isatty() and _is_locked(files[signer]):
        _require_password(_name_wallet(name, hotkey, folder), signer)


def _is_locked(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(max(map(len, _LOCKS))).startswith(_LOCKS)


def _require_password(files: Any, signer: str) -> str | None:
    """The password for a `bittensor.Wallet` in the SDK's variables; None: it must be entered on the
    terminal. Raises ChainError: it is missing, or a variable is unusable."""
    from bittensor.keyfiles import KeyfileError, resolve_key_password
    from bittensor.wallets import resolve_wallet_password

    file = getattr(files, f"{signer}_file")
    try:
        own_password = resolve_key_password(env_var_name=file.env_var_name(), allow_prompt=False)
        password: str | None = own_password or resolve_wallet_password(files)
    except (KeyfileError, ValueError) as error:
        raise ChainError(f"the {signer} in {file.path} stays locked: {error}") from None
    if password is None and not sys.stdin.isatty():
        raise ChainError(
            f"the {signer} in {file.path} has a password, and there is no terminal to ask on: "
            "write the password into a file, and set BT_WALLET_PASSWORD_FILE to that file's name"
        )
    return password


def create_wallet(
    name: str,
    hotkey: str,
    folder: Path,
    on_mnemonic: Callable[[str, str], None],
    *,
    encrypted: bool = True,
) -> Any:
    """Create the missing keys of a wallet. Existing ones are never overwritten. `on_mnemonic` gets
    "coldkey" or "hotkey" and the words that are the only way to recover it. With `encrypted`, asks
    on the terminal for the coldkey's password. `ChainError`: both exist, or cannot be written."""
    from bittensor.keyfiles import KeyfileError

    wallet = _name_wallet(name, hotkey, folder)
    cold, hot = (Path(f.path).exists() for f in (wallet.coldkey_file, wallet.hotkey_file))
    if cold and hot:
        raise ChainError(f"wallet {name}/{hotkey} already exists: name another hotkey")
    words: list[str] = []  # shown only once the key is on disk
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
    """All wallets in a folder, with their public addresses."""
    from bittensor.wallets import list_wallets_detailed

    return [
        WalletFolder(
            WalletKey(wallet.name, wallet.ss58),
            tuple(WalletKey(hotkey.name, hotkey.ss58) for hotkey in wallet.hotkeys),
        )
        for wallet in list_wallets_detailed(str(folder))
    ]


def _name_wallet(name: str, hotkey: str, folder: Path) -> Any:
    from bittensor import Wallet

    _require_names(name, hotkey, folder)
    return Wallet(name, hotkey, str(folder.expanduser()))


def _require_names(name: str, hotkey: str, folder: Path) -> None:
    for word in (name, hotkey):
        if not _NAME.fullmatch(word) or set(word) == {"."}:
            raise ChainError(f"{word!r} names no wallet or hotkey: use letters, digits, . _ and -")
        if _is_address(word):
            found = _find_address(word, folder.expanduser())
            known = f"write {found}" if found else f"no wallet in {folder} has it"
            raise ChainError(f"{word} is an address, and keys are named by their names: {known}")


def _is_address(word: str) -> bool:
    try:
        decode_ss58(word)
    except ValueError:
        return False
    return True


def _find_address(address: str, folder: Path) -> str | None:
    """The options that name the keys of an address, where their public halves can be read."""
    for file in sorted((*folder.glob("*/coldkeypub.txt"), *folder.glob("*/hotkeys/*"))):
        try:
            with file.open("rb") as opened:
                data = opened.read(_KEY_MAX)
        except OSError:
            continue
        if f'"{address}"'.encode() in data:
            if file.parent.name != "hotkeys":
                return f"--wallet {file.parent.name}"
            hotkey = file.name.removesuffix("pub.txt")
            return f"--wallet {file.parents[1].name} --hotkey {hotkey}"
    return None


def get_hotkey(wallet: ChainWallet) -> bytes:
    """Public key of a wallet's hotkey, 32 bytes. Asks for no password."""
    return bytes(wallet.hotkeypub.public_key)


def get_coldkey(wallet: ChainWallet) -> bytes:
    """Public key of a wallet's coldkey, 32 bytes. Asks for no password."""
    return bytes(wallet.coldkeypub.public_key)
