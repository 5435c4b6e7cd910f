"""Judging a file by its commitment: reader, checkpoint and judge put together.

Validator and trainer both come through here; `assay verify` brings a file of its own.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from assay.artifacts.checkpoints.checkpoint_folder import CheckpointFolder
from assay.artifacts.parquet.parquet_worker import Budget, ParquetWorker, WorkerError
from assay.artifacts.ports import BeaconSource, Chain
from assay.artifacts.submissions.submission_file import SubmissionFile
from assay.artifacts.submissions.submission_layout import get_limits
from assay.artifacts.submissions.submission_pack import explain_unread
from assay.artifacts.submissions.submission_reader import MirroredReader, MirrorStore
from assay.environments import open_environment
from assay.inference import Checkpoint, Outline, UnusableCheckpointError
from assay.network.store import ObjectStore, StoreError, within
from assay.protocol import Context, Footer, Parameters, Reason, Refusal, encode_ss58
from assay.protocol.commitment import make_object_name
from assay.protocol.manifest import find_fault
from assay.protocol.selection import select_groups
from assay.verification import Forward, Ledger, SubmissionReader, Verdict, judge

logger = logging.getLogger("assay")

#: What a broken judge or model raises. The network's and the operator's errors are not among them.
OUR_FAULTS = (RuntimeError, ValueError, ArithmeticError, LookupError, TypeError, MemoryError)


#: Seconds that a judge who has files read ahead waits for servers itself, once that went wrong.
_AGAIN_S = 20.0


class StoreFinder(Protocol):
    """Which stores are read from here: a mapping from locators, or `network.store`'s rule."""

    def get(self, locator: str, /) -> ObjectStore | None:
        """The store of a locator that stands on chain; None where it is not opened here."""


class SubmissionSources(Protocol):
    """Where miners' files are read from, and by whom."""

    @property
    def stores(self) -> StoreFinder:
        """A locator on chain is a stranger's word, and leads only where these allow."""

    @property
    def worker(self) -> ParquetWorker:
        """Parses them."""

    @property
    def mirrors(self) -> Callable[[bytes], Sequence[MirrorStore]]:
        """Stores that may have what a miner's own does not show of the submission of a root, in
        the order in which they are asked."""


class FilesAhead(Protocol):
    """Miners' files that were read before somebody asked for them."""

    def take(self, context: Context, hotkey: bytes) -> SubmissionReader | None:
        """What was read of a file, once; None: nothing was."""


def know_no_mirrors(root: bytes) -> Sequence[MirrorStore]:
    """For who reads miners' own stores alone."""
    return ()


@dataclass(frozen=True, slots=True)
class JudgeSources:
    """Everything that a judging neuron reads from.

    Attributes:
        stores: a locator on chain is a stranger's word, and leads only where these allow.
        mirrors: see `SubmissionSources`.
        ahead: files that were read ahead; None: each is read when it is judged.
    """

    chain: Chain
    beacons: BeaconSource
    checkpoints: CheckpointFolder
    stores: StoreFinder
    worker: ParquetWorker
    mirrors: Callable[[bytes], Sequence[MirrorStore]] = know_no_mirrors
    ahead: FilesAhead | None = None


class AbsentSubmission:
    """A file that cannot be had."""

    def read_footer(self) -> Footer | Refusal:
        """Always a refusal."""
        return Refusal(Reason.NOT_REVEALED, "the locator on chain leads to no store known here")

    def read_group(self, index: int) -> bytes | Refusal:
        """Always a refusal."""
        return Refusal(Reason.NOT_REVEALED, "the file is not there", index)


def open_submission(
    context: Context, hotkey: bytes, sources: SubmissionSources, budget: Budget | None = None
) -> SubmissionReader:
    """A reader of the file that a hotkey committed to: its own copy, or any mirror's that matches
    the root.

    Args:
        budget: of the parser's time; None: a fresh one.
    """
    committed = context.commitments.get(hotkey)
    if committed is None:
        return AbsentSubmission()

    def open_own() -> SubmissionReader:
        store = sources.stores.get(committed.locator)
        if store is None:
            return AbsentSubmission()
        source = store.open(make_object_name(encode_ss58(hotkey), context.window))
        limits = get_limits(context.parameters)
        expected = _list_expected(context, hotkey)
        return SubmissionFile(source, sources.worker, limits, expected, budget)

    mirrors = sources.mirrors(committed.root)
    return MirroredReader(context, hotkey, open_own, mirrors) if mirrors else open_own()


def _list_expected(context: Context, hotkey: bytes) -> list[int]:
    """The groups that an audit asks for."""
    work, count = context.parameters.work, context.commitments[hotkey].groups
    if not 0 < count <= work.group_cap:
        return []
    chosen = select_groups(
        context.audit_seed, hotkey, count, work.audited_groups, work.sampled_groups
    )
    return sorted(chosen.audited + chosen.sampled)


