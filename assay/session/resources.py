"""From settings to the resources that they name: a chain, a wallet, stores, beacons.

Every command that reaches the outside opens its resources here, so that a flag means the same in
all of them. A missing or unusable setting raises a ConfigError. A resource that cannot be opened
raises a ChainError or a StoreError.
"""

import ssl
import time
from collections.abc import Iterator
from configparser import ConfigParser
from configparser import Error as ParserError
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pydantic import SecretStr

from assay.network.chain.connection import Connection
from assay.network.chain.subtensor import SubtensorChain
from assay.network.chain.target import PATIENCE_S, ChainTarget
from assay.network.chain.values import TAO
from assay.network.chain.wallets import ChainWallet, get_coldkey, get_hotkey, open_wallet
from assay.settings.loading import ConfigError, require_netuid, use_sdk_cache
from assay.settings.sections import ChainSettings, Settings, StoreSettings

# a command that opens a chain alone does not wait for an HTTP library
if TYPE_CHECKING:
    from assay.network.store.base import ObjectStore
    from assay.network.store.opening import ReadableStores
    from assay.network.store.s3_signing import Credentials

#: Seconds that a command tries to reach a node before it fails. A neuron waits longer.
_PATIENCE_S = 20.0
#: Longest file of credentials, bytes.
_CREDENTIALS_BYTES = 64 << 10
#: Longest file of authorities, bytes.
_CA_BYTES = 4 << 20
_KEY_NAMES = ("access_key_id", "secret_access_key", "session_token")


@dataclass(frozen=True, slots=True)
class Account:
    """A wallet opened for signing, and its public keys, 32 bytes each."""

    wallet: ChainWallet
    hotkey: bytes
    coldkey: bytes


@contextmanager
def connect(
    settings: ChainSettings, folder: Path | None = None, *, interactive: bool = True
) -> Iterator[Connection]:
    """A connection to the chain that the settings name.

    Args:
        folder: where the SDK keeps runtime metadata; None: only in memory.
        interactive: a person waits; otherwise it retries for as long as a neuron would.
    """
    text = settings.genesis_hash
    genesis = None if text is None else bytes.fromhex(text.removeprefix("0x"))
    patience_s = _PATIENCE_S if interactive else PATIENCE_S
    target = ChainTarget.from_name(
        settings.network, settings.fallbacks, settings.archives, genesis, patience_s
    )
    with TemporaryDirectory(prefix="assay-") as scratch:
        use_sdk_cache(Path(scratch) if folder is None else folder)
        connection = Connection(target)
        try:
            yield connection
        finally:
            connection.close()


@contextmanager
def open_chain(
    settings: ChainSettings,
    folder: Path | None = None,
    poll_s: float = 1.0,
    *,
    interactive: bool = True,
) -> Iterator[SubtensorChain]:
    """The subnet that the settings name. `folder` is where state is kept once read; None: only in
    memory."""
    netuid = require_netuid(settings)
    with TemporaryDirectory(prefix="assay-") as scratch:
        state_folder = Path(scratch) if folder is None else folder
        with connect(
            settings, None if folder is None else folder / "sdk", interactive=interactive
        ) as connection:
            chain = SubtensorChain(connection, netuid, state_folder, poll_s)
            try:
                yield chain
            finally:
                chain.close()


def open_account(settings: Settings) -> Account:
    """The wallet that the settings name. Asks for no password until something must be signed."""
    wallet = open_wallet(settings.wallet.name, settings.wallet.hotkey, settings.wallet.path)
    return Account(wallet, get_hotkey(wallet), get_coldkey(wallet))


def open_stores(settings: StoreSettings) -> "ReadableStores":
    """The stores that the settings allow to read, including the operator's own."""
    from assay.network.store.http_client import HttpClient
    from assay.network.store.opening import ReadableStores

    locator, home = settings.locator, None
    if locator is None:
        return ReadableStores(settings.readable)
    authorities = _read_authorities(settings)
    if authorities is not None:  # a private authority vouches for one's own locator alone
        context = ssl.create_default_context()
        context.load_verify_locations(cadata=authorities)
        home = locator, HttpClient(True, tls=context)
    return ReadableStores([*settings.readable, locator], home=home)


