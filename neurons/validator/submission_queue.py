"""The submissions of open windows: chooses one, judges it with its ledger, saves the result.

Submissions are judged one at a time or several in parallel, but at most one of each seat: a ledger
takes one submission at a time. This module does not know when windows open and close, nor how a
settlement uses verdicts.
"""

from collections.abc import Callable, Set
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from assay.artifacts.checkpoints.folder import open_checkpoint
from assay.artifacts.submissions.judge import (
    UnjudgedError,
    judge_again,
    judge_hotkey,
    judge_samples,
    note_unjudged,
)
from assay.artifacts.submissions.judging_threads import JudgingThreads, Judgment, judge_here
from assay.artifacts.submissions.reader import ReadRequest
from assay.inference.checkpoint import Checkpoint
from assay.inference.folder import CheckpointError, UnusableCheckpointError
from assay.neurons.program.neuron import JudgeSources
from assay.neurons.validator.journal import Account, Journal
from assay.neurons.validator.judged_window import JUDGE, JudgedWindow
from assay.protocol.context import Context
from assay.protocol.reason import Reason, Refusal
from assay.protocol.window import Phase, compute_block
from assay.sandbox import WorkerError
from assay.sandbox.usage import Probe, Usage, using, watch
from assay.session.window_reader import find_settlement
from assay.verification import Accepted, CheckedSubmission, JudgeResult, Ledger, Refused, Seat

#: Seconds to wait for running jobs while another may begin, and while none may.
_ROOM_S, _FULL_S = 0.05, 0.5


@dataclass(frozen=True, slots=True, eq=False)
class JudgingJob:
    """One submission that is being judged.

    Attributes:
        account: the ledger that it is judged with. No other job uses the same one.
        head: block at which it was asked for.
        proves: what the judge is tried for, since the file failed; none: the file is judged.
        usage: what it has used, once it is done.
        kept: the file as it was read, once it is accepted.
    """

    judged: JudgedWindow
    context: Context
    hotkey: bytes
    request: ReadRequest
    account: Account
    ledger: Ledger
    head: int
    proves: frozenset[str] = frozenset()
    usage: Usage = field(default_factory=Usage)
    kept: list[CheckedSubmission] = field(default_factory=list)

    def run(self, call: Callable[[], Any]) -> Any:
        """Judge it, and watch what that uses."""
        with watch(self.usage):
            return call()


