"""The sources that the settings name. Each function raises ConfigError if one does not exist."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from assay.explorer.documents.curves import OWN
from assay.explorer.labels import show_hidden
from assay.explorer.sources.evaluation_results import EvaluationResults
from assay.explorer.sources.ledger_events import LedgerPlace
from assay.session.evm_opening import get_chain_id
from assay.settings.loading import ConfigError
from assay.settings.sections import Settings

#: Most characters of another run's name.
_NAME_MAX = 40
_ADDRESS = re.compile("0x[0-9a-fA-F]{40}")
#: Hosts that pages may link to without TLS.
_NEAR = ("127.0.0.1", "::1", "localhost")


def _require(flag: str, path: Path | None, is_file: bool = False) -> Path | None:
    """The path that a flag names. None without the flag; an error if the path does not exist."""
    if path is not None and not (path.is_file() if is_file else path.is_dir()):
        what = "file" if is_file else "folder"
        raise ConfigError(f"{flag} {path}: there is no such {what}")
    return path


def find_trainer(settings: Settings, folder: Path | None) -> Path:
    """The first folder with steps, else the one that would have them."""
    named = _require("--trainer", settings.explorer.trainer)
    places = (named, folder, settings.trainer.dir)
    existing = (place for place in places if place and (place / "steps").is_dir())
    return next(existing, named or settings.trainer.dir)


def find_models(settings: Settings, folder: Path | None, begun: bool) -> Path | None:
    """Checkpoints for measuring rollouts again. begun: whether the run has written anything yet;
    its models come with that."""
    named = _require("--model", settings.explorer.model)
    if named is not None:
        return named
    models = None if folder is None else folder / "models"
    return models if models is not None and (models.is_dir() or not begun) else None


def find_ledger(settings: Settings, validator: bytes, netuid: int) -> LedgerPlace | None:
    """The reader of the EVM ledger. None if the settings name no node."""
    ledger = settings.ledger
    if ledger.endpoint is None:
        return None
    contract = check_contract(ledger.contract)
    if contract is None:
        raise ConfigError(
            "which ledger? name its address with --contract, or contract under [ledger]"
        )
    number = get_chain_id(settings)
    if not _is_node(ledger.endpoint):  # it may hold a key: it is not repeated
        raise ConfigError(
            "--evm: write the EVM node's address as https://host or https://host:port, with a port "
            "of 1 to 65535"
        )
    return LedgerPlace(ledger.endpoint, number, contract, netuid, validator, ledger.confirmations)


def _is_node(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def find_rounds(settings: Settings) -> Path:
    """The file of findings of rounds. It may not exist."""
    named = _require("--rounds", settings.explorer.rounds)
    return (named or Path("assay-rounds")) / "findings.jsonl"


def find_comparison(settings: Settings, folder: Path | None) -> Path:
    """The file of the validators' comparison. It may not exist."""
    named = _require("--comparison", settings.explorer.comparison, is_file=True)
    return named or (folder or Path()) / "comparison.json"


def find_evaluations(settings: Settings, trainer: Path) -> EvaluationResults:
    """The results in the folder of `assay eval`, and in the trainer's."""
    named = _require("--evaluations", settings.explorer.evaluations, is_file=False)
    return EvaluationResults(named or Path("assay-eval"), trainer)


def find_export(settings: Settings) -> Path | None:
    """The folder of `assay export`. None: none is named."""
    return _require("--rollouts", settings.explorer.rollouts)


def find_beside(settings: Settings) -> dict[str, Path]:
    """Other runs' documents, by their files' names without the ending."""
    files: dict[str, Path] = {}
    for path in settings.explorer.beside:
        _require("--beside", path, is_file=True)
        name = show_hidden(path.stem[:_NAME_MAX])
        if name in files or name == OWN:
            raise ConfigError(f"--beside {path}: another run is called {name!r}; rename the file")
        files[name] = path
    return files


def find_gauntlet(settings: Settings, folder: Path | None) -> Path:
    """The file of the gauntlet's table. It may not exist."""
    named = _require("--gauntlet", settings.explorer.gauntlet, is_file=True)
    return named or (settings.gauntlet.out or folder or Path()) / "gauntlet.json"


def check_contract(address: str | None) -> str | None:
    """The address of a contract as pages show it."""
    if address is not None and not _ADDRESS.fullmatch(address):
        raise ConfigError(f"--contract {address!r}: write 0x and 40 hexadecimal digits")
    return address


def check_link(address: str | None) -> str | None:
    """The address of an EVM explorer as pages may link to it: https, or http on this machine."""
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
