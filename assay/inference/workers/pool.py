"""A pool of workers behind the judge's `Forward`: free ones get requests, failed ones are replaced.

Safe to use from several threads, each of which waits for its own answer. The pool does not know
what is judged, nor in which order.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assay.inference.checkpoint import Checkpoint, FolderModels, load_outline
from assay.inference.folder import CheckpointError, UnusableCheckpointError
from assay.inference.placement import Placement
from assay.inference.placing.devices import DeviceError, MemoryLackError
from assay.inference.workers.messages import (
    ModelRequest,
    Prefill,
    WorkerFault,
    WorkerReply,
    WorkerSettings,
    encode_measure,
)
from assay.inference.workers.seat import Pace, Patience, WorkerSeat
from assay.protocol.episode import Reply
from assay.protocol.errors import Trouble, TroubleKind
from assay.sandbox import Sandbox, WorkerError, make_remote_sandbox, share_preloaded
from assay.sandbox.usage import using
from assay.verification import Forward, Measurement, Projection

logger = logging.getLogger("assay")

#: Workers that a request may cost before the request is considered at fault.
TRIES = 3
#: Seconds between two checks for workers that may have come back.
RETRY_S = 60.0

_Ask = Callable[[WorkerSeat], WorkerReply | str]


class BrokenForwardError(RuntimeError):
    """A forward pass that broke in a worker, or cost several workers: our own fault."""


class NoWorkerError(WorkerError):
    """No worker is left, for any request."""


class WorkerMemoryError(WorkerError):
    """No worker that was asked had the memory for this request."""


#: Errors of a pass for which memory does not suffice, in this process or in workers.
MEMORY_LACKS = (MemoryLackError, WorkerMemoryError)


@dataclass(frozen=True, slots=True)
class WorkerState:
    """The state of a worker.

    Attributes:
        device: as in the settings.
        host, pid: None before it has started.
        lost: how often it was lost.
        fault: why it is left out; None: it is not.
    """

    device: str
    host: str | None
    pid: int | None
    lost: int
    fault: str | None


class WorkerPool:
    """Workers, one for each device.

    Args:
        settings: of each worker.
        make_sandbox: makes a worker's process from its name, its settings and the seconds that it
            has to start. The process starts when it is needed.
        patience: see `Patience`.
        retry_s: see `RETRY_S`.

    Raises (loading and measuring):
        WorkerError: no worker is left; says what happened to them.
    """

    def __init__(
        self,
        settings: Sequence[WorkerSettings],
        make_sandbox: Callable[[str, WorkerSettings, float], Sandbox],
        patience: Patience | None = None,
        retry_s: float = RETRY_S,
    ) -> None:
        self._patience = patience or Patience()
        self._seats: list[WorkerSeat] = []
        pace = Pace()
        for number, setting in enumerate(settings):
            name = f"worker {number} on {setting.device}"
            sandbox = make_sandbox(name, setting, self._patience.start_s)
            self._seats.append(WorkerSeat(name, setting, sandbox, self._patience, pace))
        self._free = threading.Condition()
        self._waited = threading.local()
        self._closed = threading.Event()
        self._retry_s = retry_s
        threading.Thread(target=self._revive, name="workers", daemon=True).start()

    @property
    def count(self) -> int:
        """The number of workers, including those left out."""
        return len(self._seats)

    @property
    def is_working(self) -> bool:
        """Return whether any worker is left."""
        return any(seat.fault is None for seat in self._seats)

    @property
    def trouble(self) -> Trouble | None:
        """The trouble that a person should fix; None while all work."""
        lacks = [seat.fault for seat in self._seats if seat.fault is not None]
        if not lacks:
            return None
        rest = len(self._seats) - len(lacks)
        if not rest:
            return Trouble(TroubleKind.OTHER, f"no worker is left to judge: {lacks[0]}")
        return Trouble(
            TroubleKind.OTHER,
            f"{len(lacks)} of {len(self._seats)} workers are left out until they are back: "
            f"{lacks[0]}; the others continue",
        )

    @property
    def waited_s(self) -> float:
        """Seconds that this thread has waited so far for a worker to be free."""
        waited: float = getattr(self._waited, "seconds", 0.0)
        return waited

    def describe(self) -> list[WorkerState]:
        """The state of each worker."""
        return [
            WorkerState(
                seat.settings.device,
                seat.description.get("host"),
                seat.description.get("pid"),
                seat.lost,
                seat.fault,
            )
            for seat in self._seats
        ]

    def start(self) -> None:
        """Start all workers in parallel.

        Raises:
            DeviceError: a named device does not exist.
            WorkerError: none can be started.
        """
        for seat in self._seats:
            seat.is_quiet = True
        with ThreadPoolExecutor(len(self._seats)) as threads:
            missing = list(threads.map(WorkerSeat.start, self._seats))
        absent = next((error for error in missing if isinstance(error, DeviceError)), None)
        if absent is not None:
            raise absent
        self._require_any()
        for seat in self._seats:
            seat.is_quiet = False
        if self.trouble is not None:
            logger.warning("%s", self.trouble, extra={"event": "worker_left_out"})

    def close(self) -> None:
        """End all workers, even busy ones. Threads that wait for one get a WorkerError."""
        self._closed.set()
        for seat in self._seats:
            seat.is_quiet = True
            seat.sandbox.stop()
        with self._free:
            self._free.notify_all()
        for seat in self._seats:
            seat.sandbox.close()

    def load(self, folder: Path, digest: bytes) -> Checkpoint:
        """The same as `load_checkpoint`, with the same errors, but only workers hold its
        tensors."""
        model = ModelRequest(folder, digest)
        try:
            self._run(digest, lambda seat: seat.load(model))
        except BrokenForwardError as error:
            raise CheckpointError(f"cannot load the model in {folder}: {error}") from None
        outline = load_outline(folder, digest)
        parts = outline.manifest, outline.calibration, outline.tokenizer
        models = FolderModels(folder, Placement(), outline.manifest.router_ramp)
        problems = outline.piece_pool
        return PooledCheckpoint(*parts, folder, models, self, model, piece_pool=problems)

    def measure(self, model: ModelRequest, prefill: Prefill) -> list[Measurement]:
        """Run one forward pass on one worker.

        Raises:
            BrokenForwardError: it broke, or cost as many workers as it may.
            WorkerError: no worker has the needed resources at present.
        """
        request = encode_measure(model, prefill)
        try:
            reply = self._run(model.digest, lambda seat: seat.measure(model, prefill, request))
        except UnusableCheckpointError:
            raise
        except CheckpointError as error:  # it could be loaded before: our own lack, for now
            raise WorkerError(str(error)) from None
        return list(reply.measured)

    # --- the choice of a worker

    def _run(self, digest: bytes, ask: _Ask) -> WorkerReply:
        """Send a request to a worker, and to another one if that fails."""
        failed: list[WorkerSeat] = []
        while True:
            seat = self._take(digest, failed)
            try:
                if not seat.look():
                    continue  # it is left out now, and does not count against the request
                reply = self._judge_answer(seat, ask(seat))
            finally:
                if seat.is_lost:
                    self._start_anew(seat)  # in the background: another worker gets the request
                else:
                    self._give_back(seat)
            if isinstance(reply, WorkerReply):
                return reply
            failed.append(seat)
            if self._count_failed(failed) >= TRIES:
                raise reply

    def _count_failed(self, failed: Sequence[WorkerSeat]) -> int:
        """The number of times that workers failed a request. Workers whose device is gone do not
        count. Where the number may be too high, waits until that is known."""
        with self._free:
            while True:
                blamed = [seat for seat in failed if seat.fault is None]
                if len(blamed) < TRIES or not any(seat.is_lost for seat in blamed):
                    return len(blamed)
                self._free.wait(self._patience.start_s)  # starting a worker has a deadline

    def _judge_answer(self, seat: WorkerSeat, answer: WorkerReply | str) -> WorkerReply | Exception:
        """The answer, or the exception to raise if every other attempt fails in the same way.
        Raises errors that no other worker would avoid."""
        if isinstance(answer, str):
            return BrokenForwardError(f"{seat.name} was lost: {answer}")
        fault, detail = answer.fault, answer.detail
        if fault is None:
            return answer
        if fault is WorkerFault.UNUSABLE:
            raise UnusableCheckpointError(detail)
        if fault is WorkerFault.BROKEN:
            raise BrokenForwardError(detail)
        if fault is WorkerFault.CHECKPOINT:
            return CheckpointError(detail)
        seat.sandbox.renew()  # only a new process gives back the memory, or finds a lost device
        seat.note_lost(f"{fault}: {detail}")
        kind = WorkerMemoryError if fault is WorkerFault.MEMORY else WorkerError
        return kind(f"{seat.name}: {detail}")  # our own lack: the request is retried later

    def _take(self, digest: bytes, failed: Sequence[WorkerSeat]) -> WorkerSeat:
        """Take a free worker: at best one that has the checkpoint, at worst one that has failed at
        this request."""
        began = time.monotonic()
        with self._free:
            while True:
                self._require_any()
                free = [seat for seat in self._seats if not seat.is_held and seat.fault is None]
                if free:
                    seat = min(free, key=lambda s: (s in failed, digest not in s.loaded))
                    seat.is_held = True
                    self._waited.seconds = self.waited_s + time.monotonic() - began
                    return seat
                # every holder has a deadline
                self._free.wait(self._patience.start_s)

    def _give_back(self, seat: WorkerSeat) -> None:
        with self._free:
            seat.is_held = seat.is_lost = False
            self._free.notify_all()

    def _start_anew(self, seat: WorkerSeat) -> None:
        """Restart a worker in its own thread, and then give it back."""

        def start() -> None:
            try:
                seat.start()
            finally:
                self._give_back(seat)

        threading.Thread(target=start, name="start a worker", daemon=True).start()

    def _require_any(self) -> None:
        if self._closed.is_set():
            raise NoWorkerError("the workers are closed")
        if not self.is_working:
            raise NoWorkerError(str(self.trouble))

    def _revive(self) -> None:
        """Check now and then for workers that were left out."""
        while not self._closed.wait(self._retry_s):
            for seat in self._seats:
                with self._free:
                    if seat.fault is None or seat.is_held:
                        continue
                    seat.is_held = True
                try:
                    seat.start()
                finally:
                    self._give_back(seat)


@dataclass(frozen=True)
class PooledCheckpoint(Checkpoint):
    """A checkpoint that workers run. `models` would load it in this process; judging does not read
    it."""

    pool: WorkerPool
    named: ModelRequest  # its name for workers

    def get_forward(self, temperature: int) -> Forward:
        """See `Checkpoint`."""
        return PooledForward(self.pool, replace(self.named, temperature=temperature))

    def get_appeal(self, temperature: int) -> Forward:
        """See `Checkpoint`."""
        named = replace(self.named, temperature=temperature, appeal=True)
        return PooledForward(self.pool, named)


@dataclass(frozen=True, slots=True)
class PooledForward:
    """The judge's `Forward`: each call is one request to one worker."""

    pool: WorkerPool
    model: ModelRequest

    def measure(
        self,
        prompts: Sequence[Sequence[int]],
        completions: Sequence[NDArray[np.uint32]],
        seeds: Sequence[bytes],
        projection: Projection,
        replies: Sequence[Sequence[Reply]] | None = None,
    ) -> list[Measurement]:
        """See `assay.verification.Forward`, `WorkerPool.measure`."""
        prefill = Prefill(prompts, completions, seeds, projection, replies)
        with using("workers"):
            return self.pool.measure(self.model, prefill)


