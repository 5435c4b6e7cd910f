"""Judges one file offline: one context, one checkpoint, one verdict.

facts = read_context(context, allow_local_beacon=False)
done = verify_file(VerifyRequest(file, context, facts, model, ComputeSettings()))
"""

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from assay.artifacts.checkpoints.folder import find_checkpoint_fault
from assay.artifacts.submissions.file import SubmissionFile
from assay.artifacts.submissions.judge import judge_with_checkpoint
from assay.inference.checkpoint import Checkpoint, load_checkpoint
from assay.inference.folder import MANIFEST_FILE
from assay.inference.plain.opening import require_class
from assay.network.store.folder import open_file
from assay.protocol.context import Context
from assay.protocol.encoding import EncodingError, decode
from assay.protocol.reason import Reason, Refusal
from assay.protocol.submission import HEADER_BYTES, Header, Range
from assay.settings.loading import ConfigError
from assay.settings.placing import open_placement
from assay.settings.sections import ComputeSettings
from assay.verification import Refused, Verdict


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """A file to judge.

    Attributes:
        file: a submission.
        context: the file of `facts`, the window's public facts.
        model: folder of the checkpoint that was in force.
        compute: where it runs.
        hotkey: the expected miner; None: the header's.
        every: judge all groups, not only the audited ones.
    """

    file: Path
    context: Path
    facts: Context
    model: Path
    compute: ComputeSettings
    hotkey: bytes | None = None
    every: bool = False


@dataclass(frozen=True, slots=True)
class Verified:
    """A verdict.

    Attributes:
        hotkey: whose file it is; None: its header cannot be read.
        loading, judging: how long the checkpoint took to load, and the file to judge, in seconds.
    """

    verdict: Verdict
    hotkey: bytes | None
    loading: float
    judging: float


def verify_file(request: VerifyRequest) -> Verified:
    """Judge a file by its window's public facts, exactly as validators do.

    Raises:
        ConfigError: the window cannot be judged with this checkpoint.
        CheckpointError: it is another than the one in force, or unusable.
    """
    facts = request.facts
    if not (request.model / MANIFEST_FILE).exists():
        raise ConfigError(
            f"{request.model} has no {MANIFEST_FILE}, so it is no checkpoint: that of the window "
            f"is models/{facts.checkpoint.hex()} in the folder of a miner, a validator or the "
            "trainer"
        )
    require_class(facts.parameters.model_class)
    placement, started = open_placement(request.compute), perf_counter()
    checkpoint = load_checkpoint(request.model, facts.checkpoint, placement)
    _require_usable(checkpoint, facts, request.context)
    loaded = perf_counter()
    submission = SubmissionFile(open_file(request.file))
    whose = request.hotkey or _read_hotkey(submission)
    verdict = _judge(submission, whose, facts, checkpoint, request.every)
    judging = perf_counter() - loaded
    hotkey = None if isinstance(whose, Refusal) else whose
    return Verified(verdict, hotkey, loaded - started, judging)


def _judge(
    submission: SubmissionFile,
    key: bytes | Refusal,
    context: Context,
    checkpoint: Checkpoint,
    every: bool,
) -> Verdict:
    if isinstance(key, Refusal):
        return Refused(window=context.window, hotkey=bytes(32), fault=key)
    committed, groups = context.commitments.get(key), None
    if every and committed is not None:
        groups = range(min(committed.groups, context.parameters.work.group_cap))
    return judge_with_checkpoint(submission, key, context, checkpoint, groups=groups)


def _require_usable(checkpoint: Checkpoint, context: Context, context_path: Path) -> None:
    """Check that a window can be judged with the checkpoint."""
    try:
        fault = find_checkpoint_fault(checkpoint, context.parameters)
    except ValueError as error:  # an environment that this version does not have
        raise ConfigError(f"{context_path}: {error}") from None
    if fault is not None:
        raise ConfigError(f"the window is void for everyone: its checkpoint is unusable: {fault}")


def _read_hotkey(submission: SubmissionFile) -> bytes | Refusal:
    """The hotkey that the file's header names, or the reason why it cannot be read."""
    data = submission.read(Range(0, HEADER_BYTES))
    if isinstance(data, Refusal):
        return data
    try:
        return decode(Header, data).hotkey
    except EncodingError as error:
        return Refusal(Reason.MALFORMED, f"the header {error}")
