"""Starts the processes of a team on one machine, and tells each of them its place.

They meet in a private folder, and talk to each other on the loopback interface alone. torch's own
launcher is not used: its store listens on every address of the machine, whatever it is given, and
unpickles what anybody writes there.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from assay.protocol.errors import OperatorError

#: Seconds in which the first process ends its current work when it is asked to stop, and in which
#: the others end when one has failed. Then all are killed.
_STOP_S, _FAIL_S = 600.0, 30.0
#: Seconds between two looks at the processes.
_LOOK_S = 0.1
#: The number of the process that started the team, and the team's folder.
_VARIABLE = "ASSAY_TEAM"
#: The store of the team's processes, in its folder.
STORE_FILE = "store"
_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
#: Linux's prctl: the signal that a process gets when its parent ends.
_PR_SET_PDEATHSIG = 1

Popen = subprocess.Popen


class TeamError(OperatorError):
    """A trainer's processes do not fit together, or one of them has ended. The message says
    which."""


@dataclass(frozen=True, slots=True)
class Seat:
    """The place of a process in a team of this machine.

    Attributes:
        folder: where the team meets; only this user reaches it.
        rank, size: this process's number, and the number of processes.
    """

    folder: Path
    rank: int
    size: int


def run_team(processes: int, arguments: Sequence[str]) -> int:
    """Run Python with these arguments in several processes of this machine, each of which calls
    `join_team`. Return the exit code of all.

    Raises:
        TeamError: one of them ended by itself.
    """
    with TemporaryDirectory(prefix="assay-team-") as folder, _count_signals() as signals:
        members: list[subprocess.Popen[Any]] = []
        try:
            seats = [Seat(Path(folder), rank, processes) for rank in range(processes)]
            members.extend(_start(seat, arguments) for seat in seats)
            return _watch(members, signals)
        finally:
            _kill(members)


def _start(seat: Seat, arguments: Sequence[str]) -> "subprocess.Popen[Any]":
    """Start a process, in a session of its own: Ctrl-C is for the one that starts it."""
    own = {
        _VARIABLE: f"{os.getpid()}:{seat.folder}",
        "RANK": str(seat.rank),
        "LOCAL_RANK": str(seat.rank),
        "WORLD_SIZE": str(seat.size),
        "GLOO_SOCKET_IFNAME": _LOOPBACK,
        "NCCL_SOCKET_IFNAME": _LOOPBACK,
    }
    given = os.environ  # noqa: TID251 - a process of the team has that of this one
    return Popen([sys.executable, *arguments], env={**given, **own}, start_new_session=True)


def _watch(members: "Sequence[subprocess.Popen[Any]]", signals: Sequence[int]) -> int:
    """Wait until all have ended, or one has failed, or a signal has asked to stop."""
    while not signals:
        codes = [member.poll() for member in members]
        # the others end only after the one that was killed
        failed = sorted((code > 0, rank, code) for rank, code in enumerate(codes) if code)
        if failed:
            _stop(members, _FAIL_S, signals)
            raise TeamError(_describe(len(members), *failed[0][1:]))
        if None not in codes:
            return 0
        time.sleep(_LOOK_S)
    _stop(members, _STOP_S, signals)
    return 0


def _describe(size: int, rank: int, code: int) -> str:
    how, more = f"with exit code {code}", ""  # it has logged the reason
    if code < 0:
        how = f"by {signal.Signals(-code).name}"
        more = ": the same command goes on after the last lesson"
    return f"process {rank} of {size} ended {how}, and so have the others{more}"


def _stop(
    members: "Sequence[subprocess.Popen[Any]]", seconds: float, signals: Sequence[int]
) -> None:
    """Ask all to stop, once more at each further signal, and wait for them."""
    end, heard = time.monotonic() + seconds, -1
    while any(member.poll() is None for member in members) and time.monotonic() < end:
        if heard != len(signals):
            heard = len(signals)
            for member in members:
                member.terminate()
        time.sleep(_LOOK_S)


def _kill(members: "Sequence[subprocess.Popen[Any]]") -> None:
    for member in members:
        if member.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(member.pid, signal.SIGKILL)
        member.wait()


@contextmanager
def _count_signals() -> Iterator[list[int]]:
    """The signals that have asked this process to stop."""
    signals: list[int] = []
    asking = signal.SIGINT, signal.SIGTERM
    before = {n: signal.signal(n, lambda number, _: signals.append(number)) for n in asking}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def find_seat() -> Seat | None:
    """This process's place in a team of this machine; None: `run_team` did not start it."""
    told = os.environ.get(_VARIABLE)  # noqa: TID251 - `run_team` says it there
    if told is None:
        return None
    rank, size = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE"))  # noqa: TID251
    return Seat(Path(told.partition(":")[2]), rank, size)


def end_with_parent() -> None:
    """Have Linux kill this process when the one that started the team ends, even by `kill -9`."""
    told = os.environ[_VARIABLE]  # noqa: TID251 - `run_team` says it there
    tell = getattr(ctypes.CDLL(None), "prctl", None)
    if tell is not None:
        tell(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(told.partition(":")[0]):  # it has ended already
        os._exit(1)