class SubmissionQueue:
    """Judges submissions of open windows, and saves the results.

    Args:
        hotkey: the validator's own.
        sources: if they read files ahead, files are judged as they come; else each is read when its
            turn comes.
        threads: judge several submissions in parallel; the results are taken in the order in which
            jobs began. None: `judge_next` judges each itself.

    Attributes:
        ledgers: an epoch and a seat → its ledger, of future settlements.
    """

    def __init__(
        self,
        hotkey: bytes,
        sources: JudgeSources,
        journal: Journal,
        threads: JudgingThreads[JudgingJob] | None,
    ) -> None:
        self._hotkey = hotkey
        self._sources = sources
        self._journal = journal
        self._ahead = sources.ahead
        self._threads = threads
        self.ledgers = journal.load_ledgers()

    @property
    def jobs(self) -> list[JudgingJob]:
        """The submissions that are being judged, in the order in which they began."""
        return [] if self._threads is None else self._threads.jobs

    def judge_next(self, judged: JudgedWindow, context: Context, head: int) -> bool:
        """Judge a window's next submission, or begin to. Return whether there was one, and room."""
        self._begin_reading(judged, context, head)  # a busy judge keeps no file from being read
        if self._threads is not None and not self._threads.has_room:
            return False
        chosen = self._choose(judged, context, head)
        if chosen is None and self._prove(judged, context, head):
            return True
        if chosen is None:
            timing = context.parameters.timing
            over = head > compute_block(timing, context.window, Phase.MIRROR_END)
            if over and all(job.judged is not judged for job in self.jobs):
                judged.close_fetching()
            return False
        hotkey, request = chosen
        checkpoint = None if request.samples else self._open_checkpoint(judged, context)
        if checkpoint is None and not request.samples:
            return False
        self._judge(judged, context, hotkey, request, checkpoint, head)
        return True

    def take_up_next(self, judged: JudgedWindow | None = None) -> bool:
        """Take the result of the submission that began first, once it is judged; of a window that
        closes, any result. Return whether there was one."""
        if self._threads is None:
            return False
        judgment = self._threads.take()
        if judgment is None and judged is not None:
            judgment = self._threads.take_any(lambda job: job.judged is judged)
        if judgment is None:
            return False
        self._take_up(judgment)
        return True

    def close(self, judged: JudgedWindow, head: int) -> None:
        """Take all results of a window at VERDICT_END, charge the files that are still being
        judged, and forget all of them.

        The block at which this validator notices VERDICT_END decides, not the one at which a file
        was done: nobody can tell it afterwards, where the chain's node was slow.
        """
        while self.take_up_next(judged):
            pass
        self._check_last_samples(judged, head)
        busy = {job.hotkey for job in self.jobs if job.judged is judged and not job.proves}
        self._charge_failed(judged, busy)
        judged.kept.clear()  # the window itself is kept until it is settled
        if self._ahead is not None:
            self._ahead.forget(judged.challenge.window)

    def wait(self) -> bool:
        """Wait briefly for running jobs. Return whether there are any."""
        threads = self._threads
        return threads is not None and threads.wait(_ROOM_S if threads.has_room else _FULL_S)

    def forget(self, epoch: int) -> None:
        """Drop the ledgers of settlements up to an epoch."""
        self.ledgers = {key: ledger for key, ledger in self.ledgers.items() if key[0] > epoch}

    # --- the choice

    def _choose(
        self, judged: JudgedWindow, context: Context, head: int
    ) -> tuple[bytes, ReadRequest] | None:
        """The hotkey to judge next, and how. Files that had come from miners in time also count
        after FETCH_END. Samples come before audits, since they take no time."""
        timing, window = context.parameters.timing, context.window
        late = head > compute_block(timing, window, Phase.FETCH_END)
        over = head > compute_block(timing, window, Phase.MIRROR_END)
        # hotkeys that were not asked yet come first: nobody waits for an absent miner
        order = sorted(context.members, key=lambda h: (judged.asked_at.get(h, -1), h))
        order = self._leave_out_busy(context, order)
        waiting = [h for h in order if h not in judged.verdicts and judged.is_due(h, head)]
        if any(job.hotkey in job.judged.failed for job in self.jobs):
            # one that takes all memory should not fail another one at each try
            waiting = [hotkey for hotkey in waiting if hotkey not in judged.failed]
        due = [h for h in waiting if judged.asked_at.get(h, -1) < head]
        kinds = (True, False) if context.sample is not None else (False,)
        if self._ahead is None:
            now = ((h, kind) for kind in kinds for h in due if (h in judged.provisional) is kind)
            hotkey, samples = next(now, (None, False))
            return None if hotkey is None or over else (hotkey, ReadRequest(samples, late))
        looks = {
            ReadRequest(samples, is_late): [
                h for h in waiting if (h in judged.provisional) is samples
            ]
            for is_late in ((False, True) if late else (False,))
            for samples in kinds
        }
        return self._ahead.choose(context, looks)

    def _begin_reading(self, judged: JudgedWindow, context: Context, head: int) -> None:
        """Start to read files ahead.

        Everybody can see which samples are mirrored, and when. So those of all files are read and
        mirrored alike, whatever the judge has found so far, and in an order that it does not
        change. Nobody judges the samples of a refused file.
        """
        if self._ahead is None:
            return
        timing, window = context.parameters.timing, context.window
        late = head > compute_block(timing, window, Phase.FETCH_END)
        over = head > compute_block(timing, window, Phase.MIRROR_END)
        if late:
            self._ahead.drop(window, late=over)
        if over:
            return
        judging = {(job.hotkey, job.request.samples) for job in self.jobs if job.judged is judged}
        unjudged = sorted(context.members.keys() - judged.verdicts.keys())
        unjudged = [hotkey for hotkey in unjudged if judged.is_due(hotkey, head)]
        due = [hotkey for hotkey in unjudged if judged.asked_at.get(hotkey, -1) < head]
        if context.sample is not None:
            request = ReadRequest(samples=True, late=late)
            unread = self._ahead.release(window, judged.verdicts, request)
            unread |= {hotkey for hotkey in due if (hotkey, True) not in judging}
            classes: list[list[bytes]] = [[], []]
            for hotkey in sorted(unread):
                classes[hotkey in judged.withheld].append(hotkey)
            self._ahead.begin_all(context, classes, head, request)
        audited = [h for h in due if h not in judged.provisional and (h, False) not in judging]
        self._ahead.begin_all(context, (audited,), head, ReadRequest(late=late))

    def _leave_out_busy(self, context: Context, hotkeys: list[bytes]) -> list[bytes]:
        """The hotkeys whose seat has no running job: a ledger takes one submission at a time."""
        busy = {job.account for job in self.jobs if not job.judged.closed}
        if not busy:
            return hotkeys
        return [hotkey for hotkey in hotkeys if self._get_account(context, hotkey) not in busy]

    def _get_account(self, context: Context, hotkey: bytes) -> Account:
        member = context.members[hotkey]
        epoch = find_settlement(self._sources.chain, context.parameters, context.window)
        return epoch, Seat(member.uid, member.registered_at)

    def _open_checkpoint(self, judged: JudgedWindow, context: Context) -> Checkpoint | None:
        """The checkpoint in force. Without it we wait, and abstain if it never comes."""
        try:
            return open_checkpoint(
                self._sources.checkpoints, context.checkpoint, context.parameters
            )
        except UnusableCheckpointError as error:
            self._journal.note_faults(judged, void=str(error))
        except (CheckpointError, WorkerError) as error:
            self._journal.note_faults(judged, missing=str(error))
        return None

    # --- judging

    def _judge(
        self,
        judged: JudgedWindow,
        context: Context,
        hotkey: bytes,
        request: ReadRequest,
        checkpoint: Checkpoint | None,
        head: int,
        *,
        waits: bool = False,
    ) -> None:
        """Judge one hotkey, or begin to. Without a checkpoint, judge only the samples of a file
        whose audit found no fault. `waits`: judge it on this thread."""
        sources, late = self._sources, request.late
        account = self._get_account(context, hotkey)
        ledger = self.ledgers.get(account, Ledger())
        job = JudgingJob(judged, context, hotkey, request, account, ledger, head)
        call: Callable[[], JudgeResult]
        if checkpoint is None:
            provisional = judged.provisional[hotkey]
            # the evidence of the audit stays in the ledger, whatever is withheld
            call = partial(_judge_samples, context, hotkey, sources, provisional, ledger, late=late)
        else:
            call = partial(
                judge_hotkey,
                context,
                hotkey,
                checkpoint,
                sources,
                ledger,
                validator=self._hotkey,
                late=late,
                appeals=judged.appeals,
                keep=job.kept.append,
            )
        self._begin(job, call, waits)

    def _begin(self, job: JudgingJob, call: Callable[[], Any], waits: bool = False) -> None:
        watched = partial(job.run, call)
        if self._threads is None or waits:
            self._take_up(judge_here(job, watched))
        else:
            self._threads.begin(job, watched)

    def _prove(self, judged: JudgedWindow, context: Context, head: int) -> bool:
        """Try the judge where a file has failed and nobody was answered since, or begin to: by a
        file that was accepted, as it was read then, or else by a small request. Return whether that
        was to be done.

        Otherwise whoever is judged last, or needs a sandbox that nobody else needs, could void a
        window for everybody, and a machine that breaks down in a window would take its last miners'
        pay.
        """
        doubt = None if any(job.proves for job in self.jobs) else judged.find_doubt(head)
        if doubt is None:
            return False
        hotkey, place = doubt
        failed, kept = judged.failed[hotkey], judged.kept.get(place)
        failed.proved_at = head
        call: Callable[[], Any]
        if kept is None:
            call = partial(_ask, failed.probes[place], place)
        else:
            checkpoint = self._open_checkpoint(judged, context)
            if checkpoint is None:
                return False
            call = partial(judge_again, kept, checkpoint)
        served = frozenset({place} if kept is None else {place, JUDGE})
        account = self._get_account(context, hotkey)
        given = judged, context, hotkey, ReadRequest(), account, Ledger(), head
        self._begin(JudgingJob(*given, proves=served), call)
        return True

    def _take_up(self, judgment: Judgment[JudgingJob]) -> None:
        """Save the result of a submission. A file that is not shown is asked for at each block
        until MIRROR_END."""
        job, seconds = judgment.job, judgment.seconds
        judged, context, hotkey, head = job.judged, job.context, job.hotkey, job.head
        if judged.closed:
            return
        try:
            result: JudgeResult = judgment.get()
        except UnjudgedError as error:  # perhaps for a moment: the file is tried again
            self._journal.note_faults(judged, missing=str(error))
            if not job.proves:
                judged.fail(hotkey, job.usage, head)
                judged.asked_at[hotkey] = head
            return
        if job.proves:
            judged.note_answered(job.proves, job.usage.began)
            return
        judged.succeed(hotkey, job.usage, *job.kept)
        verdict, ledger = result.verdict, result.ledger
        if job.request.late and verdict.is_withheld:  # it stays so, if asked for in time
            judged.asked_at[hotkey] = head
            return
        if job.request.samples:
            seconds += judged.seconds[hotkey]
        end = compute_block(context.parameters.timing, context.window, Phase.VERDICT_END)
        if verdict.is_withheld and self._sources.chain.get_head() > end:
            return  # a program that was stopped may have asked for the bytes too late
        self._journal.put_verdict(verdict, head, seconds, job.account, ledger)
        self.ledgers[job.account] = ledger
        judged.add(verdict, head, seconds)

    def _check_last_samples(self, judged: JudgedWindow, head: int) -> None:
        """Check the samples that had come in time, of files whose audits were taken up only now: a
        file that takes long keeps back the results of those that were begun after it."""
        context, ahead = judged.context, self._ahead
        if ahead is None or context is None or context.sample is None:
            return
        ahead.drop(context.window, late=True)
        requests = [ReadRequest(samples=True, late=late) for late in (False, True)]
        busy = {job.hotkey for job in self.jobs if job.judged is judged}
        while True:
            due = sorted(judged.provisional.keys() - judged.verdicts.keys() - busy)
            chosen = ahead.choose(context, dict.fromkeys(requests, due))
            if chosen is None:
                return
            self._judge(judged, context, *chosen, None, head, waits=True)

    def _charge_failed(self, judged: JudgedWindow, busy: Set[bytes]) -> None:
        """Charge a file that could not be judged to its owner alone, if the judge works: one that
        takes all memory or time, or breaks what judges it, would otherwise void the window for
        everybody. `busy`: hotkeys whose files are being judged still."""
        context = judged.context
        if context is None or not judged.works:
            return
        blamed = {hotkey for hotkey, failed in judged.failed.items() if failed.is_blamed}
        for hotkey in sorted((blamed | busy) - judged.verdicts.keys()):
            detail = "our own fault, not the miner's: the file could not be judged in time"
            fault = Refusal(Reason.INTERNAL, detail)
            verdict = Refused(window=context.window, hotkey=hotkey, fault=fault)
            account = self._get_account(context, hotkey)
            ledger = self.ledgers.get(account, Ledger())
            asked_at = judged.asked_at.get(hotkey, self._sources.chain.get_head())
            self._journal.put_verdict(verdict, asked_at, 0.0, account, ledger)
            judged.add(verdict, asked_at, 0.0)


def _ask(probe: Probe, place: str) -> None:
    with note_unjudged(f"a request of our own to {place}"), using(place):
        probe()


def _judge_samples(
    context: Context,
    hotkey: bytes,
    sources: JudgeSources,
    verdict: Accepted,
    ledger: Ledger,
    *,
    late: bool,
) -> JudgeResult:
    """The verdict after a check of the samples, and the unchanged ledger."""
    return JudgeResult(judge_samples(context, hotkey, sources, verdict, late=late), ledger)
