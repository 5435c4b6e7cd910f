"""The trial: tests the audited rollouts with a forward pass.

Specification, section 5, gives the order, the appeal and the ledger. Every rollout must end where
its world says, and pass three tests of its own (sketch, log-probabilities, sampling). Then all of
them together must not cross the threshold of the seat's ledger.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from assay.protocol.context import Context
from assay.protocol.manifest import Calibration
from assay.protocol.parameters import FRACTION_BITS, Parameters
from assay.protocol.reason import Reason, Refusal
from assay.protocol.seeds import compute_rollout_seed
from assay.protocol.selection import select_positions
from assay.protocol.submission import SKETCH_COLUMNS, Rollout
from assay.verification.appeal import APPEALS_MAX, is_beyond_rounding
from assay.verification.episodes import Place, Replays
from assay.verification.logprobs import judge_logprobs
from assay.verification.ports import Forward, Measurement, Projection, UnheardError
from assay.verification.sampling import Floats, judge_sampling
from assay.verification.seat_ledger import Ledger
from assay.verification.sketch import judge_sketch
from assay.verification.verdict import Statistics

Check = Callable[[int, int, Rollout, Measurement], "Finding"]

#: Tokens at the start of each rollout that are judged before the rest of any rollout. None is
#: behind the first turn.
HEAD_TOKENS = 64
#: The heads are judged first if they are at most this fraction (one in …) of all tokens.
HEAD_SHARE = 8


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """The result of one test of one rollout. Only the sampling test has `log_bets`."""

    statistics: Statistics
    fault: Refusal | None = None
    log_bets: Floats | None = None


class Trial:
    """The measured part of judging one submission.

    Args:
        projection: the sketch's two columns; any further ones are the witness's.
        prompts: index of a group → its prompt's token ids.
        appeal: another implementation of the reference, or None: then every rejection is final.
            So is one that it cannot hear (UnheardError).
        replays: of the submission; None: its rollouts have one turn each.
        keeps_logprobs: whether somebody wants the log-probabilities afterwards.

    Attributes:
        statistics: extremes over everything measured, without appeals.
        logprobs: of the whole rollouts if they are kept, uint32 [T] each, without appeals.
    """

    def __init__(
        self,
        hotkey: bytes,
        context: Context,
        calibration: Calibration,
        projection: Projection,
        prompts: Callable[[int], Sequence[int]],
        forward: Forward,
        appeal: Forward | None,
        replays: Replays | None = None,
        *,
        keeps_logprobs: bool = False,
    ) -> None:
        self.statistics = Statistics()
        self.logprobs: dict[Place, NDArray[np.uint32]] = {}
        self._keeps_logprobs = keeps_logprobs
        self._hotkey = hotkey
        self._context = context
        self._calibration = calibration
        self._projection = projection
        self._prompts = prompts
        self._forward = forward
        self._appeal = appeal
        self._replays = replays
        self._appeals_left = APPEALS_MAX
        self._cleared: dict[Place, Floats] = {}
        self._log_bets: dict[Place, Floats] = {}
        self._witness: dict[Place, bytes] = {}

    @property
    def witness(self) -> bytes:
        """Two bytes for each measured rollout, by group and rollout, of the last token that was
        measured. Where only its head was measured, that is the head's last token. Appeals do not
        count."""
        return b"".join(self._witness[place] for place in sorted(self._witness))

    def process(
        self, batches: Sequence[Mapping[Place, Rollout]], ledger: Ledger
    ) -> tuple[Refusal | None, Ledger]:
        """The first fault, or the ledger with every rollout entered.

        Args:
            batches: rollouts that are measured together and judged by each check in turn, in
                ascending order. An audit is one batch.
        """
        if self._are_heads_cheap(batches):
            checks = (self._check_sketch, self._check_sampling)
            for batch in batches:
                heads = {
                    place: _cut(rollout, self._count_head(rollout))
                    for place, rollout in batch.items()
                }
                fault = self._process_batch(batch, heads, checks)
                if fault is not None:
                    return fault, ledger
        whole = dict(chain.from_iterable(batch.items() for batch in batches))
        fault = self._find_ending_fault(whole)
        if fault is not None:
            return fault, ledger
        for batch in batches:
            every = (self._check_sketch, self._check_logprobs, self._check_sampling)
            fault = self._process_batch(batch, batch, every)
            if fault is not None:
                return fault, ledger
        return self._carry(list(whole), ledger)

    def _process_batch(
        self,
        batch: Mapping[Place, Rollout],
        judged: Mapping[Place, Rollout],
        checks: Sequence[Check],
    ) -> Refusal | None:
        """Apply each check in turn to all rollouts. `judged` has the rollouts, or their heads."""
        is_whole = judged is batch
        measured = self._measure(self._forward, judged, is_whole)
        for place, measurement in measured.items():
            self._witness[place] = measurement.sketch[-1, SKETCH_COLUMNS:].tobytes()
            if self._keeps_logprobs and is_whole:
                self.logprobs[place] = measurement.logprobs
        for check in checks:
            for place, measurement in measured.items():
                if place in self._cleared:
                    continue
                finding = check(*place, judged[place], measurement)
                self.statistics = self.statistics.merge(finding.statistics)
                if finding.log_bets is not None:
                    self._log_bets[place] = finding.log_bets
                if finding.fault is not None:
                    if self._is_beyond_rounding(place, judged[place], measurement, is_whole):
                        return finding.fault
                    cleared = self._hear_appeal(place, batch[place])
                    if cleared is None:
                        return finding.fault
                    self._cleared[place] = cleared
        return None

    def _is_beyond_rounding(
        self, place: Place, judged: Rollout, measurement: Measurement, is_whole: bool
    ) -> bool:
        positions = self._select_positions(place, judged) if is_whole else ()
        tests = self._context.parameters.tests
        return is_beyond_rounding(judged, measurement, positions, tests)

    def _measure(
        self, forward: Forward, rollouts: Mapping[Place, Rollout], is_whole: bool
    ) -> dict[Place, Measurement]:
        challenge = self._context.challenge_seed
        replayed = self._replays if is_whole else None
        measured = forward.measure(
            [self._prompts(group) for group, _ in rollouts],
            [rollout.tokens for rollout in rollouts.values()],
            [compute_rollout_seed(challenge, self._hotkey, *place) for place in rollouts],
            self._projection,
            None if replayed is None else replayed.list_replies(rollouts),
        )
        return dict(zip(rollouts, measured, strict=True))

    def _find_ending_fault(self, rollouts: Mapping[Place, Rollout]) -> Refusal | None:
        if self._replays is None:
            return None
        return self._replays.find_fault({place: one.tokens for place, one in rollouts.items()})

    def _count_head(self, rollout: Rollout) -> int:
        """Tokens of a rollout's head."""
        first = len(rollout.tokens)
        if self._replays is not None:
            first = self._replays.count_first_turn(rollout.tokens)
        return min(HEAD_TOKENS, first)

    def _are_heads_cheap(self, batches: Sequence[Mapping[Place, Rollout]]) -> bool:
        """Return whether prompts and heads are a small part of everything that must be
        prefilled."""
        work = [
            (len(self._prompts(place[0])), self._count_head(rollout), len(rollout.tokens))
            for batch in batches
            for place, rollout in batch.items()
        ]
        heads = sum(prompt + head for prompt, head, _ in work)
        return heads * HEAD_SHARE <= sum(prompt + length for prompt, _, length in work)

    def _hear_appeal(self, place: Place, rollout: Rollout) -> Floats | None:
        """The second prefill's bets for the ledger, or None if the rollout fails there too, or is
        not measured again. A rollout whose head failed is replayed for it."""
        if self._appeal is None or self._appeals_left == 0:
            return None
        self._appeals_left -= 1
        if self._find_ending_fault({place: rollout}) is not None:
            return None
        try:
            measurement = self._measure(self._appeal, {place: rollout}, is_whole=True)[place]
        except UnheardError:
            return None
        for check in (self._check_sketch, self._check_logprobs, self._check_sampling):
            finding = check(*place, rollout, measurement)
            if finding.fault is not None:
                return None
        return finding.log_bets

    def _carry(self, places: Sequence[Place], ledger: Ledger) -> tuple[Refusal | None, Ledger]:
        """Enter every rollout in order. A rollout that was cleared on appeal enters with the second
        prefill's bets."""
        tests = self._context.parameters.tests
        before = ledger
        for place in places:
            bets = self._cleared.get(place)
            ledger = ledger.add(self._log_bets[place] if bets is None else bets)
            capital = ledger.compute_log_capital(tests)
            self.statistics = self.statistics.merge(Statistics(ledger_capital=capital))
            if ledger.is_crossed(tests):
                detail = (
                    f"over {ledger.rollouts} rollouts of this settlement small deviations from "
                    "the keyed draw add up to more than honest noise"
                )
                return Refusal(Reason.LEDGER_MISMATCH, detail, *place), before
        return None, ledger

    def _check_sketch(
        self, index: int, r: int, rollout: Rollout, measurement: Measurement
    ) -> Finding:
        tests = self._context.parameters.tests
        measured = measurement.sketch[:, :SKETCH_COLUMNS]
        result = judge_sketch(rollout.sketch, measured, tests)
        fault = None
        if result.token is not None:
            detail = (
                f"the sketch differs by {result.mean:.2f} a token from the checkpoint's own hidden "
                "states"
            )
            fault = Refusal(Reason.SKETCH_MISMATCH, detail, index, r, result.token)
        return Finding(Statistics(sketch_mean=result.mean), fault)

    def _check_logprobs(
        self, index: int, r: int, rollout: Rollout, measurement: Measurement
    ) -> Finding:
        result = judge_logprobs(
            rollout.logprobs,
            measurement.logprobs,
            self._select_positions((index, r), rollout),
            self._context.parameters.tests,
        )
        fault = None
        if result.token is not None:
            detail = "a log-probability is not the checkpoint's own"
            fault = Refusal(Reason.LOGPROB_MISMATCH, detail, index, r, result.token)
        return Finding(Statistics(logprob_rms=result.rms), fault)

    def _select_positions(self, place: Place, rollout: Rollout) -> Sequence[int]:
        """The positions at which a rollout's log-probabilities are compared."""
        seed = self._context.audit_seed
        return select_positions(seed, self._hotkey, *place, len(rollout.tokens))

    def _check_sampling(
        self, index: int, r: int, rollout: Rollout, measurement: Measurement
    ) -> Finding:
        del rollout  # its tokens have been measured
        parameters = self._context.parameters
        return try_sampling((index, r), measurement, self._calibration, parameters)


def try_sampling(
    place: Place, measurement: Measurement, calibration: Calibration, parameters: Parameters
) -> Finding:
    """The sampling test of one rollout."""
    result = judge_sampling(
        measurement.margins,
        measurement.gini,
        calibration,
        parameters.tests,
        parameters.work.temperature,
    )
    fault = None
    if result.token is not None:
        margin = measurement.margins[result.token] / (1 << FRACTION_BITS)
        detail = (
            f"token {result.token} is not the model's keyed draw: another id scores "
            f"{margin:.4f} logits higher"
        )
        fault = Refusal(Reason.SAMPLING_MISMATCH, detail, *place, result.token)
    statistics = Statistics(margin_max=result.margin_max, log_capital=result.log_capital)
    return Finding(statistics, fault, result.log_bets)


def _cut(rollout: Rollout, tokens: int) -> Rollout:
    return replace(
        rollout,
        tokens=rollout.tokens[:tokens],
        logprobs=rollout.logprobs[:tokens],
        sketch=rollout.sketch[:tokens],
    )
