"""The newest settlement of a public record, as a document and drawn for a terminal.

What it does not know: whether the record is true. `assay audit` derives it again; here only the
beacons' signatures are looked at.
"""

from collections import Counter
from pathlib import Path
from typing import Any, TypedDict

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from assay.audit.bundle import open_records
from assay.cli.program_view import describe_age, render_shares
from assay.network import ObjectStore, open_store
from assay.network.store import StoreError
from assay.neurons.settings.loading import ConfigError
from assay.protocol import (
    QUICKNET,
    EncodingError,
    SettlementRecord,
    WindowRecord,
    decode_settlement_record,
    decode_ss58,
    decode_window_record,
    encode_ss58,
    is_valid_beacon,
)
from assay.protocol.encoding import read_json
from assay.protocol.record import (
    NOTHING,
    Moment,
    make_latest_name,
    make_settlement_record_name,
    make_window_record_name,
)

#: Largest record and hint that are read, bytes: no true one has a tenth of it.
_RECORD_BYTES, _LATEST_BYTES = 16 << 20, 1 << 12
#: Windows that are read of a settlement, the newest.
_SHOWN = 16


class PublicRoundStatus(TypedDict):
    """A beacon that a record names."""

    round: int
    at: float  # timestamp of the block that names it
    verified: bool  # its signature, against quicknet's key: not that of a chain of one's own


class PublicVerdictStatus(TypedDict):
    """A member's verdict in a record."""

    hotkey: str
    uid: int
    reason: str | None  # null where the validator has none
    score: int


class PublicWindowStatus(TypedDict):
    """A window in a record."""

    window: int
    outcome: str  # counted, void, abstained
    checkpoint: str | None  # null where it was not known
    challenge: PublicRoundStatus | None
    audit: PublicRoundStatus | None
    verdicts: list[PublicVerdictStatus]


class PublicStatus(TypedDict):
    """The newest settlement of a record, as `assay status --record STORE --json` prints it."""

    record: str  # where it was read
    hotkey: str
    software: str  # that wrote it
    epoch: int  # the epoch block that settled
    previous_epoch: int
    windows: list[PublicWindowStatus]  # of it, the newest 16, oldest first
    scores: dict[str, int]  # uid → score
    weights: dict[str, int]  # uid → u16


def describe_record(where: str, validator: bytes | None) -> dict[str, Any]:
    """A `PublicStatus`.

    Args:
        where: a locator, or a folder.
        validator: whose record; None: the only one there.

    Raises:
        ConfigError: there is none, it is damaged, or it cannot be read. StoreError: the store
            cannot be listed.
    """
    store = open_store(where) if "://" in where else open_records(Path(where))
    address = encode_ss58(validator) if validator is not None else _find_only(store, where)
    try:
        settlement = _read_newest(store, address, where)
        windows = [
            _read_window(store, address, covered.window, covered.record)
            for covered in settlement.windows[-_SHOWN:]
        ]
    except (EncodingError, LookupError, TypeError, ValueError):
        raise ConfigError(
            f"the record of {address} in {where} is damaged: name another copy with --record"
        ) from None
    except StoreError as error:
        raise ConfigError(f"{error}: see that the store answers from here") from None
    return dict(
        PublicStatus(
            record=where,
            hotkey=address,
            software=settlement.software,
            epoch=settlement.epoch,
            previous_epoch=settlement.previous_epoch,
            windows=[_describe_window(window) for window in windows],
            scores={str(score.uid): score.score for score in settlement.scores},
            weights={str(weight.uid): weight.weight for weight in settlement.weights},
        )
    )


def _find_only(store: ObjectStore, where: str) -> str:
    if where.startswith(("http://", "https://")):
        raise ConfigError(f"{where} shows no list of its records: name a validator with --hotkey")
    found = {name.split("/")[0] for name in store.list() if name.endswith("/latest.json")}
    if len(found) == 1:
        (address,) = found
        decode_ss58(address)
        return address
    names = ", ".join(sorted(found)[:8])
    raise ConfigError(
        f"{where} holds {f'the records of {names}' if found else 'no record'}: name a validator "
        "with --hotkey"
    )


def _read_newest(store: ObjectStore, address: str, where: str) -> SettlementRecord:
    data = store.get(make_latest_name(address), _LATEST_BYTES)
    if data is None:
        raise ConfigError(
            f"{where} holds no record of {address}: it is published once weights are open"
        )
    hint: Any = read_json(data)
    found = store.get(make_settlement_record_name(address, int(hint["epoch"])), _RECORD_BYTES)
    settlement = decode_settlement_record(found or b"")
    if settlement.digest.hex() != hint["digest"] or encode_ss58(settlement.validator) != address:
        raise ValueError("another's")
    return settlement


def _read_window(store: ObjectStore, address: str, window: int, digest: bytes) -> WindowRecord:
    data = store.get(make_window_record_name(address, window), _RECORD_BYTES)
    record = decode_window_record(data or b"")
    if record.digest != digest:
        raise ValueError("another's")
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


def render_record(document: dict[str, Any], now: float) -> RenderableType:
    """Header, windows, and what each uid is paid.

    Args:
        now: Unix seconds.
    """
    windows = document["windows"]
    text = Text("public record", style="bold")
    software = "".join(c for c in document["software"] if c.isprintable())
    text.append(f"  {document['hotkey']}, by {software}\n", style="not bold")
    text.append(
        f"settled at block {document['epoch']:,}, before it at {document['previous_epoch']:,}",
        style="not bold",
    )
    times = [w["audit"]["at"] for w in windows if w["audit"]]
    if times:
        age = describe_age(max(0, int(now - max(times))))
        text.append(f"   its last audit was drawn {age} ago", style="not bold")
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name in ("window", "outcome", "challenge", "audit", "accepted", "others"):
        table.add_column(name, overflow="fold")
    for window in windows:
        reasons = Counter(v["reason"] or "no verdict" for v in window["verdicts"])
        accepted = reasons.pop("ACCEPTED", 0)
        others = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
        rounds = [_name_round(window[name]) for name in ("challenge", "audit")]
        table.add_row(str(window["window"]), window["outcome"], *rounds, str(accepted), others)
    hotkeys = {str(v["uid"]): v["hotkey"] for window in windows for v in window["verdicts"]}
    return Group(text, table, render_shares(document["scores"], document["weights"], hotkeys))


def _name_round(moment: dict[str, Any] | None) -> str:
    if moment is None:
        return "–"
    return f"round {moment['round']:,} {'✓' if moment['verified'] else 'not quicknet’s'}"
