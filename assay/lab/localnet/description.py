"""A localnet's public files in its folder: `localnet.json`, and a file of settings."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from assay.network.files import is_locked, write_file, write_json
from assay.network.toml_settings import read_toml
from assay.settings.loading import ConfigError

DESCRIPTION_FILE, SETTINGS_FILE = "localnet.json", "assay.toml"
#: Coldkeys of the subnet's owner and of its trainer: development keys, known to everybody.
OWNER_WALLET, TRAINER_WALLET = "//Alice", "//Trainer"
#: Those of `--members`.
MINER_WALLET, VALIDATOR_WALLET = "//Miner", "//Validator"
_WALLETS = {"owner": OWNER_WALLET, "trainer": TRAINER_WALLET}
#: Programs of which each has a folder of its own in a localnet's.
ROLES = ("miner", "validator", "trainer")
#: Groups that a miner of the shipped model makes in a window of this machine.
DEMO_GROUPS = 8
#: Largest description or file of settings that is read, bytes.
_BYTES_MAX = 1 << 20

Sections = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Party:
    """A participant that exists from the start."""

    wallet: str  # as in `--wallet`
    hotkey: str  # SS58


@dataclass(frozen=True, slots=True)
class BeaconService:
    """The beacon's address, and drand's `info` document of its chain."""

    url: str
    info: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Localnet:
    """A localnet as `localnet.json` describes it."""

    endpoint: str  # of the chain, ws://…
    netuid: int
    genesis_hash: str  # of the chain, hex
    block_time: float  # seconds between blocks
    parameters: str  # digest of the parameters that the subnet's owner has published, hex
    beacon: BeaconService
    store: str  # locator of the store
    owner: Party
    trainer: Party
    wallets: str  # folder of wallets
    settings: str  # file with these settings for `--config`
    recipe: str | None = None  # of the subnet: a file, or a shipped one's name
    files: tuple[str, ...] = ()  # of problems
    learning: dict[str, Any] = field(default_factory=dict)  # the recipe's settings of a trainer
    groups: int = DEMO_GROUPS  # that a miner of this machine may make in a window
    calibration: dict[str, Any] | None = None  # what was found of the model; None: it was not made
    members: bool = False  # whether it began with a miner and a validator
    pids: dict[str, int] = field(default_factory=dict)  # process → number, while they run


def write_localnet(folder: Path, localnet: Localnet) -> None:
    """Write both files, each atomically. `localnet.json` comes last, because it means that all is
    there."""
    write_file(folder / SETTINGS_FILE, _write_toml(make_settings(folder, localnet)))
    write_json(folder / DESCRIPTION_FILE, asdict(localnet))


def find_localnet(folder: Path) -> Localnet | None:
    """The localnet of a folder, or None. Raises ConfigError: the file has other content."""
    file = folder / DESCRIPTION_FILE
    try:
        with file.open("rb") as opened:
            data = opened.read(_BYTES_MAX)
        return TypeAdapter(Localnet).validate_json(data)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"cannot read {file} ({error.strerror})") from None
    except ValidationError as error:
        raise ConfigError(f"{file} describes no localnet: {error.errors()[0]['msg']}") from None


def is_running(folder: Path) -> bool:
    """Return whether the process that serves a localnet exists, as far as its number tells."""
    localnet = find_localnet(folder)
    if localnet is None or not localnet.pids:
        return False
    return all(Path(f"/proc/{pid}").exists() for pid in localnet.pids.values())


def is_starting(folder: Path) -> bool:
    """Return whether a localnet is being made in a folder: its process runs, but has not yet
    described it."""
    return find_localnet(folder) is None and bool(is_locked(folder / ".assay-localnet"))


def is_missing(folder: Path) -> bool:
    """Return whether nothing of a localnet is in a folder yet, or any more."""
    return not (is_starting(folder) or (folder / SETTINGS_FILE).exists())


def make_settings(folder: Path, localnet: Localnet) -> Sections:
    """The settings with which every command works on a localnet. Programs keep their files in
    it."""
    root = folder.resolve()
    own: Sections = {role: {"dir": str(root / role)} for role in ROLES}
    own["trainer"] |= localnet.learning
    return {
        "chain": {
            "network": localnet.endpoint,
            "genesis_hash": localnet.genesis_hash,
            "netuid": localnet.netuid,
        },
        "wallet": {"path": localnet.wallets},
        "store": {"locator": localnet.store, "readable": [localnet.store]},
        "beacon": {"endpoints": [localnet.beacon.url]},
        "publish": {
            "preset": "demo",
            "trainer": localnet.trainer.hotkey,
            "beacon_info": str(root / "beacon" / "info.json"),
            "slot_ms": round(localnet.block_time * 1_000),
        },
        # programs share one machine: more threads for small work would wait for each other
        "compute": {"threads": 1},
        **({"environments": {"files": list(localnet.files)}} if localnet.files else {}),
        **own,
    }


def read_settings(folder: Path, role: str | None = None) -> Sections:
    """The settings in the folder of `--localnet DIR`, for users that name no others.

    Args:
        role: "owner" or "trainer": its development key replaces the wallet `default`.

    Raises:
        ConfigError: the folder has none. TomlError: they cannot be read.
    """
    file = folder / SETTINGS_FILE
    if not file.exists():
        raise ConfigError(
            f"--localnet {folder}: no localnet has been started there: "
            f"`assay localnet --dir {folder}` in another terminal"
        )
    sections: Sections = read_toml(file)[0]
    if role is not None:
        sections.setdefault("wallet", {})["name"] = _WALLETS[role]
    return sections


def _write_toml(sections: Sections) -> bytes:
    lines = ["# Written by `assay localnet`; overwritten whenever it starts."]
    for section, fields in sections.items():
        lines += ["", f"[{section}]"]
        # JSON's strings, numbers and lists are also TOML's, except for surrogate pairs
        lines += [f"{name} = {json.dumps(v, ensure_ascii=False)}" for name, v in fields.items()]
    return ("\n".join(lines) + "\n").encode()
