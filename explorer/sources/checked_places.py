"""What stands around a record by the settings: folders, the ledger, links; each looked at first."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from assay.explorer.sources.ledger_events import LedgerPlace
from assay.explorer.sources.run_view import TrainerOutput
from assay.neurons.settings.loading import ConfigError
from assay.neurons.settings.sections import Settings
from assay.neurons.validator.evm_opening import get_chain_id
from assay.protocol import Parameters

_ADDRESS = re.compile("0x[0-9a-fA-F]{40}")
#: Hosts that pages may link to without TLS.
_NEAR = ("127.0.0.1", "::1", "localhost")


def find_trainer(settings: Settings, folder: Path | None) -> TrainerOutput:
    """The first folder with steps, else the one that would have them.

    Raises:
        ConfigError: the named one is not there.
    """
    named = settings.explorer.trainer
    if named is not None and not named.is_dir():
        raise ConfigError(f"--trainer {named}: there is no such folder")
    places = (named, folder, settings.trainer.dir)
    return TrainerOutput(
        next(
            (place for place in places if place and (place / "steps").is_dir()),
            named or settings.trainer.dir,
        )
    )


def find_models(settings: Settings, folder: Path | None, begun: bool) -> Path | None:
    """Checkpoints that rollouts are run again with.

    Args:
        begun: whether the run has left anything; its models come with what it leaves.

    Raises:
        ConfigError: the named folder is not there.
    """
    named = settings.explorer.model
    if named is not None and not named.is_dir():
        raise ConfigError(f"--model {named}: there is no such folder")
    if named is not None:
        return named
    kept = None if folder is None else folder / "models"
    return kept if kept is not None and (kept.is_dir() or not begun) else None


def find_ledger(settings: Settings, validator: bytes, parameters: Parameters) -> LedgerPlace | None:
    """What is read of the EVM; None where no node is named.

    Raises:
        ConfigError: half of it is named, or something else.
    """
    own = settings.ledger
    if own.endpoint is None:
        return None
    contract = check_contract(own.contract)
    if contract is None:
        raise ConfigError(
            "which ledger? name its address with --contract, or contract under [ledger]"
        )
    number = get_chain_id(settings)
    if not _is_node(own.endpoint):  # it may hold a key: it is not repeated
        raise ConfigError(
            "--evm: write the EVM node's address as https://host or https://host:port, with a port "
            "of 1 to 65535"
        )
    netuid = parameters.identity.netuid
    return LedgerPlace(own.endpoint, number, contract, netuid, validator, own.confirmations)


def _is_node(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def find_gauntlet(settings: Settings, folder: Path | None) -> Path:
    """The table that is shown, whether or not it is there.

    Raises:
        ConfigError: the named file is not there.
    """
    named = settings.explorer.gauntlet
    if named is not None and not named.is_file():
        raise ConfigError(f"--gauntlet {named}: there is no such file")
    if named is not None:
        return named
    place = settings.gauntlet.out or folder or Path()
    return place / "gauntlet.json"


def check_contract(address: str | None) -> str | None:
    """The address of a contract as pages show it.

    Raises:
        ConfigError: it is none.
    """
    if address is not None and not _ADDRESS.fullmatch(address):
        raise ConfigError(f"--contract {address!r}: write 0x and 40 hexadecimal digits")
    return address


def check_link(address: str | None) -> str | None:
    """The address of an EVM explorer as pages may link to it: https, or http on this machine.

    Raises:
        ConfigError: it is something else.
    """
    if address is None:
        return None
    try:
        parts = urlsplit(address)
        near = parts.scheme == "http" and parts.hostname in _NEAR
        plain = (parts.scheme == "https" or near) and parts.hostname and parts.username is None
        _ = parts.port
    except ValueError:
        plain = False
    if not plain or parts.query or parts.fragment or not address.isprintable() or " " in address:
        raise ConfigError(f"--evm-explorer {address!r}: write it as https://host/path")
    return address.rstrip("/")
