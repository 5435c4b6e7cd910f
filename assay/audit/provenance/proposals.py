"""What a network has proposed to itself, who wrote it, who has solved it and how hard it was.

All of it follows from what steps consumed, as the pool itself does (specification, section 11.3):
rows of miners' groups, each in the step of its own window. The trainer's own groups and replays do
not count. What a step says of it does not depend on others (`read_step_findings`), so that whoever
looks again reads only new steps; `make_pool_history` puts it together.
"""

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from assay.artifacts.checkpoints.download import DownloadLimits, fetch_outline
from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.discovery import fetch_parameters
from assay.artifacts.steps.file import ConsumedGroup, open_step_parser
from assay.artifacts.steps.folder import Step, StepError, read_step, read_step_groups
from assay.artifacts.steps.parquet_worker import ParquetWorker
from assay.artifacts.steps.pool import DrawnBy
from assay.artifacts.steps.replay import STALENESS_MAX, find_false_origin
from assay.artifacts.store_objects import UnavailableError
from assay.audit.provenance.consumed import describe_group, replay_group
from assay.audit.provenance.course import find_published_step
from assay.environments.pieces.growth import PoolFigures, measure_pool, read_pool
from assay.environments.pieces.piece import Piece
from assay.environments.pieces.pool import list_first_pieces
from assay.environments.pooling import find_asked_piece, find_proposal, is_proposing
from assay.environments.registry import get_pool_cap
from assay.environments.scoring import run_all
from assay.inference.checkpoint import Outline
from assay.inference.folder import CheckpointError
from assay.network.store.base import ObjectStore
from assay.network.store.folder import open_folder
from assay.protocol.parameters import Parameters
from assay.settings.loading import ConfigError

#: Seconds for fetching a checkpoint without its tensors.
_FETCH_S = 30.0


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
    """The pool of a line's newest checkpoint.

    Attributes:
        number: the checkpoint's. steps: how many were read.
        figures: of the pool. rows: of it, newest first.
    """

    number: int
    steps: int
    figures: PoolFigures
    rows: Sequence[PoolRow]


@dataclass(slots=True)
class StepFindings:
    """What a step says of proposals. Digests and hotkeys in hex.

    Attributes:
        number: of the checkpoint that it made. window: whose groups count.
        figures: of the pool that it made.
        proposed: rollouts of miners that were asked for a proposal. valid: valid ones among them.
        authors: digest of a proposed piece → `make_mark` of its first input → hotkey, index and
            rollout of the first that proposed it with this, where the pool before did not have it.
            A step may add a piece with a later input, where the first is too dear for an answer.
        tries: digest of a piece → hotkey → rollouts that were asked it, and right ones.
    """

    number: int
    window: int
    figures: PoolFigures
    proposed: int = 0
    valid: int = 0
    authors: dict[str, dict[str, tuple[str, int, int]]] = field(default_factory=dict)
    tries: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "StepFindings":
        """Of what `to_json` made."""
        return cls(**document | {"figures": PoolFigures(**document["figures"])})


@dataclass(frozen=True, slots=True)
class StepPlace:
    """Where steps' checkpoints and parameters are.

    Attributes:
        models: folder of checkpoints. rules: stores with parameters.
        stores: from which checkpoints that are not in `models` are fetched, without tensors.
    """

    models: Path
    rules: Sequence[ObjectStore]
    stores: Sequence[ObjectStore] = ()

    def fetch(self, digest: bytes) -> None:
        """Fetch a checkpoint's files but its tensors, if there are stores. Raises CheckpointError:
        they do not have it."""
        if self.stores:
            fetch_outline(self.stores, digest, self.models, DownloadLimits(seconds=_FETCH_S))

    def get_outline(self, digest: bytes) -> Outline:
        """Raises CheckpointError: it is not here."""
        self.fetch(digest)
        return CheckpointFolder(self.models).get_outline(digest)

    def get_parameters(self, step: Step) -> Parameters:
        """Raises StepError: they are not here."""
        for store in self.rules:
            with suppress(UnavailableError):
                return fetch_parameters(store, step.record.parameters)
        raise StepError(f"the parameters of {step.path} are not here")


def open_place(folder: Path) -> StepPlace:
    """That of a trainer's folder, or of one with fetched steps."""
    return StepPlace(folder / "models", [open_folder(folder / "steps" / "rules")])


def read_pool_history(folder: Path, most: int) -> PoolHistory:
    """The pool of the newest checkpoint that a step in a folder made, by the steps of its line, as
    far as their checkpoints are here.

    Args:
        folder: a trainer's, or one with fetched steps.
        most: steps to read, the newest.

    Raises:
        ConfigError: no step is here, or the network has no proposals.
        StepError: a step cannot be read, or its groups are not those of its problems.
        CheckpointError: a checkpoint that generated groups of the newest step, or that it began
            with or made, is not here.
        WorkerError: the sandbox cannot run.
    """
    line, place = list_line(folder, most), open_place(folder)
    if not line:
        raise ConfigError(f"{folder} has no steps: name a trainer's folder with --dir")
    if get_pool_cap(place.get_parameters(line[0]).environment) is None:
        raise ConfigError(f"the network of {line[0].path} has no proposals")
    found: list[StepFindings] = []
    with open_step_parser() as parser:
        for step in line:
            try:
                found.append(read_step_findings(step, parser, place))
            except CheckpointError:
                if not found:
                    raise
                break
    return make_pool_history(line[0], place, found)


def list_line(folder: Path, most: int) -> list[Step]:
    """The newest step in a folder and those before it on its line, newest first, at most `most`.
    Raises StepError: one cannot be read."""
    paths = sorted((folder / "steps").glob("step-*.json"), reverse=True)
    return _follow(map(read_step, paths), most)


