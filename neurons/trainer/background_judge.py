"""Judges a window's files with workers in background threads, while the trainer learns from the
window before, or tries or uploads its result.

The files and the checkpoint that judges them follow from the chain alone, and so do the verdicts:
timing changes nothing. This module does not know whether the trainer will learn from the window at
all. Without workers it is not used: a learner and a judge in one process share the device in turns.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Thread

from assay.artifacts.checkpoints.folder import CheckpointFolder, open_checkpoint
from assay.artifacts.submissions.judging_threads import judge_beside
from assay.inference.folder import CheckpointError
from assay.inference.workers.pool import WorkerPool
from assay.network.chain.errors import ChainError, WrongChainError
from assay.neurons.program.neuron import JudgeSources
from assay.neurons.trainer.lessons import WindowReading, find_waiting
from assay.protocol.parameters import Parameters
from assay.sandbox import WorkerError
from assay.session.window_reader import BeaconError, get_challenge, get_context

#: Seconds that a trainer waits for files that are being judged, before it does something else.
_WAIT_S = 0.5


@dataclass(slots=True, eq=False)
class JudgingRun:
    """The judging of one window's files. While it runs, no other code uses the reading."""

    reading: WindowReading
    hotkeys: list[bytes]
    is_done: Event = field(default_factory=Event)
    is_stopped: Event = field(default_factory=Event)
    left: list[bytes] = field(default_factory=list)  # not judged: no worker was left
    fault: str | None = None  # of the workers: why hotkeys are left
    defect: BaseException | None = None  # our own fault; the waiting thread raises it


class BackgroundJudge:
    """Judges windows with workers. Only the trainer's thread calls its methods.

    Args:
        checkpoints: the checkpoints whose models the workers of `pool` run.
        get_time: seconds of a clock that is never set.

    Attributes:
        runs: runs that are active, or whose results were not taken yet.
    """

    def __init__(
        self,
        pool: WorkerPool,
        checkpoints: CheckpointFolder,
        sources: JudgeSources,
        get_time: Callable[[], float],
    ) -> None:
        self.pool = pool
        self.checkpoints = checkpoints
        self._sources = sources
        self._get_time = get_time
        self.runs: list[JudgingRun] = []
        self._ahead: WindowReading | None = None  # begun before its turn

    def begin(self, reading: WindowReading) -> None:
        """Start to judge all waiting files."""
        run = JudgingRun(reading, reading.waiting)
        reading.waiting = []
        self.runs.append(run)
        Thread(target=self._run, args=(run,), name="judge a window", daemon=True).start()

    def holds(self, reading: WindowReading) -> bool:
        """Return whether its files are being judged, or have results to take."""
        return any(run.reading is reading for run in self.runs)

    def wait(self, reading: WindowReading) -> None:
        """Take the results of a window's files, if they are ready within a moment.

        Raises:
            WorkerError: no worker was left; files that were not judged wait again.
        """
        run = next(run for run in self.runs if run.reading is reading)
        if not run.is_done.wait(_WAIT_S):
            return
        self.runs.remove(run)
        reading.waiting += run.left
        if run.defect is not None:
            raise run.defect
        if run.left and run.fault is not None:
            raise WorkerError(run.fault)

    def begin_ahead(self, parameters: Parameters, window: int) -> None:
        """Start to judge a window's files before its turn, unless that has started or it is too
        early. Raises WrongChainError: the node speaks for another chain."""
        if self._ahead is not None:
            return
        chain, beacons = self._sources.chain, self._sources.beacons
        try:
            challenge = get_challenge(chain, beacons, parameters, window)
            if challenge is None:
                return
            context = get_context(chain, beacons, parameters, challenge)
        except WrongChainError:
            raise
        except (ChainError, BeaconError):  # the same error comes again at the window's turn
            return
        if context is not None:
            # this look is an extra one: withheld files still get all of theirs at the window's turn
            self._ahead = WindowReading(context, find_waiting(context), looks=0, looked_at=-1)
            self.begin(self._ahead)

    def take_ahead(self, parameters: Parameters, window: int) -> WindowReading | None:
        """The window whose turn has come, if its files are judged already or are being judged. Its
        context follows from final state, and is the same whenever it is read."""
        ahead, self._ahead = self._ahead, None
        if ahead is None or (ahead.context.window, ahead.context.parameters) == (
            window,
            parameters,
        ):
            return ahead
        for run in self.runs:  # the trainer will not learn from it
            if run.reading is ahead:
                run.is_stopped.set()
        self.runs = [run for run in self.runs if run.reading is not ahead]
        return None

    def close(self) -> None:
        """Start no more files. The pool's end stops running judgements, and a deadline or the end
        of the program stops a request to a store: all threads are daemons."""
        for run in self.runs:
            run.is_stopped.set()
        self.runs = []

    def _run(self, run: JudgingRun) -> None:
        began = self._get_time()
        try:
            self._judge_all(run)
        except BaseException as error:  # noqa: BLE001 - the outermost call of a thread
            run.defect, run.left = error, run.hotkeys
        run.reading.judged_s += self._get_time() - began
        run.is_done.set()

    def _judge_all(self, run: JudgingRun) -> None:
        context, reading = run.reading.context, run.reading
        if not run.hotkeys:  # without rollouts there is no age: the same as without judging ahead
            return
        try:
            checkpoint = open_checkpoint(self.checkpoints, context.checkpoint, context.parameters)
        except WorkerError as error:
            run.fault, run.left = str(error), run.hotkeys
            return
        except CheckpointError:  # the trainer meets the error itself at its own time
            run.left = run.hotkeys
            return
        reading.number = checkpoint.manifest.number
        reading.levels = checkpoint.manifest.level_numbers

        def judge(hotkey: bytes) -> None:
            if run.is_stopped.is_set():
                raise WorkerError("stopped")
            reading.judge(hotkey, checkpoint, self._sources)

        for judgment in judge_beside(run.hotkeys, judge, self.pool.count + 1):
            try:
                judgment.get()
            except WorkerError as error:
                run.fault = str(error)
                run.left.append(judgment.job)
            except BaseException as error:  # noqa: BLE001 - whoever waits raises it
                run.defect = error
                run.left.append(judgment.job)
