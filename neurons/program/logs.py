"""What a program says while it runs: lines on stderr, for people or as JSON, one event each.

Modules log through `logging`, with `extra={"event": NAME}`: the name stays when a sentence is
written better, so alerts hang on it. Here a line gets who says it and where the chain is. A reader
that is slow or gone costs lines, never the program.
"""

import logging
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from queue import SimpleQueue
from threading import RLock, Thread
from typing import Any, TextIO

import structlog
from rich.console import Console
from structlog.typing import EventDict, WrappedLogger

from assay.neurons.program.program_status import ChainStatus, describe_countdown
from assay.neurons.settings.sections import Settings
from assay.protocol.parameters import Timing
from assay.protocol.window import compute_window

logger = logging.getLogger("assay")

#: Event → when a program says so.
EVENTS: dict[str, str] = {
    "beacon_back": "the round that was waited for is there",
    "beacon_cache_damaged": "the file of rounds kept on disk is put aside and begun anew",
    "beacon_cache_unwritable": "rounds are no longer kept on disk",
    "beacon_late": "a round is due and not to be had",
    "beacon_missed": "a window is abstained from: its beacon did not come",
    "blocks_passed_over": "epochs are too long ago to be settled",
    "cached_round_false": "a round kept on disk is not the chain's",
    "chain_state_unwritable": "state read from the chain cannot be kept on disk",
    "check_failed": "something that the program needs is not as it should be, and what to do",
    "checkpoint_progress": "how far a download is, every ten seconds",
    "client_left": "development chain: a client does not read",
    "clock_doubted": "a round is due far in the future by this machine's clock, or no longer",
    "connection_closed": "debugging: a connection ended with an error",
    "defect": "an error of ours, written out in full; the step is tried again",
    "devnet_described": "development chain: what it is",
    "devnet_failed": "development chain: it has stopped",
    "devnet_started": "development chain: it serves",
    "drand_signature_false": "development chain: a false round",
    "epoch_settled": "a settlement, and how many it pays",
    "explorer_trouble": "explorer: what it cannot read or run; pages say less",
    "file_unread": "debugging: why a miner's file cannot be read, as this machine's network has it",
    "head_denied": "a node claims a final block that time does not allow",
    "head_still": "a node shows no new final block; another is looked for",
    "held_out_tried": "a checkpoint's held-out accuracy",
    "joined": "which subnet, parameters and hotkey the program works for",
    "judge_broken": "an error of ours in judging a file, written out in full; it is judged again",
    "lesson_learned": "a window's lesson: groups, reward, checkpoint",
    "lines_lost": "how many lines nobody read in time",
    "metrics_request_failed": "debugging: what the metrics' server says of a request",
    "miner_note": "something about the miner's work that a person may want to know",
    "mirror_trouble": "what was audited is not, or not wholly, kept in the validator's own store",
    "network_founded": "localnet: a new subnet",
    "node_back": "a node answers again",
    "node_found": "which node and runtime the program reads from",
    "node_lost": "no node answers",
    "node_retried": "debugging: another attempt at a node",
    "node_set_aside": "a node of another chain, or with another history",
    "nodes_lag": "no node that answers has come as far as was seen",
    "parameters_changed": "the journal is of other parameters and begins afresh",
    "permit_missing": "weights are set without a permit",
    "post_conflict": "the ledger holds another entry of an epoch",
    "post_vanished": "a posted entry is gone from the EVM",
    "posting_resumed": "settlements are posted again",
    "posting_trouble": "what keeps settlements from the ledger",
    "publication_note": "what an owner should know of what is being published",
    "race_unanswered": "debugging: no relay had a round in time",
    "records_begun_again": "the database is new, and published records cannot be gone on from",
    "records_recovered": "the database is new, and published records are gone on from",
    "relay_failed": "debugging: a relay did not give a round",
    "relay_lied": "a relay gave a false answer and is set aside",
    "relays_unclosed": "connections to relays do not close",
    "runtime_upgraded": "the chain runs another runtime",
    "stake_weighed": "stake on this hotkey and on others",
    "status_unwritable": "status.json cannot be written",
    "stopped": "the program has ended as asked",
    "stopping": "the program was asked to end",
    "timelock_void": "development chain: timelocked weights cannot be opened",
    "trainer_note": "something about the trainer's course that a person may want to know",
    "training_diverged": "reward rises while held-out accuracy falls",
    "trouble": "what keeps the program from working, said once",
    "trouble_over": "the trouble said last is over",
    "window_final": "a validator's window: how many verdicts of each reason",
    "window_judged": "a miner's own verdict on its window",
}
#: Lines that wait to be written, and seconds that the last ones have at the end.
_WAITING, _END_S = 1_000, 2.0
#: What may be a secret in an address: who logs in, and signatures and keys after the `?`.
_USER = re.compile(r"(://)[^/\s@]+@")
_KEY = re.compile(r"(?i)([?&][\w.-]*(?:sig|token|key|secret|passw|credential)[\w.-]*=)[^&\s\"']+")
#: Letters of a hotkey, and of a phase, in a line for people.
_SHOWN = 11


