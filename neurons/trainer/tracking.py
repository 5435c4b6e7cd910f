"""A course's figures in a tracker that people know, wandb, beside TensorBoard's.

The tracker's library runs in a child process (`tracking_child`), because it may wait for a network,
print, and hook into the interpreter's end. The trainer puts lines into a bounded queue and never
waits for any of it: what does not fit is lost, and counted. A child that ends is started again, at
most every few minutes, and resumes the same run. So does the child of a trainer that starts again.
"""

import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from assay.sandbox.secret_variables import list_plain_variables
from assay.settings.loading import ConfigError

logger = logging.getLogger("assay")

#: Lines that wait for the child.
_WAITING = 1_024
#: Seconds until a child that has ended is started again, and in which the last one may finish.
_AGAIN_S, _FINISH_S = 300.0, 15
#: Seconds beyond these, in which the system ends a child.
_KILL_S = 5.0
#: The child's output, in the tracker's folder.
LOG_FILE = "tracker.log"
_BOOT = "from assay.neurons.trainer.tracking_child import main; main()"
#: What the library reads where the user says nothing: its maker gets no reports of its errors.
_QUIET = {"WANDB_ERROR_REPORTING": "false"}
#: The secrets that it gets: its own key, and the file in which it looks for one.
_KEPT = "WANDB_", "NETRC"


@dataclass(frozen=True, slots=True)
class Plan:
    """A child's first line.

    Attributes:
        run: id of the run. name: the same for people.
        folder: for the library's files.
        seconds: in which it may finish.
    """

    project: str
    run: str
    name: str
    folder: str
    config: Mapping[str, Any]
    seconds: int = _FINISH_S


def make_plan(
    project: str, folder: Path, network: bytes, netuid: int, hotkey: str, config: Mapping[str, Any]
) -> Plan:
    """The plan of a trainer's run, which has one id on every machine and after every restart.

    Args:
        network: digest of the network's first parameters.

    Raises:
        ConfigError: the tracker's library is not installed.
    """
    if find_spec("wandb") is None:
        raise ConfigError(
            'tracker = "wandb" needs wandb: install the extra `wandb` '
            "(pip install 'assay[wandb]')"
        )
    run = sha256(network + hotkey.encode()).hexdigest()[:16]
    return Plan(project, run, f"netuid{netuid}-{hotkey[:8]}-{run[:6]}", str(folder), config)


class Tracker:
    """Passes figures on to a child process. Its methods raise nothing.

    Attributes:
        lost: lines that were lost, because the child was away or too slow.
    """

    def __init__(self, plan: Plan, again_s: float = _AGAIN_S) -> None:
        self.lost = 0
        self._plan, self._again_s = plan, again_s
        self._queue = queue.Queue[bytes | None](_WAITING)
        self._child: subprocess.Popen[bytes] | None = None
        self._due = 0.0  # when a child may be started
        self._closing = False  # no other child is started
        self._thread = threading.Thread(target=self._serve, name="tracker", daemon=True)
        self._thread.start()

    def log(self, axis: str, at: int, figures: Mapping[str, float]) -> None:
        """Take figures at a place of an axis, such as a window. Never waits."""
        try:
            self._queue.put_nowait(json.dumps([axis, at, figures]).encode() + b"\n")
        except queue.Full:
            self._lose("its process takes no more figures")

    def close(self) -> None:
        """Let the child finish what it has, within seconds, and end it."""
        end = time.monotonic() + _FINISH_S + _KILL_S
        with suppress(queue.Full):
            self._queue.put(None, timeout=_FINISH_S)
        self._thread.join(end - time.monotonic())
        if not self._thread.is_alive():
            return
        self._closing = True
        child = self._child
        if child is not None:  # it reads no more, or does not end
            _kill(child)
        with suppress(queue.Full):  # where the queue was full, the thread has not seen an end
            self._queue.put(None, timeout=_KILL_S)
        self._thread.join(_KILL_S)

    def _serve(self) -> None:
        while (line := self._queue.get()) is not None:
            if self._child is None and not self._closing and time.monotonic() >= self._due:
                self._start()
            if self._child is None or not self._send(self._child, line):
                self._lose("its process ended")
        if self._child is not None:
            self._end(self._child)
            self._child = None

    def _start(self) -> None:
        self._due = time.monotonic() + self._again_s
        folder = Path(self._plan.folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / LOG_FILE).open("wb") as output:
                child = subprocess.Popen(
                    [sys.executable, "-P", "-c", _BOOT],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C is the trainer's
                    env=_QUIET | list_plain_variables(*_KEPT),
                )
        except OSError as error:
            logger.warning("the tracker cannot start: %s", error, extra={"event": "tracker_lost"})
            return
        if self._send(child, json.dumps(asdict(self._plan)).encode() + b"\n"):
            self._child = child

    def _send(self, child: "subprocess.Popen[bytes]", line: bytes) -> bool:
        """Return False if the child has ended."""
        assert child.stdin is not None
        try:
            child.stdin.write(line)
            child.stdin.flush()
        except OSError:
            self._end(child)
            self._child = None
            return False
        return True

    def _end(self, child: "subprocess.Popen[bytes]") -> None:
        assert child.stdin is not None
        with suppress(OSError):
            child.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            child.wait(_FINISH_S)
        _kill(child)
        child.wait()

    def _lose(self, why: str) -> None:
        self.lost += 1
        if self.lost & (self.lost - 1) == 0:  # the first, second, fourth …
            logger.warning(
                "the tracker has lost %d lines of figures: %s; %s has its output",
                self.lost,
                why,
                Path(self._plan.folder) / LOG_FILE,
                extra={"event": "tracker_lost"},
            )


def _kill(child: "subprocess.Popen[bytes]") -> None:
    """End a child and its process group, which has its id as long as one of them lives. wandb-core
    is in a session of its own, and ends itself when its parent is gone."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
