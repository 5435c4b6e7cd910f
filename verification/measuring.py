"""The measuring of an examined submission: the model's tests, and then the reward code.
Specification, section 5."""

from dataclasses import dataclass, replace
from typing import TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from assay.protocol.episode import Reply
from assay.protocol.manifest import Calibration
from assay.protocol.reason import Refusal
from assay.verification.case import ShownGroup
from assay.verification.episodes import Replays, Tokens
from assay.verification.examination import Examined
from assay.verification.ports import Forward
from assay.verification.read_plan import CheckedSubmission, Purpose
from assay.verification.seat_ledger import Ledger
from assay.verification.trial import Trial
from assay.verification.verdict import Verdict


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredGroup:
    """A group as the forward pass has measured it: what a trainer learns from."""

    index: int
    prompt: tuple[int, ...]  # token ids
    tokens: tuple[Tokens, ...]  # of each audited rollout, ascending: its own tokens
    replies: tuple[tuple[Reply, ...], ...]  # of the same
    #: of the same: uint32 [T], −ln p of each token by the checkpoint, 2^-16 nats, at most 24 bits
    logprobs: tuple[NDArray[np.uint32], ...]


@dataclass(frozen=True, slots=True)
class JudgeResult:
    """The verdict on a submission, and what else judging it has brought.

    Attributes:
        ledger: afterwards. Unchanged if the audit refuses the submission.
        measured: the groups of an accepted submission, ascending, if they were asked for.
        left_out: the faults of groups that were left out, ascending. An accepted verdict is on the
            other groups.
    """

    verdict: Verdict
    ledger: Ledger
    measured: tuple[MeasuredGroup, ...] = ()
    left_out: tuple[Refusal, ...] = ()


class MeasureOptions(TypedDict, total=False):
    """Options of `measure`.

    Attributes:
        appeal: another implementation of the reference, which measures again before a rejection is
            final. Without one, the first rejection is final.
        validator: the hotkey that judges, for the verdict's witness; None: no witness.
        samples: what a plan of the same file's samples has read, which are checked last; None: not
            known yet, and the verdict on an audit is provisional.
        hand_out: whether to return the measured groups, too.
    """

    samples: CheckedSubmission | None
    appeal: Forward | None
    validator: bytes | None
    hand_out: bool


def measure(
    examined: Examined,
    forward: Forward,
    calibration: Calibration,
    ledger: Ledger,
    **options: Unpack[MeasureOptions],
) -> JudgeResult:
    """The rest of `judge` after `examine`."""
    case, samples = examined.case, options.get("samples")
    hand_out = options.get("hand_out", False)
    if calibration.digest != case.manifest.calibration:
        raise ValueError("the calibration is not the one the manifest names")
    if samples is not None and not _are_samples_of(samples, examined):
        raise ValueError("the samples are not those of the submission")
    if examined.left_out is None:  # else each is made when its group is judged
        case.make_problems([group.index for group in examined.shown])
    replays = case.make_replays()
    trial = Trial(
        case.hotkey,
        case.context,
        calibration,
        case.make_projection(options.get("validator")),
        case.encode_prompt,
        forward,
        options.get("appeal"),
        replays,
        keeps_logprobs=hand_out,
    )
    if examined.left_out is None:
        fault, ledger = _try(examined, trial, replays, ledger)
    else:
        examined, fault, ledger = _try_each(examined, trial, replays, ledger)
    if fault is None and samples is not None:
        fault = samples.refusal
    verdict: Verdict
    if fault is None:
        accepted = examined.accept(replays)
        verdict = replace(accepted, provisional=examined.audit and samples is None)
    else:
        verdict = case.refuse(fault)
    verdict = replace(verdict, statistics=trial.statistics, witness=trial.witness)
    measured = _collect(examined, trial, replays) if hand_out and fault is None else ()
    left_out = () if examined.left_out is None else examined.left_out.faults
    return JudgeResult(verdict, ledger, measured, left_out)


def _are_samples_of(samples: CheckedSubmission, examined: Examined) -> bool:
    """Return whether these are the samples of the audited file."""
    of = samples.hotkey, samples.context.window
    return (
        examined.audit
        and samples.purpose is Purpose.SAMPLES
        and of == (examined.case.hotkey, examined.context.window)
    )


def _try(
    examined: Examined, trial: Trial, replays: Replays, ledger: Ledger
) -> tuple[Refusal | None, Ledger]:
    """The first fault that the model or a world finds, or the ledger with every audited rollout
    entered."""
    fault, after = trial.process(examined.get_batches(), ledger)
    if fault is None:
        fault = examined.find_ending_fault(replays)
    return fault, after if fault is None else ledger


def _try_each(
    examined: Examined, trial: Trial, replays: Replays, ledger: Ledger
) -> tuple[Examined, Refusal | None, Ledger]:
    """Judge each group by itself, and leave out those with a fault.

    Returns:
        The submission with the groups that are left; the fault that refuses all of it: one too
        many, or the last one where no group is left; the ledger with the groups that are left.
    """

    def check(group: ShownGroup) -> ShownGroup | Refusal:
        nonlocal ledger
        fault, ledger = _try(replace(examined, shown=[group]), trial, replays, ledger)
        return fault or group

    assert examined.left_out is not None  # the caller has checked
    kept, left_out = examined.left_out.sift(examined.shown, check)
    fault = left_out.faults[-1] if left_out.is_full or not kept else None
    return replace(examined, shown=kept, left_out=left_out.sort()), fault, ledger


def _collect(examined: Examined, trial: Trial, replays: Replays) -> tuple[MeasuredGroup, ...]:
    """The measured groups. The trial has kept their log-probabilities."""
    return tuple(
        MeasuredGroup(
            group.index,
            tuple(examined.case.encode_prompt(group.index)),
            tuple(rollout.tokens for rollout in group.audited.values()),
            _list_replies(group, replays),
            tuple(trial.logprobs[group.index, r] for r in group.audited),
        )
        for group in examined.shown
    )


def _list_replies(group: ShownGroup, replays: Replays) -> tuple[tuple[Reply, ...], ...]:
    """Those of the audited rollouts of a group that has been tried."""
    listed = replays.list_replies([(group.index, r) for r in group.audited])
    return ((),) * len(group.audited) if listed is None else tuple(listed)
