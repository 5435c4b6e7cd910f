"""Checks before anything heavy is loaded, so that a mistake is reported within a second.

A command names its checks (`first=` in `options.command`). Each takes the settings and the
command's own options, and raises an `OperatorError`. Light: each check imports what it reads.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assay.neurons.settings.sections import Settings

Check = Callable[["Settings", Mapping[str, Any]], None]

#: Marks a demo's folder. The demo touches nothing in a folder that has files but no marker.
DEMO_MARKER = ".assay-demo"


def require_wallet(settings: "Settings", own: Mapping[str, Any], signer: str | None = None) -> None:
    """Check that the wallet's keys are on disk. `signer`: "coldkey" or "hotkey", which must be
    unlockable."""
    from assay.network.chain.wallets import require_keys

    wallet = settings.wallet
    require_keys(wallet.name, wallet.hotkey, wallet.path, signer)


require_coldkey: Check = partial(require_wallet, signer="coldkey")
require_hotkey: Check = partial(require_wallet, signer="hotkey")


def require_subnet(settings: "Settings", _: Mapping[str, Any]) -> None:
    """Check that a subnet is named."""
    from assay.neurons.settings.loading import require_netuid

    require_netuid(settings.chain)


def require_store(settings: "Settings", _: Mapping[str, Any]) -> None:
    """Check that the store for writing is named, and can be opened with the present keys."""
    from assay.neurons.session.resources import open_own_store

    open_own_store(settings)


def require_record_store(settings: "Settings", own: Mapping[str, Any]) -> None:
    """The same for a validator, whose record goes into its folder if no store is named."""
    if settings.store.locator is not None:
        require_store(settings, own)


def require_folder(kind: str, *, alone: bool = False) -> Check:
    """Check that the program's own folder is writable, and has no other program's files; `alone`:
    nor any other files."""

    def check(settings: "Settings", own: Mapping[str, Any]) -> None:
        from assay.neurons.program.loop import claim_folder

        if not own.get("dry_run"):
            with claim_folder(getattr(settings, kind).dir, kind, alone=alone):
                pass

    return check


def require_trainer_folder(settings: "Settings", _: Mapping[str, Any]) -> None:
    """Check that the trainer's folder is none or a folder. `require_folder` would not do: the
    processes of a team check at the same moment, and only the first of them takes the folder."""
    from assay.neurons.settings.loading import ConfigError

    folder = settings.trainer.dir
    if any(path.exists() and not path.is_dir() for path in (folder, *folder.parents)):
        raise ConfigError(f"--dir {folder} is not a folder, or is below a file: name a folder")


def require_out(section: str) -> Check:
    """Check that a section's `out` is a folder, or can be created."""

    def check(settings: "Settings", _: Mapping[str, Any]) -> None:
        from assay.cli.console import make_out_folder

        out = getattr(settings, section).out
        if out is not None:
            make_out_folder(out)

    return check


def require_own_out(section: str, whose: str, *patterns: str) -> Check:
    """The same, and check that a folder with files holds what the command writes: see
    `list_own_folder`."""

    def check(settings: "Settings", _: Mapping[str, Any]) -> None:
        from assay.cli.console import list_own_folder

        out = getattr(settings, section).out
        if out is not None:
            list_own_folder(out, whose, *patterns)

    return check


def require_there(*names: str) -> Check:
    """Check that files and folders named by options exist; an option may have a list of them. A
    text names a path, unless it is a URL."""

    def check(_: "Settings", own: Mapping[str, Any]) -> None:
        from assay.neurons.settings.loading import ConfigError

        for name in names:
            for path in own[name] if isinstance(own[name], list) else [own[name]]:
                is_url = isinstance(path, str) and "://" in path
                if path is not None and not is_url and not Path(path).exists():
                    raise ConfigError(f"{path}: there is no such file or folder")

    return check


def require_offline(settings: "Settings", own: Mapping[str, Any]) -> None:
    """Check that --offline, if it is given, names a bundle."""
    from assay.audit.bundle_seal import require_bundle

    require_there("offline")(settings, own)
    if own["offline"] is not None:
        require_bundle(own["offline"])


