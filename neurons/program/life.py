"""Whether a program runs, as its folder shows it from outside."""

from dataclasses import dataclass
from enum import StrEnum

from assay.artifacts.status.program import STOPPED

#: Seconds after which a status is called old. An idle program writes every ten.
_OLD_S = 30
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


class Life(StrEnum):
    """What a program does."""

    RUNNING = "running"
    BUSY = "busy"  # with one step for longer than it should take
    STOPPED = "stopped"  # on request
    ENDED = "ended"  # unexpectedly


@dataclass(frozen=True, slots=True)
class Sign:
    """Signs of a running program."""

    held: bool | None  # whether a process holds its folder's lock; None if unknown
    age: int  # seconds since it wrote its status


def describe_life(state: str, sign: Sign) -> tuple[Life, str]:
    """What a program does, also in words. `state`: of its status.json."""
    age = describe_age(sign.age)
    if state == STOPPED:
        return Life.STOPPED, f"stopped {age} ago"
    if sign.held is False:
        words = f"NOT RUNNING: it ended unexpectedly {age} ago; the same command continues"
        return Life.ENDED, words
    if sign.age <= _OLD_S:
        return Life.RUNNING, "running"
    if sign.held is None:
        return Life.ENDED, f"NOT RUNNING, or on another machine: written {age} ago"
    return Life.BUSY, f"running, and busy with one step for {age}"


def describe_age(seconds: int) -> str:
    """Seconds in people's units."""
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < 2 * _HOUR:
        return f"{seconds // _MINUTE} min"
    return f"{seconds // _HOUR} h" if seconds < 2 * _DAY else f"{seconds // _DAY} days"
