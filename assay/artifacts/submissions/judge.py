"""Judges a file by its commitment: combines reader, checkpoint and judge.

Both validator and trainer use this module. `assay verify` supplies its own file.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Protocol, TypedDict, TypeVar, Unpack

from assay.artifacts.submissions.appeals import AffordableAppeal, AppealBudget
from assay.artifacts.submissions.read_ahead import ReadAhead
from assay.artifacts.submissions.reader import ReadRequest, SubmissionSources, open_submission
from assay.artifacts.submissions.reading import SubmissionReader, read_submission, refuse_unread
from assay.inference.checkpoint import Checkpoint, Outline
from assay.network.store.base import StoreError
from assay.network.store.deadlines import within
from assay.protocol.context import Context
from assay.protocol.errors import OperatorError
from assay.protocol.reason import Refusal
from assay.protocol.ss58 import encode_ss58
from assay.protocol.submission import get_id_bits
from assay.verification import (
    Accepted,
    CheckedSubmission,
    Examined,
    Forward,
    JudgeResult,
    Ledger,
    MeasureOptions,
    ReadPlan,
    Refused,
    Verdict,
    examine,
    judge,
    measure,
    plan_audit,
    plan_groups,
    plan_samples,
)
from assay.verification.read_plan import Purpose

logger = logging.getLogger("assay")

#: Seconds that a judge with files read ahead may itself wait for servers after a failure.
_AGAIN_S = 20.0
#: A person's or a program's wish to stop, which is nobody's fault.
_STOPS = (KeyboardInterrupt, SystemExit, GeneratorExit)

_R = TypeVar("_R")


class UnjudgedError(OperatorError):
    """The judge could not judge a file. Whether the file is to blame, or what the judge lacked, is
    known once the judge has judged another file since. `__cause__` is what was raised."""


class HotkeySources(SubmissionSources, Protocol):
    """The sources of the files to judge. `ahead` has files that were read ahead; None: each is read
    when it is judged."""

    @property
    def ahead(self) -> ReadAhead | None: ...


class JudgeOptions(TypedDict, total=False):
    """See `MeasureOptions`. Without a forward pass, the checkpoint's own is used. `appeals`: those
    that this program still hears in the window; None: it has no such bound."""

    forward: Forward | None
    appeals: AppealBudget | None
    samples: CheckedSubmission | None
    validator: bytes | None
    hand_out: bool


def judge_hotkey(
    context: Context,
    hotkey: bytes,
    checkpoint: Checkpoint,
    sources: HotkeySources,
    ledger: Ledger,
    *,
    groups: Sequence[int] | None = None,
    leave_out: int = 0,
    late: bool = False,
    keep: Callable[[CheckedSubmission], None] = lambda submission: None,
    **options: Unpack[JudgeOptions],
) -> JudgeResult:
    """Fetch and judge the submission of a hotkey, whatever happens on the way. The samples are
    judged separately, later.

    If the judge breaks, it is run once more with a fresh reader. A miner must keep its store
    readable, links included: an unreadable one is NOT_REVEALED.

    Args:
        groups: those to judge, whole; None: the audit's selection.
        leave_out: of these groups, see `plan_groups`.
        late: FETCH_END has passed, and only mirrors are asked.
        keep: called with what was read of a file that is accepted, for `judge_again`.

    Raises:
        UnjudgedError: it broke again, or a child, a device or memory is lacking: try again later.
    """
    request = ReadRequest(late=late)

    def attempt() -> JudgeResult:
        plan = _plan(context, hotkey, checkpoint, groups, leave_out)
        submission = _read(plan, sources, request)
        judged = judge_and_carry(submission, checkpoint, ledger, **options)
        if judged.verdict.accepted:
            keep(submission)
        return judged

    judged = _try_twice(attempt, context, hotkey)
    if isinstance(judged, Refusal):
        return JudgeResult(Refused(window=context.window, hotkey=hotkey, fault=judged), ledger)
    return judged


def judge_again(submission: CheckedSubmission, checkpoint: Checkpoint) -> None:
    """Judge a file once more that was accepted, to see whether the judge still works. It reads
    nothing, and takes none of a window's appeals. Raises UnjudgedError: it does not."""
    with note_unjudged(f"a file of window {submission.context.window} that was accepted"):
        judge_and_carry(submission, checkpoint, Ledger(), appeals=AppealBudget(0))


def judge_samples(
    context: Context, hotkey: bytes, sources: HotkeySources, verdict: Accepted, *, late: bool
) -> Verdict:
    """A provisional verdict after its samples: unchanged, or refused because they differ from the
    commitment. late: only mirrors are asked. Raises UnjudgedError: as `judge_hotkey`."""

    def attempt() -> Refusal | None:
        plan = plan_samples(context, hotkey)
        return find_sample_fault(_read(plan, sources, ReadRequest(samples=True, late=late)))

    return verdict.conclude(_try_twice(attempt, context, hotkey))