def _read_authorities(store: StoreSettings) -> str | None:
    """The PEM of the certificate authorities that the settings name."""
    if store.ca_file is None:
        return None
    file = store.ca_file.expanduser()
    try:
        with file.open("rb") as opened:
            text = opened.read(_CA_BYTES).decode("ascii")
        ssl.create_default_context().load_verify_locations(cadata=text)
    except OSError as error:  # SSLError is an OSError, too
        reason = "it has no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(f"{file}, ca_file under [store]: {reason}") from None
    except ValueError:
        raise ConfigError(f"{file}, ca_file under [store], is not a PEM file") from None
    return text


def open_own_store(settings: Settings) -> "tuple[ObjectStore, str]":
    """The operator's own store for writing, and the locator under which others read it."""
    from assay.network.store.bucket import open_bucket
    from assay.network.store.bucket_service import read_bucket
    from assay.network.store.locators import WebLocator, read_locator
    from assay.network.store.opening import open_store

    store = settings.store
    if store.locator is None:
        raise ConfigError(
            "where should files go? name a store with --store, such as file:///srv/assay, or "
            "locator under [store]"
        )
    on_web = isinstance(read_locator(store.locator), WebLocator)
    if store.upload is None and on_web:
        raise ConfigError(
            f"how is {store.locator} written? name the bucket behind it under [store], "
            'upload = "s3://bucket/path"'
        )
    if store.upload is None:
        return open_store(store.locator), store.locator
    address = read_bucket(store.upload, store.endpoint, store.region or "auto")
    if not on_web:
        raise ConfigError(
            f"others cannot read {address.url} at {store.locator}: name the bucket's public "
            "https:// address as locator under [store]"
        )
    if store.region is None and store.endpoint is None:
        raise ConfigError(
            f"where is {address.url}? name the service's endpoint under [store], or at AWS the "
            "bucket's region"
        )
    authorities = _read_authorities(store)
    return open_bucket(address, read_credentials(store), authorities), store.locator


def read_credentials(settings: StoreSettings) -> "Credentials":
    """The keys of the operator's bucket: from the file if there is one, else from the settings.
    Raises ConfigError: one is missing. The message contains no part of the keys."""
    from assay.network.store.s3_signing import Credentials

    token = settings.session_token
    key, secret = settings.access_key_id, settings.secret_access_key
    if settings.credentials is not None:
        credentials = _read_credentials_file(settings.credentials.expanduser(), settings.profile)
        key, secret, token = (credentials.get(f"aws_{name}") for name in _KEY_NAMES)
    if key is None or secret is None:
        raise ConfigError(
            "a bucket is written with a key: set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or name a file with both under [store] credentials"
        )
    return Credentials(key, secret, token)


def _read_credentials_file(file: Path, profile: str) -> dict[str, SecretStr]:
    """One section of a file in the format of `aws configure`."""
    parser = ConfigParser(interpolation=None, default_section="")
    try:
        mode = file.stat().st_mode
        with file.open("rb") as opened:
            parser.read_string(opened.read(_CREDENTIALS_BYTES).decode())
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None
    except (ParserError, UnicodeDecodeError):  # the error's text would contain the keys
        raise ConfigError(f"{file} is not a file of credentials: see docs/miner.md") from None
    if mode & 0o077:
        raise ConfigError(f"others may read {file}: chmod 600 {file}")
    if profile not in parser:
        raise ConfigError(f"{file} has no section [{profile}]: name another with profile")
    return {name: SecretStr(value) for name, value in parser[profile].items() if value}


def now_ms() -> int:
    """The time of this machine's clock, Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def parse_tao(text: str) -> int:
    """The rao of an amount such as `1.25`, exact."""
    whole, _, decimals = text.strip().removesuffix("τ").strip().partition(".")
    plain = whole.isascii() and whole.isdigit() and len(whole) <= 9
    if not plain or len(decimals) > 9 or (decimals and not (decimals + "0").isdecimal()):
        raise ConfigError(f"{text!r} is not an amount: write it in TAO, such as 1.25")
    rao = int(whole) * TAO + int(decimals.ljust(9, "0") or 0)
    if not rao:
        raise ConfigError("the amount is 0: name more, in TAO, such as 1.25")
    return rao
