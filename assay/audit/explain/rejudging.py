"""Judges again with the available inputs: public facts alone, with the file, with the model.

Each input tells more than the one before. This module does not know what a validator could read
from its own place in the network, nor the ledger of earlier windows.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assay.artifacts.checkpoints.folder import find_checkpoint_fault, require_class_of
from assay.artifacts.steps.groups import replay_all
from assay.artifacts.submissions.file import SubmissionFile
from assay.artifacts.submissions.judge import examine_file, judge_and_carry, read_samples
from assay.audit.explain.window_case import OpenedFile, Rejudgment, RolloutMeasurement, TurnPlace
from assay.audit.ports import Outlines
from assay.environments.base import Conversation, Problem
from assay.environments.dealing import make_miner_problem
from assay.inference.checkpoint import Checkpoint, Outline, load_checkpoint, load_outline
from assay.inference.folder import CheckpointError, UnusableCheckpointError
from assay.inference.placement import Placement
from assay.network.store.base import ObjectSource, StoreError
from assay.protocol.context import Committed, Context
from assay.protocol.encoding import EncodingError, decode
from assay.protocol.episode import split_turns
from assay.protocol.parameters import FRACTION_BITS
from assay.protocol.reason import Refusal
from assay.protocol.seeds import compute_projection_seed, compute_rollout_seed
from assay.protocol.selection import select_positions
from assay.protocol.submission import (
    HEADER_BYTES,
    LOGPROB_BITS,
    Header,
    Range,
    Rollout,
    decode_group_head,
    decode_ids,
    decode_opening,
    get_opening_bytes,
    is_head_committed,
    is_opening_committed,
)
from assay.verification import Ledger, Measurement, Refused, find_commitment, make_projection
from assay.verification.bounds import SKETCH_MEAN
from assay.verification.episodes import Episode
from assay.verification.rollout_statistics import compute_rollout_statistics


def find_model(named: Path | None, stored: Path | None, context: Context) -> Path | None:
    """The folder of a window's checkpoint: the one named, or one kept under its digest."""
    name = context.checkpoint.hex()
    places = [place for place in (named, stored) if place is not None]
    for place in places:
        if (place / name).is_dir():
            return place / name
    return named


def judge_again(
    context: Context,
    hotkey: bytes,
    source: ObjectSource | None,
    model: Path | None,
    outlines: Outlines | None = None,
    placement: Placement | None = None,
) -> tuple[Rejudgment, tuple[str, ...]]:
    """The findings on a window here, and the checkpoint files that are missing for more.

    Args:
        source: the file; None: it is not available.
        model: the checkpoint's folder, see `find_model`.
        outlines: source of the checkpoint without its tensors, if the folder has none of it.
        placement: where and how the checkpoint runs.
    """
    outline: Outline | None = None
    try:
        outline, lacks = open_model(model, context, placement)
        if outline is None and outlines is not None:
            outline = outlines.get(context.checkpoint)
    except UnusableCheckpointError as error:
        outline = None
        lacks = (f"the window is void for everybody, its checkpoint is unusable: {error}",)
    except CheckpointError as error:
        outline = None
        lacks = (str(error),)
    return _judge(context, hotkey, source, outline), lacks


