"""`assay status`: how a demo, a neuron or a public record stands, as a document or drawn.

What it does not know: whether a record is true. `assay audit` derives it again; here only the
beacons' signatures are looked at.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypedDict, TypeVar

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from assay.artifacts.records.record_reader import RecordFault, RecordReader, list_validators
from assay.artifacts.records.run_folder import RunFolder
from assay.cli.console import FIGURES, make_table, print_result
from assay.cli.program_view import (
    Sign,
    count_reasons,
    describe_age,
    render_head,
    render_program,
    render_shares,
)
from assay.demo.demo_view import render_status
from assay.network import ObjectStore, open_store
from assay.network.files import is_locked
from assay.network.store import StoreError
from assay.neurons.settings.loading import ConfigError, parse_hotkey
from assay.neurons.settings.sections import Settings
from assay.protocol import QUICKNET, SettlementRecord, WindowRecord, encode_ss58, is_valid_beacon
from assay.protocol.record import NOTHING, Moment

#: Seconds between two looks of --watch.
_LOOK_S = 1.0


Look = Callable[[], tuple[dict[str, Any], RenderableType]]


def run_status(
    settings: Settings,
    record: str | None = None,
    hotkey: str | None = None,
    watch: bool = False,
    as_json: bool = False,
) -> None:
    """Prints how it stands, once or until Ctrl-C.

    Args:
        record: locator of a validator's store, or a folder; None: the settings' folder is meant.
        hotkey: whose record, SS58; None: the only one there.
    """
    look = _make_look(settings.status.dir, record, hotkey)
    if as_json and watch:
        raise ConfigError("--watch draws, --json prints one document: name one of them")
    document, drawn = look()
    if watch:
        _watch(look, drawn)
    print_result(document, as_json, drawn, FIGURES)


def _watch(look: Look, drawn: RenderableType) -> NoReturn:
    console = Console(highlight=False)
    if not console.is_terminal:
        raise ConfigError("--watch needs a terminal: without it the command can be run again")
    with Live(drawn, console=console, auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(_LOOK_S)
            live.update(look()[1], refresh=True)


def _make_look(folder: Path, record: str | None, hotkey: str | None) -> Look:
    if record is None:
        if hotkey is not None:
            raise ConfigError("--hotkey says whose record is meant: name its store with --record")
        return lambda: _look_at_folder(folder)
    validator = None if hotkey is None else parse_hotkey(hotkey, "--hotkey")

    def look() -> tuple[dict[str, Any], RenderableType]:
        document = describe_record(record, validator)
        return document, render_record(document, time.time())

    return look


def _look_at_folder(folder: Path) -> tuple[dict[str, Any], RenderableType]:
    document = _read(folder)
    try:
        marker = "demo" if "demo" in document else document["program"]
        sign = Sign(is_locked(folder / f".assay-{marker}"), int(time.time()) - document["at"])
        if "demo" not in document:
            return document, render_program(document, sign)
        return document, Group(render_head(document, sign), render_status(document))
    except (TypeError, ValueError, LookupError, AttributeError):
        raise ConfigError(
            f"{folder / 'status.json'} is damaged, or another version's: start the run again"
        ) from None


def _read(folder: Path) -> dict[str, Any]:
    file = folder / "status.json"
    try:
        file.open("rb").close()
    except NotADirectoryError:
        raise ConfigError(
            f"--dir {folder} is a file: name the folder of a run, which holds status.json"
        ) from None
    except PermissionError as error:
        raise ConfigError(
            f"{file} cannot be read ({error.strerror}): ask as the user who runs the program"
        ) from None
    except OSError:
        if not folder.is_dir():
            raise ConfigError(
                f"--dir {folder}: there is no such folder; start `assay demo --out {folder}`, or "
                "name the --dir of a miner, validator or trainer"
            ) from None
        below = sorted(str(found.parent) for found in folder.glob("*/status.json"))
        if below:
            raise ConfigError(
                f"{folder} holds several programs: name one with --dir {' or '.join(below)}"
            ) from None
        raise ConfigError(
            f"{folder} holds no run: start `assay demo --out {folder}`, or name the --dir of a "
            "miner, validator or trainer"
        ) from None
    document = RunFolder(folder).status.read()
    if not isinstance(document, dict):
        raise ConfigError(f"{file} is damaged: start the run again")
    return document


_R = TypeVar("_R", WindowRecord, SettlementRecord)
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
    """A `PublicStatus`."""
    if "://" in where:
        store = open_store(where)
    else:
        from assay.audit.bundle import open_records  # PyTorch comes with it, and takes seconds

        store = open_records(Path(where))
    reader = RecordReader(store, _find_only(store, where) if validator is None else validator)
    address = reader.address
    try:
        settlement = _read_newest(reader, where)
        covered = settlement.windows[-_SHOWN:]
        windows = [_require(reader.read_window(c.window), c.record, reader, where) for c in covered]
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


def _find_only(store: ObjectStore, where: str) -> bytes:
    if where.startswith(("http://", "https://")):
        raise ConfigError(f"{where} shows no list of its records: name a validator with --hotkey")
    found = list_validators(store)
    if len(found) == 1:
        return found[0]
    names = ", ".join(map(encode_ss58, found[:8]))
    raise ConfigError(
        f"{where} holds {f'the records of {names}' if found else 'no record'}: name a validator "
        "with --hotkey"
    )


def _read_newest(reader: RecordReader, where: str) -> SettlementRecord:
    latest = reader.read_latest()
    if isinstance(latest, RecordFault) and latest.is_missing:
        raise ConfigError(
            f"{where} holds no record of {reader.address}: it is published once weights are open"
        )
    found: SettlementRecord | RecordFault
    found = latest if isinstance(latest, RecordFault) else reader.read_settlement(latest.epoch)
    digest = None if isinstance(latest, RecordFault) else latest.digest
    return _require(found, digest, reader, where)


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


def render_record(document: dict[str, Any], now: float) -> RenderableType:
    """Header, windows, and what each uid is paid; `now` is Unix time, seconds."""
    windows = document["windows"]
    text = Text()
    text.append("public record", style="bold")
    software = "".join(c for c in document["software"] if c.isprintable())
    text.append(f"  {document['hotkey']}, by {software}\nsettled at block {document['epoch']:,}")
    text.append(f", before it at {document['previous_epoch']:,}")
    times = [w["audit"]["at"] for w in windows if w["audit"]]
    if times:
        age = describe_age(max(0, int(now - max(times))))
        text.append(f"   its last audit was drawn {age} ago")
    table = make_table("window", "outcome", "challenge", "audit", "accepted", "others")
    for window in windows:
        rounds = [_name_round(window[name]) for name in ("challenge", "audit")]
        told = count_reasons(window["verdicts"])
        table.add_row(str(window["window"]), window["outcome"], *rounds, *told)
    return Group(text, table, render_shares(document["scores"], document["weights"], windows))


def _name_round(moment: dict[str, Any] | None) -> str:
    if moment is None:
        return "–"
    return f"round {moment['round']:,} {'✓' if moment['verified'] else 'not quicknet’s'}"
