"""Judging again what is at hand: from public facts alone, with the file, with the model.

Each tells more than the one before. What it does not know: what a validator could read from where
it sits, and the ledger of the windows before.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from assay.artifacts.checkpoints.checkpoint_folder import find_checkpoint_fault
from assay.artifacts.parquet import ParquetWorker
from assay.artifacts.submissions.submission_file import SubmissionFile
from assay.artifacts.submissions.submission_judge import judge_with_checkpoint
from assay.artifacts.submissions.submission_layout import get_limits
from assay.audit.explain.window_case import Rejudgment, RolloutMeasurement
from assay.audit.ports import Outlines
from assay.inference import (
    Checkpoint,
    CheckpointError,
    Outline,
    UnusableCheckpointError,
    load_checkpoint,
    load_outline,
)
from assay.network import ObjectSource, StoreError
from assay.protocol import Context, Header, Refusal, Rollout
from assay.protocol.encoding import EncodingError, decode
from assay.protocol.gumbel import FRACTION_BITS
from assay.protocol.seeds import compute_projection_seed, compute_rollout_seed
from assay.protocol.selection import select_positions
from assay.protocol.submission import LOGPROB_BITS, decode_rollout, split_rows
from assay.verification import (
    Measurement,
    SubmissionReader,
    Verdict,
    examine,
    find_commitment,
    make_projection,
)
from assay.verification.rollout_statistics import compute_rollout_statistics


def find_model(named: Path | None, kept: Path | None, context: Context) -> Path | None:
    """The folder of a window's checkpoint: the one named, or one kept under its digest."""
    name = context.checkpoint.hex()
    places = [place for place in (named, kept) if place is not None]
    for place in places:
        if (place / name).is_dir():
            return place / name
    return named


def judge_again(
    context: Context,
    hotkey: bytes,
    source: ObjectSource | None,
    worker: ParquetWorker,
    model: Path | None,
    outlines: Outlines | None = None,
) -> tuple[Rejudgment, tuple[str, ...]]:
    """What can be found here, and what the window's checkpoint lacks for more.

    Args:
        source: the file; None: it is not at hand.
        model: the checkpoint's folder, see `find_model`.
        outlines: asked for the checkpoint without its tensors where the folder has none of it.
    """
    outline: Outline | None = None
    try:
        outline, lacks = open_model(model, context)
        if outline is None and outlines is not None:
            outline = outlines.get(context.checkpoint)
    except UnusableCheckpointError as error:
        outline = None
        lacks = (f"the window is void for everybody, its checkpoint is unusable: {error}",)
    except CheckpointError as error:
        outline = None
        lacks = (str(error),)
    return _judge(context, hotkey, source, worker, outline), lacks


def open_model(model: Path | None, context: Context) -> tuple[Outline | None, tuple[str, ...]]:
    """The window's checkpoint, or its outline where a folder holds no more, and what it lacks.

    Args:
        model: a checkpoint, or a folder of checkpoints by digest; it may be incomplete.

    Raises:
        UnusableCheckpointError: the window is void for everybody.
    """
    if model is None:
        return None, ()
    try:
        checkpoint = load_checkpoint(model, context.checkpoint)
    except UnusableCheckpointError:
        raise
    except CheckpointError as error:
        try:
            return load_outline(model, context.checkpoint), (str(error),)
        except CheckpointError:
            return None, (str(error),)
    fault = find_checkpoint_fault(checkpoint, context.parameters)
    if fault is not None:
        raise UnusableCheckpointError(fault)
    return checkpoint, ()