def open_model(
    model: Path | None, context: Context, placement: Placement | None = None
) -> tuple[Outline | None, tuple[str, ...]]:
    """The window's checkpoint, or its outline if the folder has no more, and the missing files.

    Args:
        model: a checkpoint, or a folder of checkpoints by digest; it may be incomplete.

    Raises:
        UnusableCheckpointError: the window is void for everybody.
    """
    if model is None:
        return None, ()
    try:
        require_class_of(model, context.checkpoint, context.parameters)
        checkpoint = load_checkpoint(model, context.checkpoint, placement)
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
    context: Context, hotkey: bytes, source: ObjectSource | None, outline: Outline | None
) -> Rejudgment:
    committed = find_commitment(context, hotkey)
    if isinstance(committed, Refusal):
        absent = Refused(window=context.window, hotkey=hotkey, fault=committed)
        return Rejudgment(absent, outline=outline)
    if source is None:
        return Rejudgment(None, outline=outline, lacks=("the miner's file is not at hand",))
    reader = SubmissionFile(source)
    opened = _read_opening(source, reader, committed)
    if outline is None:
        missing = (
            f"the window's checkpoint {context.checkpoint.hex()[:16]}… is not at hand: name its "
            "folder with --model"
        )
        return Rejudgment(None, opened=opened, lacks=(missing,))
    try:
        examined = examine_file(reader, hotkey, context, outline)
        if isinstance(examined, Refused):
            fault = examined.fault
            tokens = _read_tokens(reader, opened, fault)
            place = None if tokens is None else _place(context, outline, hotkey, fault, tokens)
            return Rejudgment(examined, False, outline, opened, tokens, place=place)
        audited = {group.index: tuple(group.audited) for group in examined.shown}
        if not isinstance(outline, Checkpoint):
            missing = (
                "the checks that need no model find no fault; the others need the window's "
                "checkpoint "
                f"{context.checkpoint.hex()[:16]}…: name its folder with --model"
            )
            return Rejudgment(None, False, outline, opened, audited=audited, lacks=(missing,))
        samples = read_samples(reader, hotkey, context)
        verdict = judge_and_carry(examined, outline, Ledger(), samples=samples).verdict
    except StoreError as error:
        missing = f"the miner's file cannot be read from here: {error}"
        return Rejudgment(None, False, outline, opened, lacks=(missing,))
    measured = place = unlike = None
    if isinstance(verdict, Refused):
        fault = verdict.fault
        group = next((group for group in examined.shown if group.index == fault.group), None)
        number = fault.rollout
        if group is not None and number is not None and number in group.audited:
            rollout = group.audited[number]
            problem = examined.case.make_problem(group.index)
            measured = _measure(context, outline, hotkey, fault, problem, rollout)
            tokens = rollout.tokens.tolist()
            place = _place(context, outline, hotkey, fault, tokens)
            first = _find_unlike(context, outline, tokens, measured.statistics.distances)
            if first is not None:
                unlike = _place(context, outline, hotkey, replace(fault, token=first), tokens)
    return Rejudgment(
        verdict,
        True,
        outline,
        opened,
        measured=measured,
        place=place,
        unlike=unlike,
        audited=audited,
    )


def _read_opening(source: ObjectSource, reader: SubmissionFile, committed: Committed) -> OpenedFile:
    """The opening of a file, as far as it can be read."""
    size = header = opening = None
    with suppress(StoreError, EncodingError):
        size = source.size()
        data = reader.read(Range(0, get_opening_bytes(committed.groups)))
        if not isinstance(data, Refusal):
            header = decode(Header, data[:HEADER_BYTES])
            if is_opening_committed(data, committed.root):
                opening = decode_opening(data, committed.groups)
    return OpenedFile(size, header, opening)


def _read_tokens(
    reader: SubmissionFile, opened: OpenedFile, fault: Refusal
) -> tuple[int, ...] | None:
    """The completion that a fault names, which has been read before."""
    opening, group, rollout = opened.opening, fault.group, fault.rollout
    if opening is None or group is None or rollout is None or fault.unbound:
        return None
    with suppress(StoreError, EncodingError):
        data = reader.read(opening.find_head(group))
        if isinstance(data, Refusal) or not is_head_committed(data, opening, group):
            return None
        head = decode_group_head(data[-opening.sizes[group].head :], opening, group)
        within = head.find_ids(rollout)
        start = opening.find_ids(group).start + within.start
        record = reader.read(Range(start, within.size))
        if not isinstance(record, Refusal):
            return tuple(decode_ids(record, head, rollout).tolist())
    return None


