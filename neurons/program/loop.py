"""A neuron as a program: its folder, its loop, how it stops, and its reports.

This is the outermost loop. A failure that a person can fix is reported in one line and retried. A
defect of ours is logged in full and retried too, because a validator that is paid to run should not
end over one file. Only a failure that waiting cannot fix ends the program.
"""

import logging
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from types import FrameType

from assay.artifacts.status.program import RUNNING, STOPPED, LoopStatus, ProgramStatus
from assay.network.chain.errors import WrongChainError
from assay.network.files import remove_unfinished, take_lock, write_json
from assay.network.text import hide
from assay.neurons.ports import Neuron
from assay.neurons.program.counters import LoopHooks
from assay.neurons.program.logs import LINES
from assay.neurons.program.status import describe_loop
from assay.protocol.errors import OperatorError, Trouble, TroubleKind
from assay.settings.loading import ConfigError

logger = logging.getLogger("assay")

#: Seconds between two looks at the chain when there is nothing to do.
IDLE_S = 0.5
#: Longest pause before a failed step is retried, seconds. Pauses double up to this.
LONGEST_PAUSE_S = 60.0
#: Defects in a row after which the program exits. Its supervisor then restarts it from its folder.
DEFECTS_MAX = 10
#: Characters of a trouble that are repeated when it is over.
_SHORT = 60
#: Prefix of the name of the file that says who owns the folder.
_MARKER = ".assay-"
#: The program's status, in its folder.
STATUS_FILE = "status.json"
#: Seconds between two checks of the status's age, and its greatest age.
STATUS_S, HEARTBEAT_S = 1.0, 10.0


class ParametersChangedError(OperatorError):
    """The parameters that this program knows have no work left: the owner has published another
    network, or an amendment that cannot be read here."""

    trouble_kind = TroubleKind.PARAMETERS


def is_running(folder: Path, kind: str) -> bool:
    """Return whether a program of that kind holds the folder now."""
    try:
        file = (folder / f"{_MARKER}{kind}").open("a")
    except OSError:
        return False
    with file:
        return not take_lock(file.fileno())


@contextmanager
def claim_folder(folder: Path, kind: str, *, alone: bool = False) -> Iterator[None]:
    """Reserve a folder for this program for as long as it runs, and delete half-written files of a
    killed one.

    Args:
        kind: the program whose files the folder holds. Another program's files are refused.
        alone: any other files are refused, too.

    Raises:
        ConfigError: the folder is another program's, in use, or not writable.
    """
    marker = folder / f"{_MARKER}{kind}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = [p.name for p in folder.glob(_MARKER + "*") if p.name != marker.name]
        if others:
            raise ConfigError(f"{folder} has files of {others[0][1:]}: name another folder")
        if alone and not marker.exists() and any(folder.iterdir()):
            raise ConfigError(f"{folder} is not empty, and not a {kind}'s: name another with --dir")
        file = marker.open("a")
    except OSError as error:
        raise _explain(folder, error) from None
    with file:
        if not take_lock(file.fileno()):
            raise ConfigError(f"another {kind} runs in {folder}: name another folder")
        try:
            remove_unfinished(folder, _MARKER + "*")
        except OSError as error:
            raise _explain(folder, error) from None
        yield


def _explain(folder: Path, error: OSError) -> ConfigError:
    if isinstance(error, FileExistsError | NotADirectoryError):
        return ConfigError(f"{folder} is not a folder, or is below a file: name a folder")
    return ConfigError(
        f"cannot write to {folder} ({error.strerror}): name a folder you may write to"
    )


