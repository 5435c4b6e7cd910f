"""The validator: contexts read off the chain, submissions judged, settlements turned into weights.

Windows overlap, so several are open at once. One step judges one submission. What is published is
written atomically as it becomes final.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter

from assay.inference import Checkpoint, CheckpointError, UnusableCheckpointError
from assay.network import WorkerError
from assay.network.chain import ChainError
from assay.neurons.submissions import (
    Sources,
    judge_hotkey,
    open_checkpoint,
)
from assay.neurons.windows import (
    BeaconError,
    Challenge,
    find_settlement,
    get_challenge,
    get_context,
)
from assay.protocol import Context, Parameters, Phase, Reason
from assay.protocol.window import compute_block, compute_settled_windows, compute_window
from assay.verification import (
    Ledger,
    Result,
    Seat,
    Verdict,
    compute_score,
    compute_settlement,
    compute_weights,
)


@dataclass(slots=True)
class WindowAudit:
    """One window as far as it has been judged. Final once `closed`.

    Attributes:
        void: why the window counts for nobody, whoever judges it: its checkpoint is unusable.
        withheld: what was asked for in time and not shown so far.
        missing: what this validator lacked when it last tried.
    """

    challenge: Challenge
    context: Context | None = None
    verdicts: dict[bytes, Verdict] = field(default_factory=dict)
    seconds: dict[bytes, float] = field(default_factory=dict)
    asked_at: dict[bytes, int] = field(default_factory=dict)
    withheld: dict[bytes, Verdict] = field(default_factory=dict)
    closed: bool = False
    void: str | None = None
    missing: str | None = None

    def close_fetching(self) -> None:
        """FETCH_END has passed: what was asked for in vain is withheld for good, and what was never
        asked for stays without a verdict. Fetching it now could differ from what others saw."""
        self.verdicts |= {h: v for h, v in self.withheld.items() if h not in self.verdicts}

    @property
    def complete(self) -> bool:
        """Whether every member has a verdict."""
        return self.context is not None and self.verdicts.keys() >= self.context.members.keys()

    @property
    def counts(self) -> bool:
        """Whether a settlement may use it.

        What breaks our judge for some files while it works for another's costs those files their
        window and nothing else: else two hotkeys with one broken file would void it for all. Where
        it works for nobody, the fault is ours, and we abstain for all alike (section 8).
        """
        broken = any(verdict.reason is Reason.INTERNAL for verdict in self.verdicts.values())
        works = any(verdict.accepted for verdict in self.verdicts.values())
        return self.void is None and self.complete and (works or not broken)


@dataclass(frozen=True, slots=True)
class Settlement:
    """What an epoch's windows came to.

    Attributes:
        abstained: windows that are void or that this validator could not judge in full; they
            count for nobody.
        scores: seat → score; weights: uid → u16.
    """

    epoch: int
    windows: tuple[int, ...]
    abstained: tuple[int, ...]
    scores: Mapping[Seat, int]
    weights: Mapping[int, int]


class Validator:
    """Judges every member of every window and settles at every epoch.

    Args:
        on_context, on_window, on_settlement: called once each when the thing is known, final, or
            about to be written on chain; that is where a caller persists them.
        last_window: after it no window is opened; None for a validator that goes on.
        start: block from which on it looks; windows that had begun by then are left to others.
    """

    def __init__(
        self,
        hotkey: bytes,
        parameters: Parameters,
        sources: Sources,
        on_context: Callable[[Context], None],
        on_window: Callable[[WindowAudit], None],
        on_settlement: Callable[[Settlement], None],
        last_window: int | None = None,
        start: int = 0,
    ) -> None:
        self.name = "validator"
        self.trouble: str | None = None
        self.hotkey = hotkey
        self.audits: dict[int, WindowAudit] = {}
        self.settlements: list[Settlement] = []
        self._parameters = parameters
        self._sources = sources
        self._on_context = on_context
        self._on_window = on_window
        self._on_settlement = on_settlement
        self._last = last_window
        self._ledgers: dict[tuple[int, Seat], Ledger] = {}
        self._next_window = compute_window(parameters.timing, start) + (start > 0)
        self._next_block = start + 1
        self._last_epoch = start

    def step(self) -> bool:
        """Opens a window, judges one submission, closes a window, or settles an epoch."""
        try:
            return self._step()
        except BeaconError as error:  # the right beacon may still come: look again later
            self.trouble = str(error)
            return False

    def _step(self) -> bool:
        head = self._sources.chain.get_head()
        if self._open_window(head) or self._judge_one(head):
            return True
        timing = self._parameters.timing
        for window, audit in self.audits.items():
            due = compute_block(timing, window, Phase.VERDICT_END)
            if not audit.closed and head >= due:
                audit.closed = True
                self._on_window(audit)
                return True
        return self._pass_block(head)

    def _open_window(self, head: int) -> bool:
        current = compute_window(self._parameters.timing, head)
        if self._next_window > (current if self._last is None else min(current, self._last)):
            return False
        sources = self._sources
        try:
            challenge = get_challenge(
                sources.chain, sources.beacons, self._parameters, self._next_window
            )
        except ChainError:  # we come too late for it: its state is gone, and we abstain
            self._next_window += 1
            return True
        if challenge is None:
            return False
        self.audits[self._next_window] = WindowAudit(challenge)
        self._next_window += 1
        return True

    def _judge_one(self, head: int) -> bool:
        for audit in self.audits.values():
            if audit.closed or audit.complete or audit.void:
                continue
            if audit.context is None:
                sources = self._sources
                audit.context = get_context(
                    sources.chain, sources.beacons, self._parameters, audit.challenge
                )
                if audit.context is None:
                    continue
                self._on_context(audit.context)
            context = audit.context
            fetch_end = compute_block(self._parameters.timing, context.window, Phase.FETCH_END)
            if head > fetch_end:
                audit.close_fetching()
                continue
            # who was not asked yet comes before who is asked again: nobody waits for the absent
            for hotkey in sorted(context.members, key=lambda h: (audit.asked_at.get(h, -1), h)):
                if hotkey not in audit.verdicts and audit.asked_at.get(hotkey, -1) < head:
                    audit.asked_at[hotkey] = head
                    checkpoint = self._open_checkpoint(audit, context)
                    if checkpoint is not None:
                        self._judge(audit, context, hotkey, checkpoint)
                    return True
        return False

    def _open_checkpoint(self, audit: WindowAudit, context: Context) -> Checkpoint | None:
        """The checkpoint in force. Without it we wait, and abstain if it never comes."""
        try:
            return open_checkpoint(self._sources.checkpoints, context.checkpoint, self._parameters)
        except UnusableCheckpointError as error:
            audit.void = str(error)
        except CheckpointError as error:
            audit.missing = str(error)
        return None

    def _judge(
        self, audit: WindowAudit, context: Context, hotkey: bytes, checkpoint: Checkpoint
    ) -> None:
        """Judges one hotkey. What is not shown yet is asked for at each block until FETCH_END."""
        started = perf_counter()
        member = context.members[hotkey]
        account = self._find_settlement(context.window), Seat(member.uid, member.registered_at)
        try:
            verdict, self._ledgers[account] = judge_hotkey(
                context, hotkey, checkpoint, self._sources, self._ledgers.get(account, Ledger())
            )
        except WorkerError as error:  # we lack something, and try again
            audit.missing = str(error)
            return
        audit.seconds[hotkey] = perf_counter() - started
        if verdict.reason is Reason.NOT_REVEALED:
            audit.withheld[hotkey] = verdict
        else:
            audit.verdicts[hotkey] = verdict

    def _find_settlement(self, window: int) -> int:
        return find_settlement(self._sources.chain, self._parameters, window)

    def _pass_block(self, head: int) -> bool:
        if self._next_block > head:
            return False
        number = self._next_block
        self._next_block += 1
        if self._sources.chain.is_epoch(number):
            self._settle(number)
        return True

    def _settle(self, epoch: int) -> None:
        """Weights from the windows between the last epoch and this one."""
        windows = compute_settled_windows(self._parameters.timing, self._last_epoch, epoch)
        self._last_epoch = epoch
        self._ledgers = {key: kept for key, kept in self._ledgers.items() if key[0] > epoch}
        judged = {w: a for w in windows if (a := self.audits.get(w)) is not None and a.counts}
        if not judged:
            return
        results = [
            Result(
                window,
                Seat(member.uid, member.registered_at),
                (verdict := audit.verdicts[hotkey]).reason,
                compute_score(verdict),
            )
            for window, audit in judged.items()
            if audit.context is not None
            for hotkey, member in audit.context.members.items()
        ]
        scores = compute_settlement(results)
        identity = self._parameters.identity
        held = self._sources.chain.get_members(epoch).values()
        seats = {Seat(member.uid, member.registered_at) for member in held}
        by_uid = {seat.uid: score for seat, score in scores.items() if seat in seats}
        settlement = Settlement(
            epoch=epoch,
            windows=tuple(judged),
            abstained=tuple(w for w in windows if w not in judged),
            scores=scores,
            weights=compute_weights(by_uid, identity.owner_uid, identity.burn_share),
        )
        self._on_settlement(settlement)  # persisted before it is sent
        self._sources.chain.set_weights(self.hotkey, settlement.weights)
        self.settlements.append(settlement)