def list_published_line(stores: Sequence[Path], digests: Sequence[bytes], most: int) -> list[Step]:
    """The same of published steps.

    Args:
        stores: folders of stores, asked in order.
        digests: of the steps' records, in order. Those that no store has are left out.
    """
    found = (find_published_step(stores, digest) for digest in reversed(digests))
    return _follow((step for step in found if step is not None), most)


def _follow(steps: Iterable[Step], most: int) -> list[Step]:
    """The first of these steps and those before it on its line."""
    line: list[Step] = []
    for step in steps:
        if line and step.record.number + 1 < line[-1].record.number:
            break  # the one before is not here
        if not line or step.child == line[-1].record.parent:
            line.append(step)
        if len(line) == most:
            break
    return line


def make_pool_history(newest: Step, place: StepPlace, found: Iterable[StepFindings]) -> PoolHistory:
    """The pool that a step made, as it and the steps before it say.

    Args:
        found: of steps on its line, newest first.

    Raises:
        CheckpointError: the checkpoint that it made is not here.
    """
    pool = place.get_outline(newest.child).piece_pool
    rows = {piece.digest.hex(): PoolRow(piece) for piece in reversed(read_pool(pool))}
    steps = list(found)
    for one in reversed(steps):
        for digest, authors in one.authors.items():
            if (row := rows.get(digest)) is not None:
                _set_author(row, one, authors)
        for digest, tries in one.tries.items():
            if (row := rows.get(digest)) is not None:
                _add_tries(row, tries)
    return PoolHistory(newest.record.number, len(steps), measure_pool(pool), list(rows.values()))


def _set_author(row: PoolRow, one: StepFindings, authors: dict[str, tuple[str, int, int]]) -> None:
    known = {make_mark(given) for given in row.piece.inputs}
    author = next((found for mark, found in authors.items() if mark in known), None)
    if author is not None:
        hotkey, row.index, row.rollout = author
        row.number, row.window, row.hotkey = one.number, one.window, bytes.fromhex(hotkey)


def make_mark(given: str) -> str:
    """By which an input is known among a piece's: 16 digits of its SHA-256."""
    return sha256(given.encode()).hexdigest()[:16]


def _add_tries(row: PoolRow, tries: dict[str, tuple[int, int]]) -> None:
    for solver, (count, solves) in tries.items():
        row.tries += count
        row.solves += solves
        hotkey = bytes.fromhex(solver)
        if solves and hotkey not in row.solvers:
            row.solvers.append(hotkey)


def read_step_findings(
    step: Step, parser: ParquetWorker, place: StepPlace, seconds: float | None = None
) -> StepFindings:
    """What a step consumed says of proposals: nothing, if its network has none.

    Args:
        seconds: after which no more groups are scored. None: as long as it takes.

    Raises:
        StepError: it cannot be read, or not in time, or its groups are not those of its problems.
        CheckpointError: a checkpoint that generated groups, or was made, is not here.
        WorkerError: the sandbox cannot run.
    """
    record, ends = step.record, None if seconds is None else time.monotonic() + seconds
    parameters, made = place.get_parameters(step), place.get_outline(step.child)
    found = StepFindings(record.number, record.window, measure_pool(made.piece_pool))
    if get_pool_cap(parameters.environment) is None:
        return found
    parent, trainer = place.get_outline(record.parent), parameters.identity.trainer
    groups = read_step_groups(step, parser)
    strange = find_false_origin(record, groups, trainer, STALENESS_MAX)
    if strange is not None:  # of such checkpoints there may be any number
        raise StepError(f"{describe_group(strange[0])}: {strange[1]}")
    miners = [one for one in groups if one.window == record.window and one.hotkey != trainer]
    for digest in {one.checkpoint for one in miners}:
        place.fetch(digest)
    drawn = DrawnBy(parameters, parent, CheckpointFolder(place.models))
    known = {piece.digest for piece in read_pool(parent.piece_pool)}
    for one in sorted(miners, key=lambda one: (one.hotkey, one.index)):
        if ends is not None and time.monotonic() > ends:
            raise StepError(f"{step.path}: scoring its groups takes longer than {seconds:.0f} s")
        _read_group(one, parameters, drawn.find(one), known, found)
    return found


def _read_group(
    one: ConsumedGroup,
    parameters: Parameters,
    outline: Outline,
    known: set[bytes],
    found: StepFindings,
) -> None:
    """Take what a group says.

    Args:
        known: digests of the pieces of the pool before the step.
    """
    played = replay_group(one, parameters, outline)
    if isinstance(played, str):
        raise StepError(f"{describe_group(one)}: {played}")
    environment = outline.open_environment(parameters.environment)
    states = [episode.state for episode, _ in played[1]]
    proposals = run_all(environment, [partial(find_proposal, state) for state in states])
    first, hotkey = {piece.digest for piece in list_first_pieces()}, one.hotkey.hex()
    for rollout, (state, (_, parts), proposal) in enumerate(
        zip(states, played[1], proposals, strict=True)
    ):
        found.proposed += is_proposing(state)
        if proposal is not None:
            found.valid += 1
            digest = proposal.piece.digest
            # an input for a function of the first pool puts it into this one
            if digest not in known and proposal.widens == (digest in first):
                authors = found.authors.setdefault(digest.hex(), {})
                mark = make_mark(proposal.piece.inputs[0])
                authors.setdefault(mark, (hotkey, one.index, rollout))
        asked = find_asked_piece(state)
        if asked is not None:
            tries = found.tries.setdefault(asked.digest.hex(), {})
            count, solves = tries.get(hotkey, (0, 0))
            tries[hotkey] = count + 1, solves + (parts.is_right)
