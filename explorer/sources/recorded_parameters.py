"""The rules that a record names, or the program beside it, from whichever copy is at hand."""

from contextlib import suppress
from pathlib import Path

from assay.artifacts.discovery import fetch_parameters
from assay.artifacts.ports import Objects
from assay.artifacts.records.record_reader import Latest, RecordFault, RecordReader
from assay.artifacts.records.run_folder import RunFolder
from assay.artifacts.store_objects import UnavailableError
from assay.explorer.sources.run_view import RunView
from assay.network import open_folder
from assay.neurons.settings.loading import ConfigError
from assay.protocol import Parameters, SettlementRecord
from assay.protocol.encoding import EncodingError

#: Where programs keep rules: a demo's store, a neuron's own copy, a trainer's steps.
_PLACES = ("store", "rules", "steps/rules")


def find_recorded_parameters(
    reader: RecordReader, latest: Latest | RecordFault, folder: Path | None, place: str
) -> Parameters:
    """The rules of a record's newest settlement.

    Args:
        latest: the record's pointer to its newest settlement.
        folder: of a run beside it.
        place: where the record lies, for people.

    Raises:
        ConfigError: the settlement cannot be read, or its rules are not at hand.
    """
    record: SettlementRecord | RecordFault
    record = latest if isinstance(latest, RecordFault) else reader.read_settlement(latest.epoch)
    if isinstance(record, RecordFault):
        raise ConfigError(
            f"the newest settlement of {reader.address} cannot be read: {record.sentence}"
        )
    found = _find(record.parameters, [reader.objects], folder)
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
    run = RunView(folder, b"")
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
    if folder is None:
        return None
    run = RunFolder(folder)
    for window in run.list_windows():
        with suppress(EncodingError):
            parameters = run.read_context(window).parameters
            if parameters.digest == digest:
                return parameters
    return None
