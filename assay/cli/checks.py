"""Checks before anything heavy is loaded, so that a mistake is reported within a second.

A command calls them first. Each raises an `OperatorError`. Light: each imports what it reads.
"""

from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assay.settings.sections import Settings


def require_wallet(settings: "Settings", signer: str | None = None) -> None:
    """Check that the network is one, and that the wallet's keys are on disk. `signer`: "coldkey" or
    "hotkey", which must be unlockable."""
    require_each(lambda: _require_network(settings), lambda: _require_keys(settings, signer))


def require_subnet(settings: "Settings") -> None:
    """Check that the network is one, and that a subnet is named."""
    require_each(lambda: _require_network(settings), lambda: _require_netuid(settings))


def require_signer(settings: "Settings", signer: str, *, stores: bool = False) -> None:
    """Check network, subnet, and the wallet, whose `signer` must be unlockable. `stores`: also that
    the store for writing is named, and can be opened with the present keys."""

    def require_store() -> None:
        from assay.session.resources import open_own_store

        open_own_store(settings)

    require_each(
        lambda: _require_network(settings),
        lambda: _require_netuid(settings),
        lambda: _require_keys(settings, signer),
        *([require_store] if stores else []),
    )


def require_each(*checks: Callable[[], object]) -> None:
    """Make checks of which none needs another. Raises ConfigError with a line for each that
    fails."""
    from assay.settings.loading import check_all

    check_all(checks)


def _require_network(settings: "Settings") -> None:
    from assay.network.chain.target import ChainTarget

    chain = settings.chain
    ChainTarget.require_named(chain.network, *chain.fallbacks, *chain.archives)


def _require_netuid(settings: "Settings") -> None:
    from assay.settings.loading import require_netuid

    require_netuid(settings.chain)


def _require_keys(settings: "Settings", signer: str | None) -> None:
    from assay.network.chain.wallets import require_keys

    wallet = settings.wallet
    require_keys(wallet.name, wallet.hotkey, wallet.path, signer)


def require_folder(folder: Path, kind: str, *, alone: bool = False) -> None:
    """Check that a program's own folder is writable, and has no other program's files; `alone`:
    nor any other files."""
    from assay.neurons.program.loop import claim_folder

    with claim_folder(folder, kind, alone=alone):
        pass


def require_own_out(out: Path | None, command: str) -> None:
    """Check that `--out`, if it is given, is a folder, or can be created, and holds nothing but
    what the command leaves there."""
    from assay.cli.own_folder import OWN_FOLDERS

    if out is not None:
        OWN_FOLDERS[command].require(out)


def require_there(*places: Path | str | None) -> None:
    """Check that files and folders exist, if they are named. A text names a path, unless it is a
    URL. Raises ConfigError with a line for each that is missing."""
    from assay.settings.loading import ConfigError

    missing = dict.fromkeys(str(one) for one in places if one is not None and not _is_there(one))
    if missing:
        raise ConfigError("\n".join(f"{one}: there is no such file or folder" for one in missing))


def _is_there(place: Path | str) -> bool:
    is_url = isinstance(place, str) and "://" in place
    return is_url or Path(place).exists()


def require_files(*places: Path) -> None:
    """Check that files exist."""
    from assay.settings.loading import ConfigError

    require_there(*places)
    for place in places:
        if place.is_dir():
            raise ConfigError(f"{place} is a directory: name a file")


def require_problem_files(*places: Path) -> None:
    """Check that files of problems exist, each one file."""
    from assay.settings.loading import ConfigError

    require_there(*places)
    for place in places:
        if place.is_dir():
            raise ConfigError(
                f"{place} is a folder: name a file. `assay env look {quote(str(place))} --write "
                "NEW.jsonl` makes one of the files of a split"
            )


def require_bundle(folder: Path | None) -> None:
    """Check that --offline, if it is given, names a bundle."""
    from assay.judge import seal

    require_there(folder)
    if folder is not None:
        seal.require_bundle(folder)


def require_address(text: str | None, option: str) -> None:
    """Check that an option, if it is given, is a valid address of a hotkey."""
    from assay.settings.loading import parse_hotkey

    if text is not None:
        parse_hotkey(text, option)


def require_windows(windows: str | None) -> None:
    """Check that --windows, if it is given, is two numbers."""
    from assay.settings.loading import split_windows

    if windows is not None:
        split_windows(windows)
