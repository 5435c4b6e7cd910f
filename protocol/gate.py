"""Whether a network's checkpoints are better or worse than the one that they are measured against.

A *course* is a line of checkpoints behind a *milestone*, the checkpoint that each of them is
measured against: both answer the same problems with the same draws. The problems are drawn by
public randomness that nobody knew when the checkpoint could last be replaced, so nobody prepares
for them. Each manifest carries the counts of its course so far, and says what it does with them:

    >>> fallen = tuple(
    ...     GateCounts(bytes([n]) * 32, bytes(32), 256, 10, 40, 0, 0) for n in range(1, 4)
    ... )
    >>> course = Course(milestone=bytes([9]) * 32, attempt=1, counts=fallen)
    >>> gate = Gate(GateRule.NOT_WORSE, problems=256, error_worse=50_000, error_better=50_000)
    >>> find_course_fault(course, gate)
    'its course is worse than the milestone, and it is no return to it'

Everything that a manifest alone shows is here, and is the same for all. Whether counts are those of
the answers, and whether a checkpoint was left out, needs the answers and the chain. Specification,
section 7.1. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Annotated

from assay.protocol.betting import Pairs, find_better, is_worse
from assay.protocol.encoding import U32, Choice, Digest, Many, Record
from assay.protocol.hashing import ZERO_DIGEST, Domain, hash_fields
from assay.protocol.parameters import GATE_PART, Gate, GateRule

#: Most checkpoints of a course that a manifest may carry. A course of `COURSE_FULL` is given up:
#: so many that have not shown to be better are no loss.
COURSE_MAX, COURSE_FULL = 1_024, 1_000
#: Pairs of a checkpoint that each validator checks.
CHECKED_PAIRS = 8


class Outcome(StrEnum):
    """What a checkpoint makes of the course that its manifest carries."""

    GOES_ON = "goes on"
    #: the checkpoint that its counts show to be better is what the next ones are measured against
    MILESTONE = "milestone"
    RETURN = "return"  # this checkpoint is the milestone again: its course is given up


@dataclass(frozen=True, slots=True)
class GateCounts:
    """What one checkpoint of a course showed on its problems."""

    checkpoint: Digest
    answers: Digest  # SHA-256 of its gate.parquet
    asked: U32  # problems
    wins: U32  # problems that it solved and the milestone did not
    losses: U32  # problems that the milestone solved and it did not
    first_wins: U32  # the same beside the first checkpoint, of every fourth problem
    first_losses: U32

    @property
    def pairs(self) -> Pairs:
        """Beside the milestone."""
        return Pairs(self.asked, self.wins, self.losses)

    @property
    def first_pairs(self) -> Pairs:
        """Beside the first checkpoint."""
        return Pairs(self.asked // GATE_PART, self.first_wins, self.first_losses)


@dataclass(frozen=True, slots=True)
class Course:
    """Evidence about the checkpoints behind a milestone, as a manifest carries it."""

    milestone: Digest = ZERO_DIGEST  # zeros: nothing is measured
    attempt: U32 = 0  # number of the course among those from this milestone, from 1
    #: of each checkpoint of the course that was in force, by number
    counts: Annotated[tuple[GateCounts, ...], Many(Record(GateCounts), COURSE_MAX)] = ()
    outcome: Annotated[Outcome, Choice(Outcome, "an outcome")] = Outcome.GOES_ON

    @property
    def pairs(self) -> list[Pairs]:
        """Counts beside the milestone, checkpoint by checkpoint."""
        return [one.pairs for one in self.counts]


#: Of a checkpoint without a step, or without a gate.
NO_COURSE = Course()


def compute_gate_seed(digest: bytes, randomness: bytes) -> bytes:
    """The seed of a checkpoint's problems, 32 bytes.

    Args:
        digest: the checkpoint's.
        randomness: of the beacon round of the CHECKPOINT block of the first window in which the
            checkpoint is in force. It is not known while the checkpoint can be replaced.
    """
    return hash_fields(Domain.GATE, digest, randomness)


def compute_gate_problem_seed(gate_seed: bytes, number: int) -> bytes:
    """The seed of a checkpoint's problem `number`, and of the draws of all that answer it."""
    return hash_fields(Domain.GATE_PROBLEM, gate_seed, number.to_bytes(4, "big"))


def compute_checked_seed(answers: bytes, validator: bytes) -> bytes:
    """The seed of the problems whose answers a validator checks. `answers`: SHA-256 of the file,
    so that a trainer knows them only once the answers stand; `validator`: its hotkey."""
    return hash_fields(Domain.GATE_CHECK, answers, validator)


def find_milestone(course: Course, gate: Gate) -> bytes | None:
    """The digest of the checkpoint that a course's counts make a milestone: of those up to the
    first with which they show that one of them is better, the one with the most wins less losses,
    the first of several. None: they do not show it. A trainer says when it becomes the milestone,
    and not which one: a worse checkpoint would ride on the evidence of a better one.

    Args:
        course: whose attempt and counts have no fault.
    """
    if gate.rule is GateRule.NONE:
        return None
    place = find_better(course.pairs, course.attempt, gate.error_better)
    if place is None:
        return None
    return max(course.counts[: place + 1], key=lambda one: one.wins - one.losses).checkpoint


