"""The size of a validator's public record per miner and window, and the time to make and read it.

It has the main network's rules, 64 miners who all committed and passed, locators of 30 bytes, and a
settlement of 12 windows. Verdicts are made up; the validator's own code makes the records.
"""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

from figures import Figure, measure, report

from assay.neurons.validator.judged_window import JudgedWindow, Settlement
from assay.neurons.validator.make_records import Author, RecordHeads, make_records
from assay.protocol import (
    QUICKNET,
    Beacon,
    Block,
    Committed,
    Context,
    Member,
    Parameters,
    Phase,
    SettlementRecord,
    WindowRecord,
    decode_window_record,
)
from assay.protocol.amendment import ParameterHistory
from assay.protocol.encoding import encode
from assay.protocol.parameters import MAIN_TIMING, MAIN_WORK
from assay.protocol.window import compute_block
from assay.session.window_reader import Challenge
from assay.subnet.presets import make_demo_parameters
from assay.verification import Accepted, GroupValue, Seat

MINERS, WINDOWS, EPOCH = 64, range(1_000, 1_012), 30_450
LOCATOR = "https://a-store.example/miners"
NOW_MS = 1_767_225_600_000


def digest(name: str) -> bytes:
    return sha256(name.encode()).digest()


HOTKEYS = [digest(f"miner {uid}") for uid in range(MINERS)]


def make_parameters() -> Parameters:
    demo = make_demo_parameters(digest("chain"), QUICKNET, 0, digest("trainer"), digest("genesis"))
    return replace(demo, timing=MAIN_TIMING, work=MAIN_WORK)


def make_audit(parameters: Parameters, window: int) -> JudgedWindow:
    """A judged window in which everybody passed."""
    timing, work = parameters.timing, parameters.work
    blocks = [
        Block(number, digest(f"block {number}"), NOW_MS + 12_000 * number)
        for number in (
            compute_block(timing, window, p) for p in (Phase.CHALLENGE, Phase.AUDIT, Phase.SAMPLE)
        )
    ]
    beacons = [Beacon(7_000_000 + block.number, digest("beacon") + bytes(16)) for block in blocks]
    committed_at = compute_block(timing, window, Phase.COMMIT)
    committed = Committed(digest(f"root {window}"), work.group_cap, committed_at, LOCATOR)
    context = Context(
        window,
        *blocks,
        *beacons,
        {hotkey: Member(uid, 7) for uid, hotkey in enumerate(HOTKEYS)},
        dict.fromkeys(HOTKEYS, committed),
        digest("checkpoint"),
        parameters,
    )
    challenge = Challenge(window, blocks[0], beacons[0], digest("checkpoint"), parameters)
    audit = JudgedWindow(challenge, context)
    groups = tuple(GroupValue(i, 28_000 + i, (), (), ()) for i in range(work.valued_groups))
    for hotkey in HOTKEYS:
        verdict = Accepted(
            window=window,
            hotkey=hotkey,
            detail="all genuine",
            committed_groups=work.group_cap,
            groups=groups,
            witness=hotkey * (2 * work.audited_rollouts // 32),
        )
        audit.add(verdict, committed_at, 0.0)
    return audit


def make_all() -> Callable[[], tuple[list[WindowRecord], SettlementRecord]]:
    parameters = make_parameters()
    audits = {window: make_audit(parameters, window) for window in WINDOWS}
    seats = {Seat(uid, 7): hotkey for uid, hotkey in enumerate(HOTKEYS)}
    settlement = Settlement(
        EPOCH,
        tuple(WINDOWS),
        (),
        dict.fromkeys(seats, 86_000_000),
        {seat.uid: 65_535 for seat in seats},
        seats,
    )
    author = Author("assay 0.1.0", ParameterHistory(parameters), digest("validator"))
    return lambda: make_records(author, RecordHeads(), settlement, audits)


def main() -> None:
    make = make_all()
    windows, settlement = make()
    data = [encode(record) for record in windows]
    share = sum(map(len, data)) / len(data) / MINERS
    last = len(encode(settlement)) / len(windows) / MINERS
    seconds = measure(make) / len(windows)
    reading = measure(lambda: [decode_window_record(written).digest for written in data])
    report(
        f"public record: {MINERS} miners, {len(windows)} windows a settlement",
        [
            Figure("window records, a miner and window", share, "B", bound=400),
            Figure("with the settlement's share", share + last, "B", bound=400),
            Figure("make and hash a window's", seconds * 1e3, "ms"),
            Figure("decode and hash a window's", reading / len(data) * 1e3, "ms"),
        ],
        threads=1,
    )


if __name__ == "__main__":
    main()
