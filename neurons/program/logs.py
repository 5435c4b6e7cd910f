"""The log of a running program: lines on stderr, for people or as JSON, one event each.

Modules log through `logging` with `extra={"event": NAME}`. Alerts can rely on the name when a
sentence is reworded. docs/metrics.md lists the events. This module adds the program and the chain's
position to each line. A slow or absent reader costs lines, and never blocks the program.
"""

import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from queue import SimpleQueue
from threading import RLock, Thread
from typing import Any, TextIO

import structlog
from rich.console import Console
from structlog.typing import EventDict, WrappedLogger

from assay.network.text import make_printable, mask_secrets
from assay.neurons.program.status import ChainStatus, describe_countdown
from assay.protocol.parameters import Timing
from assay.protocol.window import compute_window
from assay.settings.sections import Settings

logger = logging.getLogger("assay")

#: Lines that may wait to be written; seconds that the last ones have at the end.
_WAITING, _END_S = 1_000, 2.0
#: Letters of a hotkey, and of a level, in a line for people.
_HOTKEY, _LEVEL = 4, 5


@dataclass(slots=True)
class LogContext:
    """The program of this process and the chain's position, for every line. `program` is miner,
    validator or trainer; `hotkey` is SS58."""

    program: str | None = None
    hotkey: str | None = None
    seen: ChainStatus | None = None
    timing: Timing | None = None

    def describe(self) -> dict[str, Any]:
        """The fields of a line; null as long as they are not known."""
        fields: dict[str, Any] = {"window": None, "phase": None, "hotkey": self.hotkey}
        head = None if self.seen is None else self.seen.head
        if head is not None and self.timing is not None:
            fields["window"] = compute_window(self.timing, head.number)
            countdown = describe_countdown(self.timing, fields["window"], head.number)
            fields["phase"] = countdown["phase"]
        return fields


#: The context of this process.
LOG_CONTEXT = LogContext()
#: Lines of this process so far, by level.
LINES: Counter[str] = Counter({"info": 0, "warning": 0, "error": 0})


@contextmanager
def log_lines(
    as_json: bool, quiet: bool, *others: str, program: str | None = None
) -> Iterator[None]:
    """Write lines to stderr for the duration of the block, for people or as one JSON document each.
    `quiet` keeps only warnings and errors. `others` are loggers of packages that log events too.
    `program` names the hotkey in lines for people."""
    LOG_CONTEXT.program = program
    handler = LineWriter(sys.stderr)
    handler.setFormatter(make_formatter(as_json, Console(stderr=True)))
    with ExitStack() as stack:
        stack.callback(handler.close)
        for name in ("assay", *others):
            stack.enter_context(_send_to(handler, logging.getLogger(name), quiet))
        try:
            yield
        finally:
            LOG_CONTEXT.program = LOG_CONTEXT.hotkey = None
            LOG_CONTEXT.seen = LOG_CONTEXT.timing = None


@contextmanager
def _send_to(handler: logging.Handler, root: logging.Logger, quiet: bool) -> Iterator[None]:
    before = root.level, root.propagate
    root.addHandler(handler)
    root.setLevel(logging.WARNING if quiet else logging.INFO)
    root.propagate = False
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before[0])
        root.propagate = before[1]


def wants_json(settings: Settings, as_json: bool) -> bool:
    """Return whether lines are JSON: if the settings say so, and beside a document on stdout."""
    return as_json or settings.log.format == "json"


def make_report(event: str, level: int = logging.INFO) -> Callable[[str], None]:
    """A function that logs each sentence as a line of one event, for a neuron's reports."""
    return partial(logger.log, level, "%s", extra={"event": event})


def make_formatter(as_json: bool, console: Console) -> logging.Formatter:
    """A formatter that turns a record into a line. `console` says whether to use colours: none
    under NO_COLOR and in files."""
    coloured = console.is_terminal and not console.no_color
    document = structlog.processors.JSONRenderer(default=str)
    render = [_stamp, document] if as_json else [partial(_write_sentence, coloured)]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            _keep_message,
            structlog.stdlib.add_log_level,
            structlog.stdlib.ExtraAdder(),
            _add_origin,
            _mask_secrets,
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
    )


def _keep_message(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Rename the sentence's field, because `event` holds the event's name."""
    return {"at": event["_record"].created, **event, "message": event["event"], "event": "note"}


def _add_origin(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event.update(LOG_CONTEXT.describe())
    return event


def _mask_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Mask secrets as a last guard: callers should have left them out of addresses already."""
    return {
        key: mask_secrets(value) if isinstance(value, str) else value
        for key, value in event.items()
    }


def _stamp(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    at = datetime.fromtimestamp(event["at"], UTC)
    event["at"] = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return event


def _write_sentence(coloured: bool, _: WrappedLogger, __: str, event: EventDict) -> str:
    """A line for people: time, level, the known ones of window, phase and hotkey, and the
    sentence."""
    level, program = event["level"], LOG_CONTEXT.program
    printable = make_printable(event["message"])
    if program is not None:  # its hotkey's field names it already
        printable = printable.removeprefix(f"{program}: ")
    clock = time.strftime("%H:%M:%S", time.localtime(event["at"]))
    fields = {
        "window": event["window"],
        "phase": event["phase"] and event["phase"].lower(),
        program or "hotkey": event["hotkey"] and f"{event['hotkey'][:_HOTKEY]}…",
    }
    where = " ".join(f"{name}={value}" for name, value in fields.items() if value is not None)
    mark = level.replace("warning", "warn").upper().ljust(_LEVEL)
    rest = f"{where}  " if where else ""
    if not coloured:
        return f"{clock} {mark} {rest}{printable}"
    shade = {"warning": "\x1b[33m", "error": "\x1b[31m"}.get(level, "")
    return (
        f"\x1b[2m{clock}\x1b[0m {shade}{mark}\x1b[0m \x1b[2m{rest}\x1b[0m{shade}{printable}\x1b[0m"
    )


class LineWriter(logging.Handler):
    """Writes lines in its own thread, so that logging never waits for a reader.

    Args:
        stream: the destination. Its file is written to directly, because a thread that is stuck in
            a stream would hold its lock for ever.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        # a queue that a signal handler may use while the same thread is in `put`
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._lost = 0
        self._counting = RLock()
        self._thread = Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line, or count it as lost."""
        LINES[record.levelname.lower()] += 1
        if self._lines.qsize() < _WAITING:
            self._lines.put(self.format(record))
        else:
            self._lose()

    def close(self) -> None:
        """Wait briefly for the lines that are still to be written."""
        self._lines.put(None)
        self._thread.join(_END_S)
        super().close()

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._write(line + "\n")
                if self._lost:
                    self._log_lost()
            except (OSError, ValueError):  # the reader closed it
                self._lose()

    def _log_lost(self) -> None:
        """Log how many lines are missing."""
        with self._counting:
            lost, self._lost = self._lost, 0
        record = logger.makeRecord(
            logger.name,
            logging.WARNING,
            __file__,
            0,
            "%d lines were dropped: nobody read them",
            (lost,),
            None,
            extra={"event": "lines_lost"},
        )
        self._write(self.format(record) + "\n")

    def _lose(self) -> None:
        with self._counting:
            self._lost += 1

    def _write(self, text: str) -> None:
        try:
            file = self._stream.fileno()
        except OSError:  # no file: in a test
            self._stream.write(text)
            return
        data = text.encode(errors="replace")
        while data:
            data = data[os.write(file, data) :]
