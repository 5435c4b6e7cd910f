"""The validator: reads contexts off the chain, judges submissions, turns settlements into weights.

Windows overlap, so several are open at once. One step judges one submission, or begins to, or takes
a result. The journal has all state that a restart must not lose before the next step begins.
Weights leave through the outbox.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from assay.artifacts.database import Database
from assay.artifacts.submissions.judging_threads import JudgingThreads
from assay.artifacts.submissions.read_ahead import ReadAhead
from assay.inference.workers.pool import WorkerPool
from assay.network.chain.errors import ChainError, ForgottenError, WrongChainError
from assay.network.chain.values import STATE_BLOCKS
from assay.neurons.program.neuron import JudgeSources
from assay.neurons.validator.gate_watch import GateWatch
from assay.neurons.validator.idle_count import IdleCount
from assay.neurons.validator.journal import Account, Journal, WindowProgress
from assay.neurons.validator.judged_window import JudgedWindow, Settlement
from assay.neurons.validator.record_book import RecordBook
from assay.neurons.validator.submission_queue import JudgingJob, SubmissionQueue
from assay.neurons.validator.weights_outbox import WeightsOutbox
from assay.protocol.amendment import ParameterHistory
from assay.protocol.context import Context
from assay.protocol.errors import Trouble, TroubleKind
from assay.protocol.window import Phase, compute_block, compute_window
from assay.session.window_reader import BeaconError, add_sample, get_challenge, get_context
from assay.verification import (
    Ledger,
    Result,
    Seat,
    compute_score,
    compute_settlement,
    settle_weights,
)

logger = logging.getLogger("assay")

#: Settled windows that stay in memory for readers of `judged_windows`.
REMEMBERED = 24


class Validator:
    """Judges every member of every window and settles at every epoch.

    Args:
        database: its memory. With a file, the validator resumes after a stop or a kill.
        on_context, on_window, on_settlement: called when the thing is known, final, or about to be
            sent, so that the caller can publish it. After a kill the last call may be repeated.
        last_window: after it no window is opened; None: there is no last one.
        start: block at which a validator without a past begins. It skips windows that had begun by
            then.
        remember: settled windows kept in `judged_windows`, and their `settlements`.
        book: publishes its public record, over the same database; None: it publishes none.
        ahead: reads files before they are judged; None: each is read when its turn comes.
        threads: judge several submissions in parallel, at most one of a seat; the results are taken
            in the order in which jobs began. None: the step that begins a submission judges it.
        pool: the workers that judge, for reports about them; None: there are none.
        gate: looks at the trainer's answers when nothing else is due; None: nobody does.

    Attributes:
        trouble: the problem that it waits on; None while all is well.
        journal: its memory in the database.
        next_window: the first that is neither opened nor skipped.
        last_epoch: block of the epoch that settled last.

    Raises:
        JournalError: the database is another validator's, or cannot be used.
    """

    def __init__(
        self,
        hotkey: bytes,
        parameters: ParameterHistory,
        sources: JudgeSources,
        database: Database,
        on_context: Callable[[Context], None],
        on_window: Callable[[JudgedWindow], None],
        on_settlement: Callable[[Settlement], None],
        last_window: int | None = None,
        start: int = 0,
        remember: int = REMEMBERED,
        book: RecordBook | None = None,
        ahead: ReadAhead | None = None,
        threads: JudgingThreads[JudgingJob] | None = None,
        pool: WorkerPool | None = None,
        gate: GateWatch | None = None,
    ) -> None:
        self.name = "validator"
        self.trouble: Trouble | None = None
        self.hotkey = hotkey
        self.settlements: list[Settlement] = []
        self._parameters = parameters
        self._sources = sources
        self.pool = pool
        self.gate = gate
        self._database = database
        self._on_context = on_context
        self._on_window = on_window
        self._on_settlement = on_settlement
        self._last = last_window
        self._remember = remember
        first = WindowProgress(compute_window(parameters.first.timing, start) + (start > 0), start)
        self.journal = Journal(database, hotkey, parameters, first)
        self.outbox = WeightsOutbox(database, sources.chain, hotkey)
        self._idle = IdleCount(database)
        self._book = book
        self.judged_windows = self.journal.load_judged_windows()
        self._queue = SubmissionQueue(hotkey, replace(sources, ahead=ahead), self.journal, threads)
        progress = self.journal.load_progress()
        self.next_window = progress.next_window
        self.last_epoch = progress.last_epoch
        self._next_block = progress.last_epoch + 1
        self._behind: Trouble | None = None  # until a window is judged in full again

    def step(self) -> bool:
        """Send weights, take a verdict, open or close a window, settle an epoch, or judge one
        submission. Return whether there is more to do.

        Raises:
            WrongChainError: a node speaks for another chain.
            JournalError: nothing can be written; nothing was lost, and the step may be retried.
        """
        try:
            busy = self._step()
        except WrongChainError:
            raise
        except (BeaconError, ChainError) as error:  # a node or source may come back: retry
            self.trouble = Trouble.from_error(error)
            return False
        troubles = [
            self.outbox.trouble,
            self._behind,
            None if self.pool is None else self.pool.trouble,
            None if self._book is None else self._book.trouble,
        ]
        self.trouble = next(filter(None, troubles), None)
        return busy

    def _step(self) -> bool:
        head = self._sources.chain.get_head()
        return (
            self.outbox.step(head)
            or self._queue.take_up_next()
            or self._open_window(head)
            or self._close_window(head)
            or self._pass_block(head)
            or (self._book is not None and self._book.step(head))
            or self._judge_one(head)
            or self._queue.wait()
            or self._look_at_gate()
        )

    # --- windows

    def _open_window(self, head: int) -> bool:
        """Open the next windows. One whose beacon is late does not delay those after it."""
        self._pass_forgotten(head)
        ends = compute_window(self._parameters.first.timing, head), self._last
        end = self._parameters.end
        last = min(e for e in (*ends, None if end is None else end - 1) if e is not None)
        waiting = range(self.next_window, last + 1)
        return any(self._try_window(w, head) for w in waiting if w not in self.judged_windows)

    def _pass_forgotten(self, head: int) -> None:
        """Skip all windows whose state no plain node has any more, however many there are."""
        last = self._parameters.compute_settled(0, max(0, head - STATE_BLOCKS)).stop - 1
        if self._last is not None:
            last = min(last, self._last)
        if last >= self.next_window:
            self.next_window = last + 1
            self._go_on()
            self.journal.pass_window(last)

    def _try_window(self, window: int, head: int) -> bool:
        """Open a window, or skip it once nothing else is possible."""
        sources, parameters = self._sources, self._parameters.get(window)
        timing = parameters.timing
        try:
            challenge = get_challenge(sources.chain, sources.beacons, parameters, window)
        except ForgottenError:
            if head <= compute_block(timing, window, Phase.FETCH_END):
                raise  # this node should know it, so another may
            return self._pass_window(window)  # too late for us: we abstain
        if challenge is None:
            if head < compute_block(timing, window, Phase.VERDICT_END):
                return False  # its round may still come, and no other one is ever used
            logger.warning(
                "abstaining from window %d: its beacon did not come",
                window,
                extra={"event": "beacon_missed"},
            )
            return self._pass_window(window)
        judged = JudgedWindow(challenge)
        self.judged_windows = dict(sorted([*self.judged_windows.items(), (window, judged)]))
        self._go_on()
        self.journal.open_window(challenge, self.next_window)
        return True

    def _pass_window(self, window: int) -> bool:
        if window != self.next_window:
            return False  # earlier windows come first
        self.next_window += 1
        self._go_on()
        self.journal.pass_window(self.next_window - 1)
        return True

    def _go_on(self) -> None:
        """Advance to the first window that is neither opened nor skipped."""
        while self.next_window in self.judged_windows:
            self.next_window += 1

    def _open_context(self, judged: JudgedWindow) -> Context | None:
        """A window's context, or None before it can be known."""
        if judged.context is None:
            sources = self._sources
            challenge = judged.challenge
            context = get_context(sources.chain, sources.beacons, challenge.parameters, challenge)
            if context is not None:
                self._keep_context(judged, context)
        elif judged.context.sample is None:
            try:
                context = add_sample(self._sources.chain, self._sources.beacons, judged.context)
            except BeaconError as error:  # the audited rollouts can be judged meanwhile
                self.journal.note_faults(judged, missing=str(error))
            else:
                if context.sample is not None:
                    self._keep_context(judged, context)
        return judged.context

    def _keep_context(self, judged: JudgedWindow, context: Context) -> None:
        self._on_context(context)
        self.journal.put_context(context)
        judged.context = context

    def _close_window(self, head: int) -> bool:
        """Close a window at VERDICT_END: its verdicts are final, and missing ones stay missing."""
        for window, judged in self.judged_windows.items():
            timing = judged.challenge.parameters.timing
            due = compute_block(timing, window, Phase.VERDICT_END)
            if not judged.closed and head >= due:
                self._queue.close(judged, head)
                try:
                    self._open_context(judged)  # for the record, even where nothing could be judged
                except (BeaconError, ForgottenError) as error:
                    judged.missing = str(error)
                judged.close_fetching()
                missing = judged.explain_abstention()
                self.journal.note_faults(judged, missing=missing)
                text = f"abstained from window {window}: {missing}"
                self._behind = None if missing is None else Trouble(TroubleKind.WINDOW, text)
                self._on_window(judged)
                self.journal.close_window(window)
                judged.closed = True
                return True
        return False

    def _judge_one(self, head: int) -> bool:
        for judged in self.judged_windows.values():
            if judged.closed or judged.void:
                continue
            context = self._open_context(judged)
            if context is not None and self._queue.judge_next(judged, context, head):
                return True
        return False

    def _look_at_gate(self) -> bool:
        """Look at the answers that the newest checkpoint in force names."""
        if self.gate is None or not self.judged_windows:
            return False
        challenge = self.judged_windows[max(self.judged_windows)].challenge
        return self.gate.step(challenge.checkpoint, challenge.window)

    @property
    def jobs(self) -> list[JudgingJob]:
        """See `SubmissionQueue.jobs`."""
        return self._queue.jobs

    @property
    def ledgers(self) -> Mapping[Account, Ledger]:
        """See `SubmissionQueue.ledgers`."""
        return self._queue.ledgers

    # --- settlements

    def _pass_block(self, head: int) -> bool:
        number = self._next_block
        if number > head:
            return False
        try:
            if self._sources.chain.is_epoch(number):
                self._settle(number)
        except ForgottenError as error:
            if head - number < STATE_BLOCKS // 2:
                raise  # this node should know it, so another may
            # epochs that nobody can name any more settle nothing
            number = max(number, head - STATE_BLOCKS + 1)
            logger.warning(
                "nothing is settled up to block %d: %s",
                number,
                error,
                extra={"event": "blocks_passed_over"},
            )
            self._finish(number, None)
        self._next_block = number + 1
        return True

    def _settle(self, epoch: int) -> None:
        """Settle the windows since the last epoch into weights; none where none counts, and for a
        while where nobody earned."""
        windows = self._parameters.compute_settled(self.last_epoch, epoch)
        known = self.judged_windows
        counted = {w: known[w] for w in windows if w in known and known[w].counts}
        if not counted:
            nothing = Settlement(epoch, (), tuple(windows), {}, {}, idle=self._idle.load())
            self._finish(epoch, nothing if windows else None)
            return
        results = [
            Result(
                window,
                Seat(member.uid, member.registered_at),
                (verdict := judged.verdicts[hotkey]).reason,
                compute_score(verdict),
            )
            for window, judged in counted.items()
            if judged.context is not None
            for hotkey, member in judged.context.members.items()
        ]
        scores = compute_settlement(results)
        held = self._sources.chain.get_members(epoch).items()
        holders = {Seat(member.uid, member.registered_at): hotkey for hotkey, member in held}
        by_uid = {seat.uid: score for seat, score in scores.items() if seat in holders}
        parameters = self._parameters.get(max(counted))
        idle, weights = settle_weights(by_uid, parameters, self._idle.load())
        settlement = Settlement(
            epoch=epoch,
            windows=tuple(counted),
            abstained=tuple(w for w in windows if w not in counted),
            scores=scores,
            weights=weights,
            holders=holders,
            idle=idle,
        )
        self._on_settlement(settlement)
        self._finish(epoch, settlement)

    def _finish(self, epoch: int, settlement: Settlement | None) -> None:
        """Finish everything up to a block: its weights are due, its record is made, the rest is
        forgotten."""
        done = self._parameters.compute_settled(self.last_epoch, epoch).stop
        with self._database.transaction():
            if settlement is not None and settlement.weights:
                self.outbox.put(epoch, settlement.weights)
            if settlement is not None:
                self._idle.put(settlement.idle)
            if settlement is not None and self._book is not None:
                self._book.put(settlement, self.judged_windows)
            self.journal.settle(epoch, done)
        if settlement is not None and settlement.windows:
            self.settlements.append(settlement)
        self.last_epoch = epoch
        self.next_window = max(self.next_window, done)
        self._queue.forget(epoch)
        for window in [w for w in self.judged_windows if w < done - self._remember]:
            del self.judged_windows[window]
        self.settlements = [s for s in self.settlements if s.windows[-1] >= done - self._remember]
