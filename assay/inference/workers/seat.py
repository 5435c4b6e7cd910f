"""One worker's place in a pool: its process, its loaded checkpoints, its deadlines.

It does not know other workers, nor the origin of a request.
"""

import logging
from dataclasses import dataclass, field
from typing import Any

from assay.inference.placing.devices import DeviceError
from assay.inference.workers.messages import (
    HEADER_BYTES_MAX,
    ModelRequest,
    Prefill,
    WorkerFault,
    WorkerReply,
    WorkerSettings,
    compute_reply_max,
    decode_reply,
    encode_load,
    encode_start,
)
from assay.inference.workers.worker import KEPT, get_worker_software
from assay.sandbox import Budget, Lost, Sandbox, WorkerError

logger = logging.getLogger("assay")

#: Least tokens of a pass whose pace counts.
_NOTED_TOKENS = 1_024
#: Processor seconds of a request: no real limit, since a deadline bounds it. A child counts in ms.
_PROCESSOR_S = 4e6


@dataclass(frozen=True, slots=True)
class Patience:
    """The deadlines of a worker. They are generous: they end a hanging worker, not a slow one.

    Attributes:
        start_s: for starting and finding the device; on a cluster, also for waiting until there is
            room.
        load_s, load_bytes_s: for loading a checkpoint: the minimum, and the bytes of its files per
            second on top.
        pass_s: the minimum for a forward pass.
        tokens_s, appeal_tokens_s: expected tokens per second before any pass is measured; the
            latter for appeals, which may run on a CPU.
        slower: how many times as slow as the slowest so far a pass may be.
    """

    start_s: float = 180.0
    load_s: float = 120.0
    load_bytes_s: float = 20e6
    pass_s: float = 60.0
    tokens_s: float = 20.0
    appeal_tokens_s: float = 5.0
    slower: float = 10.0


@dataclass(slots=True)
class Pace:
    """Tokens per second of the slowest pass so far, of all workers. Short passes do not count,
    since most of their time does not depend on tokens."""

    slowest: float | None = None

    def note(self, tokens: int, seconds: float) -> None:
        if seconds > 0 and tokens >= _NOTED_TOKENS:
            rate = tokens / seconds
            self.slowest = rate if self.slowest is None else min(self.slowest, rate)


@dataclass(eq=False)
class WorkerSeat:
    """One worker's place. Its holder uses it alone. An answer that is text says how the worker was
    lost.

    Attributes:
        is_ready: it has started and found its device.
        is_lost: it was lost over a request, and is not restarted yet.
        lost: how often it was lost.
        fault: why it is left out; None: it is not.
        description: the worker's own description.
        is_quiet: its state is not logged here, because the caller reports it.
    """

    name: str
    settings: WorkerSettings
    sandbox: Sandbox
    patience: Patience
    pace: Pace
    is_ready: bool = False
    loaded: list[bytes] = field(default_factory=list)  # digests, in the worker's order
    heard: set[bytes] = field(default_factory=set)  # of these, whose appeals it can hear
    is_held: bool = False
    is_lost: bool = False
    lost: int = 0
    fault: str | None = None
    description: dict[str, Any] = field(default_factory=dict)
    is_quiet: bool = False

    def look(self) -> bool:
        """Return whether it is available, after a restart if it had ended. Otherwise it is left
        out."""
        if self.is_ready and not self.sandbox.is_alive:  # it did not end because of a request
            self.sandbox.renew()
            self._forget()
        return self.is_ready or self.start() is None

    def start(self) -> Exception | None:
        """Start it. Return why it is left out, or None."""
        error = self._greet()
        if error is None:
            if self.fault is not None:
                logger.info("%s is back", self.name, extra={"event": "worker_back"})
            self.is_ready, self.fault = True, None
            return None
        if self.fault is None and not self.is_quiet:
            logger.warning(
                "%s is left out: %s", self.name, error, extra={"event": "worker_left_out"}
            )
        self._forget()
        self.fault = f"{self.name}: {error}"
        return error

    def note_lost(self, why: str) -> None:
        """Note that it has to be restarted."""
        self._forget()
        self.is_lost = True
        self.lost += 1
        if not self.is_quiet:
            logger.warning(
                "%s was lost and is restarted: %s", self.name, why, extra={"event": "worker_lost"}
            )

    def load(self, model: ModelRequest) -> WorkerReply | str:
        """Let it load a checkpoint."""
        size = sum(path.stat().st_size for path in model.folder.glob("*.safetensors"))
        seconds = self.patience.load_s + size / self.patience.load_bytes_s
        answer = self._ask_or_lose(encode_load(model), HEADER_BYTES_MAX, seconds)
        if isinstance(answer, WorkerReply) and answer.fault is None:
            self._note_loaded(model)
        return answer

    def measure(self, model: ModelRequest, prefill: Prefill, request: bytes) -> WorkerReply | str:
        """Let it run a pass, with a request that is encoded already."""
        if model.digest not in (self.heard if model.appeal else self.loaded):
            loaded = self.load(model)
            if isinstance(loaded, str) or loaded.fault is not None:
                return loaded
        seconds = self._compute_pass_s(prefill.tokens, model.appeal)
        answer = self._ask_or_lose(request, compute_reply_max(prefill), seconds)
        if isinstance(answer, WorkerReply) and answer.fault is None:
            if not model.appeal:
                self.pace.note(prefill.tokens, answer.seconds)
            self._note_loaded(model)
        return answer

    def _compute_pass_s(self, tokens: int, appeal: bool) -> float:
        patience, slowest = self.patience, self.pace.slowest
        pace = patience.tokens_s if slowest is None else slowest / patience.slower
        return patience.pass_s + tokens / (patience.appeal_tokens_s if appeal else pace)

    def _greet(self) -> Exception | None:
        """The reason why it cannot be used; None: it can."""
        try:
            reply = self._ask(encode_start(self.settings), HEADER_BYTES_MAX, self.patience.start_s)
        except WorkerError as error:
            return error
        if isinstance(reply, str):
            return WorkerError(reply)
        if reply.fault is not None or reply.description is None:
            self.sandbox.renew()
            kind = DeviceError if reply.fault is WorkerFault.DEVICE else WorkerError
            return kind(reply.detail)
        theirs, ours = reply.description.get("software"), get_worker_software()
        if theirs != ours:
            host = reply.description.get("host")
            return WorkerError(f"{host} has {theirs}, and this machine {ours}: install the same")
        self.description = dict(reply.description)
        return None

    def _ask_or_lose(self, request: bytes, most: int, seconds: float) -> WorkerReply | str:
        try:
            answer = self._ask(request, most, seconds)
        except WorkerError as error:
            answer = str(error)
        if isinstance(answer, str):
            self.note_lost(answer)
        return answer

    def _ask(self, request: bytes, most: int, seconds: float) -> WorkerReply | str:
        """Send a request and wait for the answer. Raises WorkerError: the worker cannot be run."""
        reply = self.sandbox.ask(request, most, Budget(_PROCESSOR_S), seconds, tries=1)
        return reply.cause if isinstance(reply, Lost) else decode_reply(reply)

    def _note_loaded(self, model: ModelRequest) -> None:
        """Update the list of loaded checkpoints as the worker does."""
        others = [other for other in self.loaded if other != model.digest]
        self.loaded = [*others, model.digest][-KEPT:]
        self.heard = (self.heard | {model.digest} if model.appeal else self.heard) & {*self.loaded}

    def _forget(self) -> None:
        self.is_ready = False
        self.loaded.clear()
        self.heard.clear()
