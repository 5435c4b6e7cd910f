"""What a network has proposed to itself, who wrote it, who has solved it and how hard it was.

All of it follows from what steps consumed, as the pool itself does (specification, section 11.3):
rows of miners' groups, each in the step of its own window. The trainer's own groups and replays do
not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.discovery import fetch_parameters
from assay.artifacts.steps.file import ConsumedGroup, open_step_parser
from assay.artifacts.steps.folder import Step, StepError, read_step, read_taken
from assay.artifacts.steps.parquet_worker import ParquetWorker
from assay.artifacts.steps.pool import DrawnBy
from assay.audit.provenance.consumed import describe_group, replay_group
from assay.environments import get_pool_cap, run_all
from assay.environments.pieces.growth import PoolFigures, measure_pool, read_pool
from assay.environments.pieces.piece import Piece
from assay.environments.pieces.pool import list_first_pieces
from assay.environments.pooling import find_asked_piece, find_proposal
from assay.network import open_folder
from assay.neurons.settings.loading import ConfigError
from assay.protocol import Parameters
from assay.protocol.parameters import MILLION


@dataclass(slots=True)
class PoolRow:
    """A row of a checkpoint's pool, and what the steps at hand say of it.

    Attributes:
        number: of the checkpoint whose step added it; None, as the next ones: of an earlier step.
        window, hotkey, index, rollout: its author's rollout.
        tries: rollouts of miners that were asked it. solves: right ones among them.
        solvers: hotkeys of these, in order.
    """

    piece: Piece
    number: int | None = None
    window: int | None = None
    hotkey: bytes | None = None
    index: int | None = None
    rollout: int | None = None
    tries: int = 0
    solves: int = 0
    solvers: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PoolHistory:
    """The pool of a folder's newest checkpoint.

    Attributes:
        number: the checkpoint's. steps: how many were read.
        figures: of the pool. rows: of it, newest first.
    """

    number: int
    steps: int
    figures: PoolFigures
    rows: Sequence[PoolRow]


def read_pool_history(folder: Path, most: int) -> PoolHistory:
    """The pool of the newest checkpoint that a step in a folder made, by the steps of its line.

    Args:
        folder: a trainer's, or one with fetched steps.
        most: steps to read, the newest.

    Raises:
        ConfigError: no step is here, or the network has no proposals.
        StepError: a step cannot be read, or its groups are not those of its problems.
        CheckpointError: a checkpoint that generated groups, or was made, is not here.
        WorkerError: the sandbox cannot run.
    """
    steps = _list_line(folder / "steps", most)
    if not steps:
        raise ConfigError(f"{folder} has no steps: name a trainer's folder with --dir")
    newest = steps[0]
    checkpoints = CheckpointFolder(folder / "models")
    pool = checkpoints.get_outline(newest.child).piece_pool
    rows = {piece.digest: PoolRow(piece) for piece in reversed(read_pool(pool))}
    with open_step_parser() as parser:
        for step in reversed(steps):
            _read_step(step, parser, checkpoints, rows)
    return PoolHistory(newest.record.number, len(steps), measure_pool(pool), list(rows.values()))


def _list_line(folder: Path, most: int) -> list[Step]:
    """The newest step and those before it on its line, newest first."""
    read = [read_step(path) for path in sorted(folder.glob("step-*.json"), reverse=True)]
    found = read[:1]
    for step in read[1:]:
        if len(found) == most:
            break
        if step.child == found[-1].record.parent:
            found.append(step)
    return found


def _read_step(
    step: Step, parser: ParquetWorker, checkpoints: CheckpointFolder, rows: dict[bytes, PoolRow]
) -> None:
    """Take what a step consumed."""
    record = step.record
    parameters = fetch_parameters(open_folder(step.path.parent / "rules"), record.parameters)
    if get_pool_cap(parameters.environment) is None:
        raise ConfigError(f"the network of {step.path} has no proposals")
    parent = checkpoints.get_outline(record.parent)
    drawn = DrawnBy(parameters, parent, checkpoints)
    trainer, before = parameters.identity.trainer, read_pool(parent.piece_pool)
    known = {piece.digest for piece in before}
    taken = [one for one in read_taken(step, parser) if one.window == record.window]
    miners = [one for one in taken if one.hotkey != trainer]
    for one in sorted(miners, key=lambda one: (one.hotkey, one.index)):
        _read_group(one, parameters, drawn, rows, record.number, known)


def _read_group(
    one: ConsumedGroup,
    parameters: Parameters,
    drawn: DrawnBy,
    rows: dict[bytes, PoolRow],
    number: int,
    known: set[bytes],
) -> None:
    outline = drawn.find(one)
    played = replay_group(one, parameters, outline)
    if isinstance(played, str):
        raise StepError(f"{describe_group(one)}: {played}")
    environment = outline.open_environment(parameters.environment)
    states = [episode.state for episode, _ in played[1]]
    proposals = run_all(environment, [partial(find_proposal, state) for state in states])
    first = {piece.digest for piece in list_first_pieces()}
    for rollout, (state, (_, parts), proposal) in enumerate(
        zip(states, played[1], proposals, strict=True)
    ):
        if proposal is not None:
            digest = proposal.piece.digest
            row = rows.get(digest)
            # an input for a function of the first pool puts it into this one
            is_origin = digest not in known and proposal.widens == (digest in first)
            if row is not None and row.number != number and is_origin:
                row.number, row.window = number, one.window
                row.hotkey, row.index, row.rollout = one.hotkey, one.index, rollout
        asked = find_asked_piece(state)
        row = None if asked is None else rows.get(asked.digest)
        if row is not None:
            row.tries += 1
            if parts.correctness == MILLION:
                row.solves += 1
                if one.hotkey not in row.solvers:
                    row.solvers.append(one.hotkey)
