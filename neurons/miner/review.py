"""A miner's review of its own windows: it judges them as validators do, and looks up their pay.

The review reads the file back from the store, uses the groups that the audit drew, and carries the
ledger through a settlement. So a miner sees reason, group, rollout and token before anybody is paid
or refused. The review cannot know what a validator could fetch from its own network.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter

from assay.artifacts.checkpoints.folder import open_checkpoint
from assay.artifacts.mining_history import (
    HistoryError,
    MinedWindow,
    MiningHistory,
    OwnVerdict,
    Payment,
)
from assay.artifacts.status.miner import MinedStatus
from assay.artifacts.submissions.judge import UnjudgedError, judge_hotkey
from assay.inference.folder import CheckpointError, UnusableCheckpointError
from assay.network.chain.errors import ChainError, ForgottenError, WrongChainError
from assay.neurons.miner.miner import Miner
from assay.neurons.program.counters import Counters
from assay.neurons.program.neuron import JudgeSources
from assay.protocol.amendment import ParameterHistory
from assay.protocol.errors import Trouble
from assay.protocol.window import Phase, compute_block
from assay.sandbox import WorkerError
from assay.session.payments import find_payment
from assay.session.window_reader import BeaconError, find_settlement, get_challenge, get_context
from assay.verification import Ledger, Seat, compute_score

#: Blocks at which a checkpoint is looked for after the window's verdicts have become final.
_LOOKS = 3


class MinerReview:
    """Fills a history with verdicts and payments, one item per step.

    Judging runs the model for a few groups. A loop gives it the time that mining leaves:
    `miner.step() or review.step()`.

    Args:
        sources: the store behind the miner's own locator, as validators reach it.
        report, warn: called with one line when a window is accepted, and when it is refused.

    Attributes:
        trouble: the reason why it cannot work at the moment, or None.
    """

    def __init__(
        self,
        hotkey: bytes,
        parameters: ParameterHistory,
        sources: JudgeSources,
        history: MiningHistory,
        report: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self.name = "review"
        self.trouble: Trouble | None = None
        self._hotkey = hotkey
        self._parameters = parameters
        self._sources = sources
        self._history = history
        self._report, self._warn = report, warn
        self._rests_at: int | None = None
        self._tried: dict[int, int] = {}
        self._lacked: dict[int, int] = {}

    def step(self) -> bool:
        """Judge one window or look up one payment. Return False if nothing is due in this block.
        Raises WrongChainError: the node is of another chain. Other failures are `trouble`."""
        head = None
        try:
            head = self._sources.chain.get_head()
            if head == self._rests_at:
                return False
            if self._judge_next(head) or self._look_up_next():
                return True
            self.trouble = None
        except WrongChainError:
            raise
        except (
            *(ChainError, BeaconError, CheckpointError),
            *(HistoryError, UnjudgedError, WorkerError),
        ) as error:
            self.trouble = Trouble.from_error(error)
        self._rests_at = head
        return False

    # --- verdicts

    def _judge_next(self, head: int) -> bool:
        for mined in self._history.get_unjudged():
            if head < self._compute_block(mined.window, Phase.SAMPLE):
                return False
            if self._tried.get(mined.window) == head:
                continue
            self._tried = {w: at for w, at in self._tried.items() if at == head}
            self._tried[mined.window] = head
            try:
                judged = self._judge(mined, head)
            except ForgottenError as error:  # this program was away for too long
                end = self._compute_block(mined.window, Phase.VERDICT_END)
                self._give_up(mined, end, head, str(error))
                judged = True
            if judged:
                return True
        return False

    def _judge(self, mined: MinedWindow, head: int) -> bool:
        """Judge a window whose audited and sampled rollouts are known. A miner may still show a
        missing file until validators may no longer fetch it, so the file is looked for at each
        block."""
        sources, parameters = self._sources, self._parameters.get(mined.window)
        challenge = get_challenge(sources.chain, sources.beacons, parameters, mined.window)
        if challenge is None:
            return False
        context = get_context(sources.chain, sources.beacons, parameters, challenge)
        if context is None or context.sample is None:
            return False
        settlement = find_settlement(sources.chain, parameters, mined.window)
        try:
            checkpoint = open_checkpoint(sources.checkpoints, context.checkpoint, parameters)
        except UnusableCheckpointError as error:
            self._give_up(mined, settlement, head, f"the window counts for nobody: {error}")
            return True
        except CheckpointError as error:
            if self._looks_again(mined, head):  # the store may be away for a moment
                raise
            self._give_up(mined, settlement, head, str(error))
            return True
        member = context.members.get(self._hotkey)
        seat = None if member is None else Seat(member.uid, member.registered_at)
        before = Ledger() if seat is None else self._history.get_ledger(settlement, seat)
        try:
            judged = judge_hotkey(context, self._hotkey, checkpoint, sources, before)
        except UnjudgedError as error:
            if self._looks_again(mined, head):
                raise
            self._give_up(mined, settlement, head, str(error))
            return True
        verdict, after = judged.verdict, judged.ledger
        over = head > self._compute_block(mined.window, Phase.MIRROR_END)
        known = self._history.get_verdicts(mined.window)
        committed = context.commitments.get(self._hotkey)
        record = verdict.to_record()
        own_verdict = OwnVerdict(
            window=mined.window,
            settlement=settlement,
            judged_at=head,
            final=over or not verdict.is_withheld,
            stood=committed is not None and committed.root == mined.root,
            reason=verdict.reason,
            detail=verdict.detail,
            score=compute_score(verdict),
            tokens=record.tokens,
            group=record.group,
            rollout=record.rollout,
            token=record.token,
            statistics=record.to_json(0)["statistics"],
        )
        self._history.write_verdict(own_verdict, seat, after)
        if [v.reason for v in known] != [verdict.reason]:
            what = f"score {own_verdict.score:,}" if verdict.accepted else verdict.detail
            tell = self._report if verdict.accepted else self._warn
            tell(f"window {mined.window}: {verdict.reason.value}: {what}")
        return True

    def _looks_again(self, mined: MinedWindow, head: int) -> bool:
        """Count a failure to judge a window. Return whether it is tried again."""
        looks = self._lacked.pop(mined.window, 0) + 1
        again = looks < _LOOKS or head < self._compute_block(mined.window, Phase.VERDICT_END)
        if again:
            self._lacked[mined.window] = looks
        return again

    def _give_up(self, mined: MinedWindow, settlement: int, head: int, detail: str) -> None:
        """Record that a window cannot be judged here, now or later."""
        own_verdict = OwnVerdict(mined.window, settlement, head, True, False, None, detail)
        self._history.write_verdict(own_verdict, None, Ledger())

    # --- payments

    def _look_up_next(self) -> bool:
        chain = self._sources.chain
        for settlement in self._history.get_unpaid():
            try:
                payment = find_payment(
                    chain, self._parameters.get_at(settlement), self._hotkey, settlement
                )
            except ForgottenError as error:
                payment = Payment(settlement, settlement, None, note=str(error))
            if payment is None:
                return False
            self._history.write_payment(payment)
            return True
        return False

    # --- internals

    def _compute_block(self, window: int, phase: Phase) -> int:
        return compute_block(self._parameters.get(window).timing, window, phase)


class MinerWithReview:
    """A miner that also reviews its own windows in the time that mining leaves."""

    name = "miner"

    def __init__(self, miner: Miner, review: MinerReview, tally: Counters) -> None:
        self._miner = miner
        self._review = review
        self._tally = tally

    @property
    def trouble(self) -> Trouble | None:
        """The miner's trouble, or else the review's."""
        return self._miner.trouble or self._review.trouble

    def step(self) -> bool:
        """See `Miner.step` and `MinerReview.step`."""
        before, drafts, began = self._miner.progress, replace(self._miner.count), perf_counter()
        busy = self._miner.step()
        seconds = perf_counter() - began
        after, count, tally = self._miner.progress, self._miner.count, self._tally
        # groups that were loaded from disk were not made now; a step that was cut off may make none
        has_generated = before != after or count.drafted > drafts.drafted
        if before is not None and after is not None and before[0] == after[0] and has_generated:
            discarded = count.discarded - drafts.discarded
            tally.add("groups", after[1] - before[1])
            tally.add("tokens", count.submitted - drafts.submitted)
            tally.add("rollouts", count.rollouts - drafts.rollouts)
            tally.add("turns", count.turns - drafts.turns)
            tally.add("replies", count.replies - drafts.replies)
            tally.add("broken", count.broken - drafts.broken)
            tally.add("drafted", count.drafted - drafts.drafted - discarded, "kept")
            tally.add("drafted", discarded, "discarded")
            tally.add("drafting_seconds", count.drafting_s - drafts.drafting_s)
            tally.add("reading_seconds", count.reading_s - drafts.reading_s)
            tally.add("generating_seconds", seconds)
        return busy or self._review.step()


def list_reasons(rows: Sequence[MinedStatus]) -> dict[int, str]:
    """Window → reason, from a miner's final verdicts."""
    judged = {row["window"]: row["verdict"] for row in rows if row["verdict"]}
    return {w: v["reason"] for w, v in judged.items() if v["final"] and v["reason"]}