def require_hotkeys(**options: str) -> Check:
    """Check that options name valid addresses of hotkeys. `options`: parameter → its name on the
    command line."""

    def check(_: "Settings", own: Mapping[str, Any]) -> None:
        from assay.neurons.settings.loading import parse_hotkey

        for name, option in options.items():
            if own[name] is not None:
                parse_hotkey(own[name], option)

    return check


def split_windows(text: str) -> tuple[int, int]:
    """The first and the last window of `A..B`, both included, or of one number."""
    from assay.neurons.settings.loading import ConfigError

    first, _, last = text.partition("..")
    last = last or first
    if not (first.isdecimal() and last.isdecimal() and max(len(first), len(last)) <= 12):
        raise ConfigError(f"--windows {text!r}: write A..B, such as 5..12")
    if int(first) > int(last):
        raise ConfigError(
            f"--windows {text!r}: the smaller number comes first; write {last}..{first}"
        )
    return int(first), int(last)


def require_windows(_: "Settings", own: Mapping[str, Any]) -> None:
    """Check that --windows, if it is given, is two numbers."""
    if own["windows"] is not None:
        split_windows(own["windows"])


def require_pair(settings: "Settings", _: Mapping[str, Any]) -> None:
    """Check that `assay calibrate` has a checkpoint and two implementations."""
    from assay.neurons.settings.loading import ConfigError

    asked = settings.calibrate
    if asked.model is None:
        raise ConfigError("name the folder of a checkpoint: --model FOLDER")
    if asked.a == asked.b:
        raise ConfigError(f"--a and --b are both {asked.a}: name two implementations")


def require_development_chain(settings: "Settings", _: Mapping[str, Any]) -> None:
    """Check that the chain is on this machine: development keys sign for no other."""
    from assay.network.chain.target import ChainTarget
    from assay.neurons.settings.loading import ConfigError

    network = settings.chain.network
    ChainTarget.require_named(network)
    if network != "local" and not ChainTarget((network,)).is_loopback:
        raise ConfigError(
            f"there is no faucet on {network}: name a development chain of this machine with "
            "--localnet DIR or --network ws://127.0.0.1:PORT"
        )


def require_trainer(settings: "Settings", _: Mapping[str, Any]) -> None:
    """Check that the hotkey that publishes checkpoints is named."""
    from assay.neurons.settings.loading import ConfigError, parse_hotkey

    trainer = settings.publish.trainer
    if trainer is None:
        raise ConfigError("who publishes checkpoints? name the trainer's hotkey with --trainer")
    parse_hotkey(trainer, "--trainer")


def require_export(settings: "Settings", own: Mapping[str, Any]) -> None:
    """Check which options of `assay export` are combined, and that a trainer has steps."""
    from assay.neurons.settings.loading import ConfigError

    out, push, files, shaped = own["out"], own["push"], own["files"], own["columns"] != "assay"
    if (out is None) == (push is None):
        raise ConfigError("name either a folder with --out or a server with --push")
    if push is not None and (files or shaped):
        raise ConfigError(
            "--push sends the groups that a trainer accepted, in its own format: leave out FILES "
            "and --columns"
        )
    if files and (own["windows"] is not None or shaped):
        raise ConfigError(
            "--windows and --columns apply to a trainer's steps: leave out these, or FILES"
        )
    folder = settings.trainer.dir
    if files:
        return
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}: --dir names a trainer's")
    steps = folder / "steps"
    if not any(steps.glob("step-*.json")):
        raise ConfigError(f"{steps} has no steps: name a trainer's or a demo's folder with --dir")


def require_change(settings: "Settings", own: Mapping[str, Any]) -> None:
    """Check that there is something to amend, and that its file can be read."""
    from assay.neurons.settings.loading import ConfigError

    changes = settings.amend.changes
    if changes is not None:
        from assay.subnet.presets import read_changes

        read_changes(changes)
    elif not own["withdraw"]:
        raise ConfigError("nothing to change: name a file with --changes, or use --withdraw")