def _judge(
    context: Context,
    hotkey: bytes,
    source: ObjectSource | None,
    worker: ParquetWorker,
    outline: Outline | None,
) -> Rejudgment:
    committed = find_commitment(context, hotkey)
    reader = None
    if source is not None:
        reader = SubmissionFile(source, worker, get_limits(context.parameters))
    if isinstance(committed, Refusal):
        verdict = Verdict(
            context.window, hotkey, committed.reason, committed.detail, group=committed.group
        )
        return Rejudgment(verdict, outline=outline)
    if reader is None or source is None:
        return Rejudgment(None, outline=outline, lacks=("the miner's file is not at hand",))
    header, size = _read_header(reader), None
    with suppress(StoreError):
        size = source.size()
    if outline is None:
        lack = (
            f"the window's checkpoint {context.checkpoint.hex()[:16]}… is not at hand: name its "
            "folder with --model"
        )
        return Rejudgment(None, header=header, size=size, lacks=(lack,))
    try:
        examined = examine(reader, hotkey, context, outline.tokenizer, manifest=outline.manifest)
        if isinstance(examined, Verdict):
            rollout = _read_rollout(reader, context, examined)
            return Rejudgment(examined, False, outline, header, size, rollout)
        if not isinstance(outline, Checkpoint):
            lack = (
                "what needs no model finds no fault; the rest takes the window's checkpoint "
                f"{context.checkpoint.hex()[:16]}…: name its folder with --model"
            )
            return Rejudgment(None, False, outline, header, size, lacks=(lack,))
        verdict = judge_with_checkpoint(reader, hotkey, context, outline)
    except StoreError as error:
        lack = f"the miner's file cannot be read from here: {error}"
        return Rejudgment(None, False, outline, header, size, lacks=(lack,))
    measured = rollout = None
    if verdict.group is not None and verdict.rollout is not None:
        rollout = examined.shown[verdict.group][verdict.rollout]
        prompt = examined.case.make_problem(verdict.group).prompt
        measured = _measure(context, outline, verdict, prompt, rollout)
    return Rejudgment(verdict, True, outline, header, size, rollout, measured)


def _read_header(reader: SubmissionReader) -> Header | None:
    try:
        footer = reader.read_footer()
        return None if isinstance(footer, Refusal) else decode(Header, footer.header)
    except (EncodingError, StoreError):
        return None


def _read_rollout(reader: SubmissionReader, context: Context, verdict: Verdict) -> Rollout | None:
    """The rollout that a verdict names, which has been read before."""
    if verdict.group is None or verdict.rollout is None:
        return None
    data = reader.read_group(verdict.group)
    if isinstance(data, Refusal):
        return None
    rows = split_rows(data, context.parameters.work.group_size)
    return decode_rollout(rows[verdict.rollout])


def _measure(
    context: Context, checkpoint: Checkpoint, verdict: Verdict, prompt: str, rollout: Rollout
) -> RolloutMeasurement:
    """One forward pass over the rollout that a verdict names."""
    assert verdict.group is not None  # its callers have looked
    assert verdict.rollout is not None
    hotkey, group, number = verdict.hotkey, verdict.group, verdict.rollout
    (measured,) = measure_rollouts(context, checkpoint, hotkey, group, prompt, {number: rollout})
    count = len(rollout.tokens)
    positions = select_positions(context.audit_seed, hotkey, group, number, count)
    found = compute_rollout_statistics(
        rollout, measured, positions, checkpoint.calibration, context.parameters
    )
    token, worst, nats = verdict.token or 0, found.logprob_worst, float(1 << LOGPROB_BITS)
    claimed, ours = int(rollout.logprobs[worst]), int(measured.logprobs[worst])
    return RolloutMeasurement(
        tokens=count,
        claimed=int(rollout.tokens[token]),
        drawn=int(measured.best[token]),
        margin=int(measured.margins[token]) / (1 << FRACTION_BITS),
        off=int((measured.margins > 0).sum()),
        above_cap=int((measured.margins > context.parameters.tests.margin_cap).sum()),
        statistics=found,
        logprobs=(claimed / nats, ours / nats),
    )


def measure_rollouts(
    context: Context,
    checkpoint: Checkpoint,
    hotkey: bytes,
    group: int,
    prompt: str,
    rollouts: Mapping[int, Rollout],
) -> list[Measurement]:
    """One forward pass over rollouts of a group, number → rollout."""
    return checkpoint.get_reference(context.parameters.work.temperature).measure(
        checkpoint.tokenizer.encode(prompt),
        [rollout.tokens for rollout in rollouts.values()],
        [
            compute_rollout_seed(context.challenge_seed, hotkey, group, number)
            for number in rollouts
        ],
        make_projection(compute_projection_seed(context.challenge_seed), checkpoint.manifest),
    )