def open_checkpoint(
    checkpoints: CheckpointFolder, digest: bytes, parameters: Parameters
) -> Checkpoint:
    """The checkpoint of a digest, loaded and within the parameters' bounds.

    Raises:
        UnusableCheckpointError: it is unusable whoever looks at it, and voids its windows.
        CheckpointError: it is not here, or damaged: our own affair.
    """
    checkpoint = checkpoints.get(digest)
    fault = find_checkpoint_fault(checkpoint, parameters)
    if fault is not None:
        raise UnusableCheckpointError(f"checkpoint {digest.hex()[:16]}… is unusable: {fault}")
    return checkpoint


def find_checkpoint_fault(checkpoint: Checkpoint | Outline, parameters: Parameters) -> str | None:
    """Why a published checkpoint is unusable whoever looks at it, or None."""
    fault = find_fault(
        checkpoint.manifest, checkpoint.calibration, parameters.tests, parameters.work.max_tokens
    )
    if fault is not None:
        return fault
    ends, drawable = checkpoint.manifest.end_tokens, checkpoint.tokenizer.drawable
    if any(end >= len(drawable) or not drawable[end] for end in ends):
        return f"end tokens {ends} are not all ids that the model may draw"
    levels = checkpoint.manifest.levels
    legal = open_environment(parameters.environment).levels
    if list(levels) != sorted(set(levels)) or not set(levels) <= set(legal):
        return f"levels {levels} are not ascending levels of the environment"
    return None


def judge_hotkey(
    context: Context,
    hotkey: bytes,
    checkpoint: Checkpoint,
    sources: JudgeSources,
    ledger: Ledger,
    *,
    groups: Sequence[int] | None = None,
    forward: Forward | None = None,
    validator: bytes | None = None,
) -> tuple[Verdict, Ledger]:
    """Fetches and judges what a hotkey committed to, whatever happens on the way.

    What breaks the judge is tried once more with nothing left of the first time: a fresh reader, a
    fresh process for Parquet. Broken again, it is INTERNAL. A store that cannot be read is the
    miner's to keep readable, links and all: NOT_REVEALED.

    Raises:
        WorkerError: we cannot parse anything: look again later.
    """
    name = f"what {encode_ss58(hotkey)} shows in window {context.window}"
    for last in (False, True):
        try:
            submission = None
            if sources.ahead is not None:
                submission = sources.ahead.take(context, hotkey)
            if submission is None:
                submission = open_submission(context, hotkey, sources)
            with _allow_seconds(sources):
                return judge_and_carry(
                    submission,
                    hotkey,
                    context,
                    checkpoint,
                    ledger,
                    groups=groups,
                    forward=forward,
                    validator=validator,
                )
        except StoreError as error:
            detail = explain_unread(error)
            found = Verdict(context.window, hotkey, Reason.NOT_REVEALED, detail, unbound=True)
            return found, ledger
        except WorkerError:
            raise
        except OUR_FAULTS as error:
            # its text may name files of this machine, and verdicts are published
            logger.exception("the judge is broken by %s", name, extra={"event": "judge_broken"})
            detail = f"our own fault, not the miner's: {type(error).__name__}"
            verdict = Verdict(context.window, hotkey, Reason.INTERNAL, detail)
            if not last:
                sources.worker.renew()
    return verdict, ledger


def _allow_seconds(sources: JudgeSources) -> AbstractContextManager[object]:
    """Whoever reads on the judge's own thread, which others wait for, does not read for long."""
    return nullcontext() if sources.ahead is None else within(_AGAIN_S)


def judge_with_checkpoint(
    submission: SubmissionReader,
    hotkey: bytes,
    context: Context,
    checkpoint: Checkpoint,
    *,
    groups: Sequence[int] | None = None,
    forward: Forward | None = None,
) -> Verdict:
    """The verdict under a loaded checkpoint, of this file alone; arguments as `judge` has them."""
    return judge_and_carry(
        submission, hotkey, context, checkpoint, Ledger(), groups=groups, forward=forward
    )[0]


def judge_and_carry(
    submission: SubmissionReader,
    hotkey: bytes,
    context: Context,
    checkpoint: Checkpoint,
    ledger: Ledger,
    *,
    groups: Sequence[int] | None = None,
    forward: Forward | None = None,
    validator: bytes | None = None,
) -> tuple[Verdict, Ledger]:
    """The same with the ledger of the seat's settlement so far, and that ledger afterwards."""
    temperature = context.parameters.work.temperature
    return judge(
        submission,
        hotkey,
        context,
        checkpoint.tokenizer,
        forward or checkpoint.get_reference(temperature),
        checkpoint.calibration,
        ledger,
        manifest=checkpoint.manifest,
        appeal=checkpoint.get_appeal(temperature),
        groups=groups,
        validator=validator,
    )