@dataclass(slots=True)
class LogContext:
    """Who speaks and where the chain is: on every line. A process is one program.

    Attributes:
        hotkey: SS58.
    """

    hotkey: str | None = None
    seen: ChainStatus | None = None
    timing: Timing | None = None

    def describe(self) -> dict[str, Any]:
        """The fields of a line; null as long as they are not known."""
        found: dict[str, Any] = {"window": None, "phase": None, "hotkey": self.hotkey}
        head = None if self.seen is None else self.seen.head
        if head is not None and self.timing is not None:
            found["window"] = compute_window(self.timing, head.number)
            countdown = describe_countdown(self.timing, found["window"], head.number)
            found["phase"] = countdown["phase"]
        return found


#: Of this process.
LOG_CONTEXT = LogContext()
#: Lines of this process so far, by level.
LINES: Counter[str] = Counter({"info": 0, "warning": 0, "error": 0})


@contextmanager
def log_lines(as_json: bool, quiet: bool) -> Iterator[None]:
    """Lines on stderr for as long as it lasts: for people, or one JSON document each.

    Args:
        quiet: warnings and errors only.
    """
    handler = LineWriter(sys.stderr)
    handler.setFormatter(make_formatter(as_json, Console(stderr=True)))
    root = logging.getLogger("assay")
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
        handler.close()
        LOG_CONTEXT.hotkey = LOG_CONTEXT.seen = LOG_CONTEXT.timing = None


def wants_json(settings: Settings, as_json: bool) -> bool:
    """Whether lines are documents: as settings say, and always beside a document on stdout."""
    return as_json or settings.log.format == "json"


def make_report(event: str) -> Callable[[str], None]:
    """What a neuron is given to say something with: each sentence becomes a line of one event."""
    return partial(logger.info, "%s", extra={"event": event})


def make_formatter(as_json: bool, console: Console) -> logging.Formatter:
    """Turns a record into a line.

    Args:
        console: says whether colours are wanted; NO_COLOR and files want none.
    """
    coloured = console.is_terminal and not console.no_color
    document = structlog.processors.JSONRenderer(default=str)
    render = [_stamp, document] if as_json else [_Sentence(coloured)]
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
    """The sentence makes way for the event's name."""
    return {"at": event["_record"].created, **event, "message": event["event"], "event": "note"}


def _add_origin(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event.update(LOG_CONTEXT.describe())
    return event


def _mask_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A last guard: whoever puts an address into a sentence should have left them out."""
    return {
        key: mask_secrets(value) if isinstance(value, str) else value
        for key, value in event.items()
    }


def mask_secrets(text: str) -> str:
    """A text whose addresses name no user, password, signature or key."""
    return _KEY.sub(r"\1…", _USER.sub(r"\1…@", text))


def _stamp(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    at = datetime.fromtimestamp(event["at"], UTC)
    event["at"] = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return event


class _Sentence:
    """A line for people: time, window, phase, hotkey, and the sentence."""

    def __init__(self, coloured: bool) -> None:
        self._coloured = coloured

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> str:
        level, message = event["level"], event["message"]
        said = "".join(c if c.isprintable() or c == "\n" else "?" for c in message)
        if level not in ("debug", "info"):
            said = f"{level}: {said}"
        clock = time.strftime("%H:%M:%S", time.localtime(event["at"]))
        known = (event[name] for name in ("window", "phase", "hotkey"))
        where = " ".join("–" if value is None else str(value)[:_SHOWN] for value in known)
        if not self._coloured:
            return f"{clock}  {where}  {said}"
        shade = {"warning": "\x1b[33m", "error": "\x1b[31m"}.get(level, "")
        return f"\x1b[2m{clock}  {where}\x1b[0m  {shade}{said}\x1b[0m"


class LineWriter(logging.Handler):
    """Writes lines in a thread of its own, so that who logs never waits for who reads.

    Args:
        stream: where to; its file is written to directly, since a thread that is stuck in a
            stream would hold its lock for ever.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        # one that a signal's handler may put into while the same thread puts
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._lost = 0
        self._counting = RLock()
        self._thread = Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a line, or counts it as lost."""
        LINES[record.levelname.lower()] += 1
        if self._lines.qsize() < _WAITING:
            self._lines.put(self.format(record))
        else:
            self._lose()

    def close(self) -> None:
        """Waits for what is still to be written, not for long."""
        self._lines.put(None)
        self._thread.join(_END_S)
        super().close()

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._write(line + "\n")
                if self._lost:
                    self._tell()
            except (OSError, ValueError):  # closed by whoever read it
                self._lose()

    def _tell(self) -> None:
        """Says how many lines are missing."""
        with self._counting:
            lost, self._lost = self._lost, 0
        record = logger.makeRecord(
            logger.name,
            logging.WARNING,
            __file__,
            0,
            "%d lines were lost: nobody read them",
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
        except OSError:  # no file: a test's
            self._stream.write(text)
            return
        data = text.encode(errors="replace")
        while data:
            data = data[os.write(file, data) :]
