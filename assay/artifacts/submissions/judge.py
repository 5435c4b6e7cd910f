"""Judges a file by its commitment: combines reader, checkpoint and judge.

Both validator and trainer use this module. `assay verify` supplies its own file.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Protocol, TypedDict, Unpack

from assay.artifacts.submissions.pack import explain_unread
from assay.artifacts.submissions.read_ahead import OUR_FAULTS, ReadAhead
from assay.artifacts.submissions.reader import Looking, SubmissionSources, open_submission
from assay.inference import Checkpoint
from assay.network.store import StoreError, within
from assay.protocol import Context, Reason, encode_ss58
from assay.sandbox import WorkerError
from assay.verification import Forward, Ledger, SubmissionReader, Verdict, find_sample_fault, judge

logger = logging.getLogger("assay")

#: Seconds that a judge with files read ahead may itself wait for servers after a failure.
_AGAIN_S = 20.0


class HotkeySources(SubmissionSources, Protocol):
    """The sources of the files to judge. `ahead` has files that were read ahead; None: each is read
    when it is judged."""

    @property
    def ahead(self) -> ReadAhead | None: ...


class JudgeOptions(TypedDict, total=False):
    """See `judge`. Without a forward pass, the checkpoint's own is used. late: FETCH_END has
    passed, and only mirrors are asked."""

    groups: Sequence[int] | None
    forward: Forward | None
    validator: bytes | None
    late: bool


def judge_hotkey(
    context: Context,
    hotkey: bytes,
    checkpoint: Checkpoint,
    sources: HotkeySources,
    ledger: Ledger,
    **options: Unpack[JudgeOptions],
) -> tuple[Verdict, Ledger]:
    """Fetch and judge the submission of a hotkey, whatever happens on the way.

    If the judge breaks, it is run once more with a fresh reader. If it breaks again, the reason is
    INTERNAL. A miner must keep its store readable, links included: an unreadable one is
    NOT_REVEALED.

    Raises:
        WorkerError: no child can be started that scores answers: try again later.
    """
    looking = Looking(late=options.get("late", False))
    if options.get("groups") is None:
        context = replace(context, sample=None)  # samples are judged separately, later

    def attempt() -> tuple[Verdict, Ledger]:
        submission = _open(context, hotkey, sources, looking)
        # reading on the judge's own thread, which others wait for, must not take long
        with nullcontext() if sources.ahead is None else within(_AGAIN_S):
            return judge_and_carry(submission, hotkey, context, checkpoint, ledger, **options)

    return _try_twice(attempt, context, hotkey, ledger)


def judge_samples(
    context: Context, hotkey: bytes, sources: HotkeySources, verdict: Verdict, *, late: bool
) -> Verdict:
    """A provisional verdict after its samples: unchanged, or refused because they differ from the
    commitment. late: only mirrors are asked."""
    committed, looking = context.commitments[hotkey], Looking(samples=True, late=late)

    def attempt() -> tuple[Verdict, Ledger]:
        submission = _open(context, hotkey, sources, looking)
        with nullcontext() if sources.ahead is None else within(_AGAIN_S):
            fault = find_sample_fault(submission, hotkey, context, committed)
        if fault is None:
            return replace(verdict, provisional=False), Ledger()
        refused = Verdict(
            context.window,
            hotkey,
            fault.reason,
            f"a sampled rollout: {fault.detail}",
            group=fault.group,
            rollout=fault.rollout,
            unbound=fault.unbound,
        )
        return refused, Ledger()

    found, _ = _try_twice(attempt, context, hotkey, Ledger())
    if found.accepted:
        return found
    # the statistics measured before stay in the verdict
    return replace(
        found,
        committed_groups=verdict.committed_groups,
        statistics=verdict.statistics,
        witness=verdict.witness,
    )


def _open(
    context: Context, hotkey: bytes, sources: HotkeySources, looking: Looking
) -> SubmissionReader:
    """The file that was read ahead, or a reader."""
    found = None
    if sources.ahead is not None:
        found = sources.ahead.take(context, hotkey, looking)
    return found or open_submission(context, hotkey, sources, looking)


def _try_twice(
    attempt: Callable[[], tuple[Verdict, Ledger]], context: Context, hotkey: bytes, ledger: Ledger
) -> tuple[Verdict, Ledger]:
    name = f"what {encode_ss58(hotkey)} shows in window {context.window}"
    for _ in range(2):
        try:
            return attempt()
        except StoreError as error:
            detail = explain_unread(error)
            found = Verdict(context.window, hotkey, Reason.NOT_REVEALED, detail, unbound=True)
            return found, ledger
        except WorkerError:
            raise
        except OUR_FAULTS as error:
            # the error's text may name files of this machine, and verdicts are published
            logger.exception("the judge is broken by %s", name, extra={"event": "judge_broken"})
            detail = f"our own fault, not the miner's: {type(error).__name__}"
            verdict = Verdict(context.window, hotkey, Reason.INTERNAL, detail)
    return verdict, ledger


def judge_with_checkpoint(
    submission: SubmissionReader,
    hotkey: bytes,
    context: Context,
    checkpoint: Checkpoint,
    **options: Unpack[JudgeOptions],
) -> Verdict:
    """The verdict under a loaded checkpoint, on this file alone. Arguments as in `judge`."""
    return judge_and_carry(submission, hotkey, context, checkpoint, Ledger(), **options)[0]


def judge_and_carry(
    submission: SubmissionReader,
    hotkey: bytes,
    context: Context,
    checkpoint: Checkpoint,
    ledger: Ledger,
    **options: Unpack[JudgeOptions],
) -> tuple[Verdict, Ledger]:
    """The same with the ledger of the seat's settlement so far. Also returns the ledger
    afterwards."""
    temperature = context.parameters.work.temperature
    return judge(
        submission,
        hotkey,
        context,
        checkpoint.tokenizer,
        options.get("forward") or checkpoint.get_forward(temperature),
        checkpoint.calibration,
        ledger,
        manifest=checkpoint.manifest,
        appeal=checkpoint.get_appeal(temperature),
        groups=options.get("groups"),
        validator=options.get("validator"),
    )
