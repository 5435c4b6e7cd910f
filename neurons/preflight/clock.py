"""Compares this machine's clock with relays of the beacon and with the chain, before anything else
is blamed: with a wrong clock, an honest node seems to lie, and rounds seem late."""

from collections.abc import Sequence

from assay.network.beacon.relay_clock import ClockReading
from assay.neurons.preflight.check_results import CheckState, PreflightCheck

#: Milliseconds that a clock may be off without a warning, and from which programs misjudge the time
#: of a round (`assay/network/beacon/http_beacons.py`).
_RIGHT_MS, _OFF_MS = 5_000, 60_000
#: A block of the public chain, milliseconds: its newest one may be this old.
_BLOCK_MS = 12_000


def read_block_clock(place: str, block_ms: int, now_ms: int) -> ClockReading:
    """The reading of a node's newest block's timestamp. `place`: of the node, for people."""
    half = _BLOCK_MS // 2
    return ClockReading(place, f"the newest block of {place}", block_ms + half - now_ms, half)


def find_offset(readings: Sequence[ClockReading]) -> tuple[int, list[ClockReading]] | None:
    """The milliseconds by which the time is ahead of this machine's clock, 0 if that is right, and
    the sources; None: no source is credible. One source may be wrong, so a wrong clock takes two
    hosts, or a signature that nobody can have made so early."""
    for reading in readings:
        if reading.proves and reading.ahead_ms - reading.error_ms > _RIGHT_MS:
            return reading.ahead_ms, [reading]
    right = [r for r in readings if abs(r.ahead_ms) <= r.error_ms + _RIGHT_MS]
    if right:
        return 0, right
    best = min(readings, key=lambda reading: reading.error_ms, default=None)
    if best is None:
        return None
    alike = [
        r
        for r in readings
        if abs(r.ahead_ms - best.ahead_ms) <= r.error_ms + best.error_ms + _RIGHT_MS
    ]
    return (best.ahead_ms, alike) if len({r.host for r in alike}) > 1 else None


def judge_clock(readings: Sequence[ClockReading]) -> PreflightCheck:
    """The conclusion from all readings about this machine's clock."""
    measured = find_offset(readings)
    if measured is None:
        detail = "; ".join(f"{r.source} {_say_offset(r.ahead_ms)}" for r in readings)
        detail = detail or "no relay and no node says what time it is"
        remedy = "compare the clock with another machine's"
        return PreflightCheck("clock", CheckState.WARN, detail, remedy)
    offset, witnesses = measured
    others = [f"{r.source} {_say_offset(r.ahead_ms)}" for r in readings if r not in witnesses]
    names = ", ".join(r.source for r in witnesses)
    if not offset:
        detail = "; ".join([f"right by {names}", *(f"but {other}" for other in others)])
        return PreflightCheck("clock", CheckState.OK, detail)
    way = "slow" if offset > 0 else "fast"
    detail = "; ".join([f"this machine's clock is {_say_span(offset)} {way}, by {names}", *others])
    state = CheckState.FAIL if abs(offset) > _OFF_MS else CheckState.WARN
    remedy = "set it first, and keep it set: `timedatectl set-ntp true`"
    return PreflightCheck("clock", state, detail, remedy)


def _say_offset(ahead_ms: int) -> str:
    return f"is {_say_span(ahead_ms)} {'ahead' if ahead_ms > 0 else 'behind'}"


def _say_span(span_ms: int) -> str:
    seconds = abs(span_ms) / 1_000
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.1f} s"