def _measure(
    context: Context,
    checkpoint: Checkpoint,
    hotkey: bytes,
    fault: Refusal,
    problem: Problem,
    rollout: Rollout,
) -> RolloutMeasurement:
    """Run one forward pass over the rollout that a fault names, an audited one of its group."""
    assert fault.group is not None  # the callers have checked
    assert fault.rollout is not None
    group, number = fault.group, fault.rollout
    episode = play_again(context, checkpoint, problem, rollout.tokens.tolist())
    (measured,) = measure_rollouts(
        context, checkpoint, hotkey, group, problem.conversation, {number: rollout}, [episode]
    )
    count = len(rollout.tokens)
    positions = select_positions(context.audit_seed, hotkey, group, number, count)
    computed = compute_rollout_statistics(
        rollout, measured, positions, checkpoint.calibration, context.parameters
    )
    token, worst, nats = fault.token or 0, computed.logprob_worst, float(1 << LOGPROB_BITS)
    claimed, ours = int(rollout.logprobs[worst]), int(measured.logprobs[worst])
    return RolloutMeasurement(
        tokens=count,
        claimed=int(rollout.tokens[token]),
        drawn=int(measured.best[token]),
        margin=int(measured.margins[token]) / (1 << FRACTION_BITS),
        off=int((measured.margins > 0).sum()),
        above_cap=int((measured.margins > context.parameters.tests.margin_cap).sum()),
        statistics=computed,
        logprobs=(claimed / nats, ours / nats),
    )


def _place(
    context: Context, outline: Outline, hotkey: bytes, fault: Refusal, tokens: Sequence[int]
) -> TurnPlace | None:
    """The turn of the token that a fault names, of a rollout with these own tokens. None: the
    network's rollouts have one turn, or the fault names no token that the model has."""
    parameters, group, token = context.parameters, fault.group, fault.token
    is_known = max(tokens, default=0) < len(outline.tokenizer.drawable)
    if parameters.work.turns == 1 or group is None or token is None or not is_known:
        return None
    problem = make_miner_problem(
        outline.open_environment(parameters.environment),
        context.challenge_seed,
        hotkey,
        group,
        outline.manifest.levels,
    )
    replies = play_again(context, outline, problem, tokens).replies
    spans = split_turns(np.isin(tokens, outline.manifest.end_tokens))
    turn = next(number for number, (_, end) in enumerate(spans) if token < end)
    begin, _ = spans[turn]
    reply = next((reply for reply in replies if reply.at == begin), None)
    text = None if reply is None else outline.tokenizer.decode(reply.ids)
    return TurnPlace(turn, token - begin, text, 0 if reply is None else len(reply.ids))


def _find_unlike(
    context: Context, outline: Outline, tokens: Sequence[int], distances: NDArray[np.int64]
) -> int | None:
    """The first token of the first turn whose sketch is further off than a rollout's may be, or
    None. The judge compares blocks, which know no turns."""
    bound = SKETCH_MEAN.compute(context.parameters.tests)
    for begin, end in split_turns(np.isin(tokens, outline.manifest.end_tokens)):
        if SKETCH_MEAN.is_exceeded(float(distances[begin:end].mean()), bound):
            return begin
    return None


def play_again(
    context: Context, outline: Outline, problem: Problem, tokens: Sequence[int]
) -> Episode:
    """The episode of own tokens, as far as it goes: at least one, all of the vocabulary."""
    parameters, prompt = context.parameters, outline.tokenizer.encode(problem.conversation)
    environment = outline.open_environment(parameters.environment)
    (episode,) = replay_all(environment, problem, prompt, [tokens], parameters.work, outline)
    return episode


def measure_rollouts(
    context: Context,
    checkpoint: Checkpoint,
    hotkey: bytes,
    group: int,
    prompt: Conversation,
    rollouts: Mapping[int, Rollout],
    episodes: Sequence[Episode],
) -> list[Measurement]:
    """Run one forward pass over rollouts of a group, number → rollout, and the replies of their
    episodes."""
    replies = [
        [reply for reply in episode.replies if reply.at < len(rollout.tokens)]
        for rollout, episode in zip(rollouts.values(), episodes, strict=True)
    ]
    return checkpoint.get_reference(context.parameters.work.temperature).measure(
        [checkpoint.tokenizer.encode(prompt)] * len(rollouts),
        [rollout.tokens for rollout in rollouts.values()],
        [
            compute_rollout_seed(context.challenge_seed, hotkey, group, number)
            for number in rollouts
        ],
        make_projection(compute_projection_seed(context.challenge_seed), checkpoint.manifest),
        replies,
    )
