"""A trainer's course through its rounds: the states of a round, and the table of what follows.

How it works. Blocks divide a round (`calendar`), and in each part a trainer does one thing:

    windows of the round   child_offset         reveal_blocks   a turn   a turn
    |--------------------|----------|---------|---------------|--------|--------|
                                 opening   deadline                          turns_end
     Learning -------------------> Named ---> Merging --------> Published
                                                 '------------------'-----> Learning, in the next

*Learning*: ordinary steps from its share of the windows, from the round's parent on. In the last
half of `child_blocks` before the deadline it begins no further window.
*Named*: its steps are one child, which lies on a shelf that nobody else sees. From the opening on
the trainer's slot names it. A trainer without a step names none, and waits in Learning.
*Merging*: the deadline's state says which children exist. The trainer shows its own, reads the
others', and waits for its turn, or for the result of one before it in line.
*Published*: its turn came, and its own merge is uploaded. Its slot names it from now on, unless the
chain already has another's.

A published checkpoint ends the round for everybody: it is compared with the trainer's own merge.
If it is true, the next round begins with it, else with this round's parent, as after a round that
is lost. Whoever lost a round looks back once, from the next opening on: its checkpoint may have
come late. A trainer that can no longer follow begins with the checkpoint in force.

A place is on disk before anything follows from it. On disk there is no Merging and no Published:
a trainer that is started again after the deadline shows, reads and merges again, with the same
result.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, StrEnum, auto
from pathlib import Path
from typing import ClassVar, Protocol, TypeAlias

from assay.inference.checkpoint import Checkpoint
from assay.protocol.hashing import ZERO_DIGEST
from assay.rounds.folder import MadeStep, RoundState, TrueCheckpoint
from assay.rounds.merging import RoundMerge
from assay.rounds.outer_step import OuterState
from assay.training import Learner


@dataclass(frozen=True, slots=True)
class Learning:
    """It learns from its share of the round's windows."""

    name: ClassVar[str] = "learning"
    child: ClassVar[None] = None


@dataclass(frozen=True, slots=True)
class Named:
    """Its child is made. `child`: digest of its record."""

    name: ClassVar[str] = "named"
    child: bytes


@dataclass(frozen=True, slots=True)
class Merging:
    """The deadline is over. `child`: that it has shown; None: it has none."""

    name: ClassVar[str] = "merging"
    child: bytes | None
    merging: RoundMerge
    is_short: bool = False  # too few children were found, and it has said so


@dataclass(frozen=True, slots=True)
class Published:
    """Its own merge is uploaded. `checkpoint`: its digest."""

    name: ClassVar[str] = "published"
    child: bytes | None
    merging: RoundMerge
    checkpoint: bytes


Stage: TypeAlias = Learning | Named | Merging | Published


class RoundEvent(StrEnum):
    """An event of a course."""

    STEPPED = "a step was made"
    CHILD_MADE = "its time to learn is over, and its worker update is made"
    CHILD_FAILED = "its worker update cannot be written: its steps are dropped"
    LATE = "the checkpoint of the round before was published late, and is true"
    DEADLINE = "the deadline's block is there: its worker update is shown"
    SHORT = "too few of the worker updates that were named can be read"
    IN_TURN = "its turn began, and the merge is uploaded"
    TRUE = "the published checkpoint is the round's result: the next round begins with it"
    FALSE = "the published checkpoint is another: the next round begins with this one's parent"
    LOST = "all turns are over, and nobody published: the next round begins with this one's parent"
    MISLAID = "its training was started anew elsewhere: its steps are dropped"
    FORGOTTEN = "nodes forgot the deadline's state: it begins with the checkpoint in force"
    AMENDED = "an amendment names a checkpoint, or rounds begin again: it begins with that in force"


_Row: TypeAlias = dict[RoundEvent, type[Stage]]


def _make_table() -> dict[type[Stage], _Row]:
    e = RoundEvent
    anew: _Row = {e.FORGOTTEN: Learning, e.AMENDED: Learning}
    decided: _Row = {e.TRUE: Learning, e.FALSE: Learning}
    # found after a restart alone, which is never Merging or Published
    before: _Row = anew | {e.MISLAID: Learning, e.LATE: Learning, e.DEADLINE: Merging}
    return {
        Learning: before | {e.STEPPED: Learning, e.CHILD_MADE: Named, e.CHILD_FAILED: Learning},
        Named: before,
        Merging: anew | decided | {e.SHORT: Merging, e.IN_TURN: Published, e.LOST: Learning},
        Published: anew | decided,
    }


#: State → event → next state. No other transition can happen: a KeyError is a defect of ours.
ROUND_COURSE: Mapping[type[Stage], Mapping[RoundEvent, type[Stage]]] = _make_table()


@dataclass(frozen=True, slots=True, eq=False)
class RoundPlace:
    """A trainer's place in its rounds.

    Attributes:
        network: digest of the network's first parameters.
        end: of the current round; base: digest of the checkpoint at its beginning.
        outer, root: masters and velocity there, and their root.
        residual: child whose residual is added to this round's; None: none.
        true: checkpoints that were derived here, or that the trainer began with, newest last.
        steps: made in this round.
    """

    network: bytes
    end: int
    base: bytes
    outer: OuterState
    root: bytes
    residual: bytes | None
    true: tuple[TrueCheckpoint, ...]
    steps: tuple[MadeStep, ...] = ()
    stage: Stage = Learning()

    @property
    def child(self) -> bytes | None:
        """Return the digest of this round's child, if it is made."""
        return self.stage.child

    @property
    def last(self) -> bytes:
        """Return the digest of the checkpoint after its last step."""
        return self.steps[-1].child if self.steps else self.base

    @property
    def beginning(self) -> "RoundPlace":
        """Return the beginning of the round: its steps and its child are dropped."""
        return replace(self, steps=(), stage=Learning())

    def to_state(self) -> RoundState:
        """What its folder keeps."""
        residual, child = self.residual or ZERO_DIGEST, self.child or ZERO_DIGEST
        kept = self.network, self.end, self.base, self.root
        return RoundState(*kept, self.steps, child, residual, self.true)

    @classmethod
    def from_state(cls, state: RoundState, outer: OuterState) -> "RoundPlace":
        """The place that a folder has kept, with the outer state that it names."""
        return cls(
            state.parameters,
            state.end,
            state.base,
            outer,
            state.outer,
            None if state.residual == ZERO_DIGEST else state.residual,
            state.true,
            state.steps,
            Learning() if state.child == ZERO_DIGEST else Named(state.child),
        )


class RoundCourse(Protocol):
    """A trainer's course, as its rounds read it. They change nothing in it."""

    @property
    def window(self) -> int: ...
    @property
    def parent(self) -> Checkpoint: ...
    @property
    def learner(self) -> Learner: ...
    @property
    def learned(self) -> bool: ...


class NextThing(Enum):
    """A trainer's next action."""

    LEARN = auto()  # learn from a window by an ordinary step
    WAIT = auto()  # for blocks
    GO_ON = auto()  # something was done: ask again


@dataclass(frozen=True, slots=True)
class Announce:
    """The trainer's slot is to hold a payload, whose bytes are uploaded."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class ContinueFrom:
    """The trainer's course goes on at the beginning of a round.

    Attributes:
        base: the parent of its next step, which the trainer need not upload.
        learner: file with the learner's state there.
        window: the first window to learn from.
        payload: that the trainer's slot is to hold besides, or None.
    """

    base: Checkpoint
    learner: Path
    window: int
    payload: bytes | None = None


#: What a trainer does next for its rounds.
Command: TypeAlias = NextThing | Announce | ContinueFrom
