"""The newest settlement of a validator's public record, as `assay status --record` shows it.

It does not know whether the record is true: `assay audit` derives it again. Only the beacons'
signatures are checked here.
"""

from pathlib import Path
from typing import TypedDict, TypeVar

from assay.artifacts.records.reader import RecordFault, RecordReader, list_validators
from assay.audit.bundle_seal import open_records
from assay.network.store.base import ObjectStore, StoreError
from assay.network.store.opening import open_store
from assay.protocol.beacon import QUICKNET, is_valid_beacon
from assay.protocol.record import NOTHING, Moment, SettlementRecord, WindowRecord
from assay.protocol.ss58 import encode_ss58
from assay.settings.loading import ConfigError

_R = TypeVar("_R", WindowRecord, SettlementRecord)
#: Newest windows of a settlement that are read.
_SHOWN = 16


class PublicRoundStatus(TypedDict):
    """A beacon in a record."""

    round: int
    at: float  # timestamp of the block that names it
    verified: bool  # signature verified with quicknet's key; false on a local beacon chain


class PublicVerdictStatus(TypedDict):
    """A member's verdict in a record."""

    hotkey: str
    uid: int
    reason: str | None  # null if the validator has none
    score: int


class PublicWindowStatus(TypedDict):
    """A window in a record."""

    window: int
    outcome: str  # counted, void, abstained
    checkpoint: str | None  # null if it was not known
    challenge: PublicRoundStatus | None
    audit: PublicRoundStatus | None
    verdicts: list[PublicVerdictStatus]


class PublicStatus(TypedDict):
    """The newest settlement of a record, as `assay status --record STORE --json` prints it."""

    record: str  # store that it was read from
    hotkey: str
    software: str  # software that wrote it
    epoch: int  # the epoch block of the settlement
    previous_epoch: int  # the epoch block before it
    windows: list[PublicWindowStatus]  # the settlement's newest 16, oldest first
    scores: dict[str, int]  # uid → score
    weights: dict[str, int]  # uid → u16


def read_public_status(where: str, validator: bytes | None = None) -> PublicStatus:
    """The newest settlement of a record. Raises OperatorError: it cannot be read.

    Args:
        where: locator of a validator's store, or a folder.
        validator: whose record; None: the only one there.
    """
    store = open_store(where) if "://" in where else open_records(Path(where))
    reader = RecordReader(store, _find_only(store, where) if validator is None else validator)
    address = reader.address
    try:
        settlement = _read_newest(reader, where)
        covered = settlement.windows[-_SHOWN:]
        windows = [_require(reader.read_window(c.window), c.record, reader, where) for c in covered]
    except StoreError as error:
        raise ConfigError(f"{error}: make sure that this machine can reach it") from None
    return PublicStatus(
        record=where,
        hotkey=address,
        software=settlement.software,
        epoch=settlement.epoch,
        previous_epoch=settlement.previous_epoch,
        windows=[_describe_window(window) for window in windows],
        scores={str(score.uid): score.score for score in settlement.scores},
        weights={str(weight.uid): weight.weight for weight in settlement.weights},
    )


def _find_only(store: ObjectStore, where: str) -> bytes:
    if where.startswith(("http://", "https://")):
        raise ConfigError(f"{where} has no list of its records: name a validator with --hotkey")
    validators = list_validators(store)
    if len(validators) == 1:
        return validators[0]
    names = ", ".join(map(encode_ss58, validators[:8]))
    raise ConfigError(
        f"{where} has {f'the records of {names}' if validators else 'no record'}: name a validator "
        "with --hotkey"
    )


def _read_newest(reader: RecordReader, where: str) -> SettlementRecord:
    latest = reader.read_latest()
    if isinstance(latest, RecordFault) and latest.is_missing:
        raise ConfigError(
            f"{where} has no record of {reader.address}: it is published once weights are revealed"
        )
    record: SettlementRecord | RecordFault
    record = latest if isinstance(latest, RecordFault) else reader.read_settlement(latest.epoch)
    digest = None if isinstance(latest, RecordFault) else latest.digest
    return _require(record, digest, reader, where)


def _require(
    record: _R | RecordFault, digest: bytes | None, reader: RecordReader, where: str
) -> _R:
    """The validator's own record with that digest."""
    if (
        isinstance(record, RecordFault)
        or record.digest != digest
        or record.validator != reader.validator
    ):
        raise ConfigError(
            f"the record of {reader.address} in {where} is damaged: name another copy with --record"
        )
    return record


def _describe_window(record: WindowRecord) -> PublicWindowStatus:
    return PublicWindowStatus(
        window=record.window,
        outcome=record.outcome.value,
        checkpoint=None if record.checkpoint == NOTHING else record.checkpoint.hex(),
        challenge=_describe_round(record.challenge),
        audit=_describe_round(record.audit),
        verdicts=[
            PublicVerdictStatus(
                hotkey=encode_ss58(row.hotkey),
                uid=row.uid,
                reason=None if row.reason is None else row.reason.value,
                score=row.score,
            )
            for row in record.members
        ],
    )


def _describe_round(moment: Moment | None) -> PublicRoundStatus | None:
    if moment is None:
        return None
    return PublicRoundStatus(
        round=moment.beacon.round,
        at=moment.timestamp_ms / 1_000,
        verified=is_valid_beacon(QUICKNET, moment.beacon),
    )