def continue_course(parent: bytes, course: Course, is_first: bool, gate: Gate) -> Course:
    """The course that a checkpoint's child belongs to, with the counts that it carries on.

    Args:
        parent: the checkpoint's digest.
        course: of its manifest. One that is refused leads to no course.
        is_first: whether it has no step: it is the first checkpoint of its parameters.
        gate: of the parameters, which stays the same behind their first checkpoint.
    """
    if is_first:
        return Course(parent, 1)
    if find_course_fault(course, gate) is not None:  # a stranger's integers of any size
        return NO_COURSE
    if course.outcome is Outcome.MILESTONE:
        milestone = find_milestone(course, gate)
        return NO_COURSE if milestone is None else Course(milestone, 1)
    if course.outcome is Outcome.RETURN:
        return Course(course.milestone, course.attempt + 1)
    return Course(course.milestone, course.attempt, course.counts)


def is_of_course(digest: bytes, own: Course, course: Course, gate: Gate) -> bool:
    """Whether a checkpoint is one of a course's, which counts it once it was in force.

    Args:
        digest: the checkpoint's.
        own: of its manifest. A return is the milestone itself, and shows nothing.
        gate: as of `continue_course`.
    """
    if own.outcome is Outcome.RETURN or own.milestone == ZERO_DIGEST:
        return False
    led = continue_course(digest, own, False, gate)
    return (led.milestone, led.attempt) == (course.milestone, course.attempt)


class Place(Enum):
    """Where a checkpoint stands beside a course."""

    WITHIN = "within"  # it is counted once it was in force
    BEHIND = "behind"  # it is none of the course's, and what came before it may be: a return to it
    BEFORE = "before"  # of another course: in an honest line, this one began later


def find_place(digest: bytes, own: Course, course: Course, gate: Gate) -> Place:
    """Where a checkpoint that was in force stands beside a course: as of `is_of_course`."""
    if is_of_course(digest, own, course, gate):
        return Place.WITHIN
    if own.outcome is not Outcome.RETURN:
        return Place.BEFORE
    led = continue_course(digest, own, False, gate)
    is_same = (led.milestone, led.attempt) == (course.milestone, course.attempt)
    return Place.BEHIND if is_same else Place.BEFORE


def choose_outcome(course: Course, gate: Gate) -> Outcome:
    """What an honest trainer makes of a course's counts."""
    if must_return(course.pairs, course.attempt, gate):
        return Outcome.RETURN
    return Outcome.GOES_ON if find_milestone(course, gate) is None else Outcome.MILESTONE


def find_line_fault(
    parent: bytes, before: Course, is_first: bool, course: Course, gate: Gate
) -> str | None:
    """The reason why a manifest's course does not follow from its parent's, or None. It needs the
    parent's manifest, so that it makes no checkpoint unusable: whoever audits names it.

    Args:
        parent, before, is_first, gate: of the parent, as of `continue_course`.
        course: of the manifest.
    """
    due = continue_course(parent, before, is_first, gate)
    if course.milestone != due.milestone:
        return (
            f"it is measured against {course.milestone.hex()[:16]}…, and its parent's course "
            f"against {due.milestone.hex()[:16]}…"
        )
    if course.attempt != due.attempt:
        return f"its course is number {due.attempt} from this milestone, not {course.attempt}"
    if course.counts[: len(due.counts)] != due.counts:
        return "it changes or leaves out counts that its parent carries"
    return None


def must_return(pairs: Sequence[Pairs], attempt: int, gate: Gate) -> str | None:
    """The reason why a course is given up, as one line, or None: it may go on."""
    if is_worse(pairs, gate.error_worse):
        return "its course is worse than the milestone"
    if len(pairs) >= COURSE_FULL:
        return f"its course has {COURSE_FULL:,} checkpoints"
    is_over = gate.rule is GateRule.BETTER and len(pairs) >= gate.checkpoints
    if is_over and find_better(pairs, attempt, gate.error_better) is None:
        return f"its course has not shown to be better in {gate.checkpoints} checkpoints"
    return None


def find_course_fault(course: Course, gate: Gate) -> str | None:
    """The fault of a manifest's course, or None: it makes the checkpoint unusable for everybody.
    It follows from these integers alone. A manifest without a step carries no course."""
    if gate.rule is GateRule.NONE:
        return None if course == NO_COURSE else "it carries a course, and there is no gate"
    if course.milestone == ZERO_DIGEST or not course.attempt:
        return "it carries no course"
    seen = {course.milestone}
    for one in course.counts:
        name = f"the counts of {one.checkpoint.hex()[:16]}…"
        if one.checkpoint in seen:
            return f"{name} are the milestone's, or there twice"
        seen.add(one.checkpoint)
        if one.asked != gate.problems:
            return f"{name} are of {one.asked} problems, not {gate.problems}"
        if any(p.wins + p.losses > p.asked for p in (one.pairs, one.first_pairs)):
            return f"{name} have more differing pairs than problems"
    reason = must_return(course.pairs, course.attempt, gate)
    if reason and course.outcome is not Outcome.RETURN:
        return f"{reason}, and it is no return to it"
    if course.outcome is Outcome.RETURN and not reason:
        return "it returns to the milestone, and its counts do not demand it"
    if course.outcome is Outcome.MILESTONE and find_milestone(course, gate) is None:
        return "it claims a milestone, and its counts do not show one"
    return None