@contextmanager
def catch_signals(stop_retrying: Callable[[], None]) -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets. A second signal ends the program at once. The first
    calls `stop_retrying`, so that nothing waits for a peer that does not answer.

    A handler runs between two instructions of the main thread, which may just hold the event's own
    lock: setting the event there could wait for ever. So the handler writes a byte, and a thread
    that reads it does the rest.
    """
    stop = threading.Event()
    received: list[int] = []
    end, start = os.pipe()

    def ask(number: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        os.write(start, b"!")

    def wait() -> None:
        with os.fdopen(end, "rb", buffering=0) as pipe:
            if not pipe.read(1):  # closed: the program ends by itself
                return
        stop.set()
        stop_retrying()
        logger.info("stopping after this step; repeat to stop at once", extra={"event": "stopping"})

    waiter = threading.Thread(target=wait, name="signals", daemon=True)
    waiter.start()
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(start)
        waiter.join(5.0)


class ProgramLoop:
    """Drives one neuron until it is asked to stop.

    Args:
        describe: returns the program's `status.json`. It is given a function that returns the
            loop's fields, and calls it last: the counters then have what describing counts.
        check: called before each step. It raises an error that must end the program, and returns a
            problem that a person should fix meanwhile.
        watch: called with each new status.
    """

    def __init__(
        self,
        neuron: Neuron,
        folder: Path,
        stop: threading.Event,
        describe: Callable[[Callable[[], LoopStatus]], ProgramStatus],
        check: Callable[[], Trouble | None],
        watch: LoopHooks | None = None,
    ) -> None:
        self._neuron = neuron
        self._file = folder / STATUS_FILE
        self._stop = stop
        self._describe = describe
        self._check = check
        self._watch = watch or LoopHooks()
        self._trouble: Trouble | None = None
        self._defects = 0
        self._pause_s = IDLE_S
        self._started_at = int(time.time())
        self._known: ProgramStatus | None = None
        self._looked = self._written = float("-inf")
        self._unwritten = False
        self._watch.beat = self._beat

    def run(self) -> None:
        """Run until asked to stop. Raises WrongChainError, ParametersChangedError: it makes no
        sense to continue. RuntimeError: the same program failed `DEFECTS_MAX` times in a row."""
        try:
            while not self._stop.is_set():
                busy = self._step()
                self._write(RUNNING)
                if not busy:
                    self._stop.wait(self._pause_s)
        finally:
            self._write(STOPPED)

    def _step(self) -> bool:
        """Run one step. Return whether there is more to do at once."""
        try:
            missing = self._check()
            began = time.perf_counter()
            busy = self._neuron.step()
            if busy:
                self._watch.tally.add("steps")
                self._watch.tally.add("step_seconds", time.perf_counter() - began)
        except (WrongChainError, ParametersChangedError):
            raise
        except Exception as error:  # noqa: BLE001 - the outermost loop of a neuron
            self._fail(error)
            return False
        self._defects, self._pause_s = 0, IDLE_S
        self._log_trouble(self._neuron.trouble or missing)
        return busy

    def _fail(self, error: Exception) -> None:
        self._pause_s = min(2 * max(self._pause_s, 1.0), LONGEST_PAUSE_S)
        if isinstance(error, OperatorError | OSError):
            self._watch.tally.add("step_failures", label="outside")
            self._log_trouble(Trouble.from_error(error))
            return
        self._watch.tally.add("step_failures", label="defect")
        self._defects += 1
        logger.error(
            "a defect in assay, tried again in %g s:\n%s",
            self._pause_s,
            hide("".join(traceback.format_exception(error))),
            extra={"event": "defect"},
        )
        if self._defects >= DEFECTS_MAX:
            raise RuntimeError(f"failed {self._defects} times in a row") from error

    def _log_trouble(self, trouble: Trouble | None) -> None:
        """Log a trouble once, and once more when it is over."""
        if trouble == self._trouble:
            return
        before, self._trouble = self._trouble, trouble
        if trouble is None:
            logger.info(
                "resolved: %s",
                shorten(str(before), _SHORT, placeholder=" …"),
                extra={"event": "trouble_over"},
            )
        else:
            logger.warning("%s", trouble, extra={"event": "trouble"})

    def _beat(self) -> None:
        """Write a sign of life during a long step, and what holds it up."""
        trouble = self._neuron.trouble
        if trouble is not None:
            self._log_trouble(trouble)
        self._write(RUNNING)

    def _describe_loop(self, state: str) -> LoopStatus:
        counts = self._watch.tally.read() | {"lines": dict(LINES)}
        return describe_loop(state, self._started_at, self._trouble, counts)

    def _write(self, state: str) -> None:
        """Write the status: after a change within a second, otherwise every ten seconds."""
        now = time.monotonic()
        if now - self._looked < STATUS_S and state == RUNNING:
            return
        self._looked = now
        try:
            known = self._describe(lambda: self._describe_loop(state))
            self._watch.note(known)
            old = now - self._written >= HEARTBEAT_S
            if not old and self._known and known | {"at": self._known["at"]} == self._known:
                return
            write_json(self._file, known, durable=False)  # the next status comes in seconds
            self._known, self._written = known, now
        except (OperatorError, OSError) as error:  # a full disk must not end the program
            if not self._unwritten:
                logger.warning(
                    "%s is not updated: %s", self._file, error, extra={"event": "status_unwritable"}
                )
            self._unwritten = True
        else:
            self._unwritten = False
