"""From settings to the ledger on the EVM: the node, the contract, the key that posts.

A missing or unusable setting, file or terminal raises a ConfigError, an invalid address an
EvmError, and a wrong password a ChainError.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getpass
from pathlib import Path

from assay.network.chain.errors import ChainError
from assay.network.evm import CHAIN_IDS, EvmKey, EvmNode, ScoreLedger
from assay.network.evm.acts import BindRequest
from assay.network.evm.node import GWEI
from assay.network.files import write_file
from assay.session.resources import open_account
from assay.settings.loading import ConfigError, require_netuid
from assay.settings.sections import LedgerSettings, Settings

#: Longest keystore or password file, bytes.
_FILE_MAX = 65_536


@contextmanager
def open_node(settings: Settings) -> Iterator[EvmNode]:
    """The EVM node that the settings name. It is not contacted yet."""
    ledger = settings.ledger
    if ledger.endpoint is None:
        raise ConfigError(
            "which EVM? name a node with --evm, such as https://host, or endpoint under [ledger]"
        )
    node = EvmNode(ledger.endpoint, get_chain_id(settings), ledger.max_gas_price * GWEI)
    try:
        yield node
    finally:
        node.close()


def get_chain_id(settings: Settings) -> int:
    """The chain id that the EVM node must have."""
    chain_id = settings.ledger.chain_id or CHAIN_IDS.get(settings.chain.network)
    if chain_id is None:
        raise ConfigError(
            "which EVM is this network's? name its number with --chain-id, or chain_id under "
            "[ledger]: 964 main, 945 test, 42 local"
        )
    return chain_id


def open_ledger(settings: Settings, node: EvmNode) -> ScoreLedger:
    """The ledger that the settings name."""
    if settings.ledger.contract is None:
        raise ConfigError(
            "which ledger? name its address with --contract, or contract under [ledger]"
        )
    return ScoreLedger(node, settings.ledger.contract, require_netuid(settings.chain))


@contextmanager
def open_binding(settings: Settings) -> Iterator[BindRequest]:
    """A request to let the key post for the wallet's hotkey, with its node open. The key's password
    is asked for once somebody has agreed."""
    account = open_account(settings)

    def sign(message: bytes) -> bytes:
        pair = account.wallet.hotkey
        signature = bytes(pair.sign(message))
        if not pair.verify(message, signature):
            raise ChainError("the wallet's hotkey signs what it does not verify")
        return signature

    with open_node(settings) as node:
        node.require_chain()
        ledger = open_ledger(settings, node)
        poster, confirmations = read_address(find_key_file(settings)), settings.ledger.confirmations
        yield BindRequest(
            ledger, account.hotkey, poster, sign, lambda: open_key(settings), confirmations
        )


def find_key_file(settings: Settings) -> Path:
    """The path of the keystore of the key that posts."""
    if settings.ledger.key is not None:
        return settings.ledger.key.expanduser()
    wallet = settings.wallet
    if wallet.name.startswith("//"):
        raise ConfigError("a development key has no folder: name the EVM key's file with --key")
    # where the SDK keeps such keys, too
    return wallet.path.expanduser() / wallet.name / "evmkeys" / wallet.hotkey


def read_address(file: Path) -> str:
    """The checksummed address of a keystore, read without the password."""
    from eth_utils.address import to_checksum_address

    try:
        address = json.loads(_read(file))["address"]
        return str(to_checksum_address(bytes.fromhex(address.removeprefix("0x"))))
    except FileNotFoundError:
        raise ConfigError(
            f"{file} does not exist: make it with `assay ledger key`, or name another with --key"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ConfigError(f"{file} is not a keystore: name another with --key") from None


def open_key(settings: Settings) -> EvmKey:
    """Open the key that posts. Its password comes from a file or from the terminal."""
    file = find_key_file(settings)
    address = read_address(file)
    password = read_password(settings.ledger, f"password of the EVM key {address}: ")
    key = EvmKey.from_keystore(json.loads(_read(file)), password)
    if key.address != address:  # a person has agreed to the address that the file names
        raise ConfigError(f"{file} names {address} but has the key of {key.address}: correct it")
    return key


def create_key(settings: Settings, iterations: int | None = None) -> tuple[Path, str, bool]:
    """Create a key unless there is one. Return its file, its address, and whether it is new."""
    file = find_key_file(settings)
    if file.exists():
        return file, read_address(file), False
    password = read_password(settings.ledger, "password for the new EVM key: ", again=True)
    key = EvmKey.create()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_file(file, json.dumps(key.to_keystore(password, iterations)).encode(), mode=0o600)
    return file, key.address, True


def read_password(settings: LedgerSettings, question: str, *, again: bool = False) -> str:
    """Read a keystore's password. It is never a setting, a flag or a variable."""
    if settings.password_file is not None:
        file = settings.password_file.expanduser()
        if file.stat().st_mode & 0o077:
            raise ConfigError(f"others may read {file}: chmod 600 {file}")
        text = _read(file).rstrip("\r\n")
        if not text:
            raise ConfigError(f"{file} is empty: write the EVM key's password into it")
        return text
    if not sys.stdin.isatty():
        raise ConfigError(
            "the EVM key has a password and there is no terminal to ask on: put the password into "
            "a file and name that with --password-file"
        )
    password = getpass(question)
    if not password or (again and getpass("once more: ") != password):
        raise ConfigError("no password, or two different ones: nothing was done")
    return password


def _read(file: Path) -> str:
    with file.open("rb") as opened:
        data = opened.read(_FILE_MAX + 1)
    if len(data) > _FILE_MAX:
        raise ConfigError(f"{file} is too long: name the right file")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{file} is not text") from None