def find_sample_fault(samples: CheckedSubmission) -> Refusal | None:
    """The fault in the samples of a file, in words that name them as its place."""
    fault = samples.refusal
    return fault and replace(fault, detail=f"a sampled rollout: {fault.detail}")


def _plan(
    context: Context,
    hotkey: bytes,
    checkpoint: Outline,
    groups: Sequence[int] | None,
    leave_out: int = 0,
) -> ReadPlan:
    id_bits = get_id_bits(len(checkpoint.tokenizer.drawable))
    if groups is None:
        return plan_audit(context, hotkey, id_bits)
    return plan_groups(context, hotkey, groups, id_bits, leave_out=leave_out)


def _read(plan: ReadPlan, sources: HotkeySources, request: ReadRequest) -> CheckedSubmission:
    """What was read ahead of the file, or else is read now. Raises StoreError."""
    context, hotkey, ahead = plan.context, plan.hotkey, sources.ahead
    if ahead is not None and plan.purpose is not Purpose.GROUPS:
        checked = ahead.take(context, hotkey, request)
        if checked is not None:
            return checked
    # reading on the judge's own thread, which others wait for, must not take long
    with nullcontext() if ahead is None else within(_AGAIN_S):
        return read_submission(plan, open_submission(context, hotkey, sources, request))


def _try_twice(attempt: Callable[[], _R], context: Context, hotkey: bytes) -> _R | Refusal:
    """What an attempt returns, or the refusal of a file that cannot be read."""
    broken: UnjudgedError | None = None
    name = f"what {encode_ss58(hotkey)} shows in window {context.window}"
    while True:
        try:
            with note_unjudged(name):
                return attempt()
        except StoreError as error:
            return refuse_unread(error)
        except UnjudgedError as error:  # what is lacking now would be lacking again
            if broken is not None or isinstance(error.__cause__, OperatorError):
                raise
            broken = error


@contextmanager
def note_unjudged(name: str, *passed: type[Exception]) -> Iterator[None]:
    """Raise an UnjudgedError for whatever the body throws while it judges what has this name, but
    for a StoreError and `passed`."""
    through: tuple[type[BaseException], ...] = (*_STOPS, StoreError, *passed)
    try:
        yield
    except through:
        raise
    except OperatorError as error:
        raise UnjudgedError(str(error)) from error
    except BaseException as error:  # a panic of a library is no Exception
        logger.exception("the judge is broken by %s", name, extra={"event": "judge_broken"})
        raise UnjudgedError(f"the judge is broken by {name}: {type(error).__name__}") from error


def judge_with_checkpoint(
    reader: SubmissionReader,
    hotkey: bytes,
    context: Context,
    checkpoint: Checkpoint,
    *,
    groups: Sequence[int] | None = None,
    **options: Unpack[JudgeOptions],
) -> Verdict:
    """The verdict under a loaded checkpoint, on this file alone, samples included where they are
    known. Arguments as in `judge_hotkey`. Raises StoreError: the file cannot be read."""
    submission = read_submission(_plan(context, hotkey, checkpoint, groups), reader)
    if groups is None and submission.refusal is None:
        options["samples"] = read_samples(reader, hotkey, context)
    return judge_and_carry(submission, checkpoint, Ledger(), **options).verdict


def read_samples(
    reader: SubmissionReader, hotkey: bytes, context: Context
) -> CheckedSubmission | None:
    """The samples of a file; None: they are not known yet. Raises StoreError: they cannot be
    read."""
    if context.sample is None:
        return None
    return read_submission(plan_samples(context, hotkey), reader)


def judge_and_carry(
    submission: CheckedSubmission | Examined,
    checkpoint: Checkpoint,
    ledger: Ledger,
    **options: Unpack[JudgeOptions],
) -> JudgeResult:
    """Judge under a loaded checkpoint, with the ledger of the seat's settlement so far."""
    temperature = submission.context.parameters.work.temperature
    forward = options.get("forward") or checkpoint.get_forward(temperature)
    more = MeasureOptions(
        appeal=AffordableAppeal(checkpoint, temperature, options.get("appeals")),
        samples=options.get("samples"),
        validator=options.get("validator"),
        hand_out=options.get("hand_out", False),
    )
    tokenizer, calibration = checkpoint.tokenizer, checkpoint.calibration
    if isinstance(submission, Examined):
        return measure(submission, forward, calibration, ledger, **more)
    manifest, pool = checkpoint.manifest, checkpoint.piece_pool
    known = submission, tokenizer, forward, calibration, ledger
    return judge(*known, manifest=manifest, pool=pool, **more)


def examine_file(
    reader: SubmissionReader,
    hotkey: bytes,
    context: Context,
    outline: Outline,
    groups: Sequence[int] | None = None,
) -> Refused | Examined:
    """What the judge finds in a file without a model. Raises StoreError: it cannot be read."""
    submission = read_submission(_plan(context, hotkey, outline, groups), reader)
    manifest, pool = outline.manifest, outline.piece_pool
    return examine(submission, outline.tokenizer, manifest=manifest, pool=pool)