#: The worker's module; code of a child process of ours; an actor of a cluster.
WORKER = "assay.inference.workers.worker"
_BOOT = f"from {WORKER} import serve_worker; serve_worker()"
_ACTOR = f"{WORKER}:Worker"


def make_local_sandbox(name: str, settings: WorkerSettings, seconds: float) -> Sandbox:
    """A worker on this machine. Workers on its CPUs are forks of one process; a GPU has no
    forks."""
    preloaded = share_preloaded(WORKER) if settings.device == "cpu" else None
    return Sandbox("worker", _BOOT, seconds, starts=2, preloaded=preloaded)


def make_cluster_sandbox(
    address: str, name: str, settings: WorkerSettings, seconds: float
) -> Sandbox:
    """A worker on a host that Ray chooses. A worker on a GPU has that GPU alone."""
    gpus = int(settings.device != "cpu")
    return make_remote_sandbox("worker", address, _ACTOR, settings.threads, gpus, seconds)


@contextmanager
def open_workers(
    settings: Sequence[WorkerSettings],
    address: str | None = None,
    patience: Patience | None = None,
    retry_s: float = RETRY_S,
) -> Iterator[WorkerPool]:
    """Start workers, and end them after the block.

    Args:
        settings: of each.
        address: of the Ray cluster whose hosts they run on; None: this machine. On a cluster a
            worker has its own GPU and sees no other, whatever number its device has.

    Raises:
        DeviceError, WorkerError: see `WorkerPool.start`.
    """
    make_sandbox = make_local_sandbox
    if address is not None:
        make_sandbox = partial(make_cluster_sandbox, address)
        settings = [
            one if one.device == "cpu" else replace(one, device="cuda:0") for one in settings
        ]
    pool = WorkerPool(settings, make_sandbox, patience, retry_s)
    try:
        pool.start()
        yield pool
    finally:
        pool.close()
