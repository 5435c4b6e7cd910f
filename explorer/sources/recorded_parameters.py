"""The rules that a record names, or the program beside it, from whichever copy is at hand."""

from pathlib import Path

from assay.artifacts.discovery import fetch_parameters
from assay.artifacts.ports import Objects
from assay.artifacts.store_objects import UnavailableError
from assay.explorer.sources.run_folder import RunFolder
from assay.network import open_folder
from assay.neurons.settings.loading import ConfigError
from assay.protocol import Parameters, context_from_json, decode_settlement_record
from assay.protocol.encoding import EncodingError, read_json
from assay.protocol.record import make_settlement_record_name

_RECORD_BYTES, _CONTEXT_BYTES = 256 << 20, 16 << 20
#: Where programs keep rules: a demo's store, a neuron's own copy, a trainer's steps.
_PLACES = ("store", "rules", "steps/rules")


def find_recorded_parameters(
    objects: Objects, address: str, latest: bytes, folder: Path | None, place: str
) -> Parameters:
    """The rules of a record's newest settlement.

    Args:
        address: whose record, SS58.
        latest: the record's pointer to its newest settlement.
        folder: of a run beside it.
        place: where the record lies, for people.

    Raises:
        ConfigError: the settlement cannot be read, or its rules are not at hand.
    """
    try:
        name = make_settlement_record_name(address, int(read_json(latest)["epoch"]))
        record = decode_settlement_record(objects.get(name, _RECORD_BYTES) or b"")
    except (ArithmeticError, EncodingError, LookupError, TypeError, ValueError) as error:
        raise ConfigError(f"the newest settlement of {address} cannot be read: {error}") from None
    found = _find(record.parameters, [objects], folder)
    if found is None:
        raise ConfigError(
            f"{place} does not hold the rules that its record names, "
            f"{record.parameters.hex()[:16]}…: name the chain that they stand on with --netuid or "
            "--localnet"
        )
    return found


def find_own_parameters(folder: Path) -> Parameters | None:
    """The rules that the program in a folder works by; None where none runs there, or they are not
    at hand."""
    run = RunFolder(folder, b"")
    live, digest = run.read_live(), run.get_parameters()
    if live is None or not live.moving or digest is None:
        return None
    return _find(digest, [], folder)


def _find(digest: bytes, stores: list[Objects], folder: Path | None) -> Parameters | None:
    """A digest names rules, so any copy will do."""
    if folder is not None:
        places = [folder / name for name in _PLACES]
        stores = [*stores, *(open_folder(path) for path in places if path.is_dir())]
    for store in stores:
        try:
            return fetch_parameters(store, digest)
        except UnavailableError:
            continue
    for file in sorted((folder / "contexts").glob("window-*.json")) if folder is not None else ():
        try:
            with file.open("rb") as opened:
                parameters = context_from_json(read_json(opened.read(_CONTEXT_BYTES))).parameters
        except (OSError, EncodingError):
            continue
        if parameters.digest == digest:
            return parameters
    return None
