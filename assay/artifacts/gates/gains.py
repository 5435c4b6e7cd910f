"""What a line of checkpoints has shown: its gain over the first checkpoint, milestones, returns.

All of it follows from manifests. Each carries the counts of its course so far, so the last manifest
of every course has all that was measured. Specification, section 7.1.

A checkpoint alone shows little: a quarter of its problems are also answered by the first
checkpoint. So its gain is that of its own problems and of those of up to seven checkpoints before
it, of the same line: what was given up at a return is left out behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from assay.protocol.betting import Pairs, bound_gain, measure_evidence
from assay.protocol.gate import Course, GateCounts, Outcome, find_milestone
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.manifest import Manifest, continue_line
from assay.protocol.parameters import Gate, GateRule

#: Checkpoints whose problems a gain is of, at most.
TOGETHER = 8
#: α of a band, millionths: each holds with 95 %, and not all of them together.
ERROR = 50_000
#: Measured checkpoints of a line that are looked for, the newest, and manifests beside theirs.
MEASURED_MAX, _BESIDE_MAX = 512, 512


class Manifests(Protocol):
    """Manifests by their checkpoints' digests; None: it is not at hand."""

    def read_manifest(self, digest: bytes) -> Manifest | None: ...

    def read_number(self, digest: bytes) -> int | None:
        """A checkpoint's number alone."""


@dataclass(frozen=True, slots=True)
class Gain:
    """Problems that were solved more than by the first checkpoint, of all asked.

    Attributes:
        asked: problems.
        checkpoints: whose problems these are.
        mean: thousandths. low, high: bounds of the mean over all problems that could be drawn.
    """

    asked: int
    checkpoints: int
    mean: int
    low: int
    high: int

    @property
    def is_shown(self) -> bool:
        """Whether the band is on one side of nothing."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Measured:
    """A checkpoint that was in force, and what it showed.

    Attributes:
        milestone: number of the checkpoint that it was measured beside; None: it is not known.
        attempt: number of its course among those from that milestone.
        is_given_up: its course ended in a return.
        own: thousandths, the gain on its own problems alone.
        gain: on them and those of checkpoints before it.
    """

    number: int
    counts: GateCounts
    milestone: int | None
    attempt: int
    is_given_up: bool
    own: int
    gain: Gain


@dataclass(frozen=True, slots=True)
class Turn:
    """A milestone, or a return to one.

    Attributes:
        number: of the checkpoint that became the milestone, or of the return.
        milestone: number of the checkpoint whose weights later ones are measured beside; None: it
            is not known.
    """

    number: int
    digest: bytes
    outcome: Outcome
    milestone: int | None


@dataclass(frozen=True, slots=True)
class GateLine:
    """What is known of a line of checkpoints.

    Attributes:
        course: of the newest checkpoint's child, with the counts that it carries on.
        milestone: number of that course's milestone; None: it is not known.
        measured, turns: in order.
        is_whole: whether that is all from the first checkpoint on.
    """

    course: Course
    milestone: int | None
    measured: Sequence[Measured]
    turns: Sequence[Turn]
    is_whole: bool


def follow_line(
    newest: bytes, manifests: Manifests, gate: Gate, most: int = MEASURED_MAX
) -> GateLine | None:
    """What a line has shown, up to a checkpoint. None: that one's manifest is not at hand, or is of
    parameters without a gate.

    Args:
        newest: digest.
        gate: of its parameters.
        most: measured checkpoints after which no earlier course is looked for.
    """
    manifest = manifests.read_manifest(newest)
    if manifest is None:
        return None
    course = continue_line(manifest, gate)
    if course.milestone == ZERO_DIGEST:
        return None
    ends: list[Manifest] = []  # the last manifest of each course
    found: Manifest | None = manifest
    while found is not None and found.course.milestone != ZERO_DIGEST:
        if sum(len(end.course.counts) for end in ends) >= most:
            break
        ends.insert(0, found)
        found = _find_course_before(found, manifests)
    is_whole = found is not None and found.course.milestone == ZERO_DIGEST
    turns = [turn for end in ends if (turn := _find_turn(end, manifests, gate)) is not None]
    milestone = manifests.read_number(course.milestone)
    return GateLine(course, milestone, _list_measured(ends, manifests), turns, is_whole)


def _find_course_before(last: Manifest, manifests: Manifests) -> Manifest | None:
    """The last manifest of the course before; the first checkpoint's where there is none."""

    def name(course: Course) -> tuple[bytes, int]:
        return course.milestone, course.attempt

    counts = last.course.counts
    found = manifests.read_manifest(counts[0].checkpoint) if counts else last
    for _ in range(_BESIDE_MAX):
        if found is None or name(found.course) != name(last.course):
            return found
        found = manifests.read_manifest(found.parent)
    return None


def _find_turn(end: Manifest, manifests: Manifests, gate: Gate) -> Turn | None:
    course = end.course
    if course.outcome is Outcome.RETURN:
        back = manifests.read_number(course.milestone)
        return Turn(end.number, end.digest, course.outcome, back)
    digest = find_milestone(course, gate) if course.outcome is Outcome.MILESTONE else None
    number = None if digest is None else manifests.read_number(digest)
    if digest is None or number is None:
        return None
    return Turn(number, digest, course.outcome, number)


def _list_measured(ends: Sequence[Manifest], manifests: Manifests) -> list[Measured]:
    measured, together = [], list[Pairs]()
    for end in ends:
        course = end.course
        milestone = manifests.read_number(course.milestone)
        is_given_up = course.outcome is Outcome.RETURN
        for one in course.counts:
            together = [*together, one.first_pairs][-TOGETHER:]
            number = manifests.read_number(one.checkpoint)
            if number is None:
                continue
            own, gain = _average([one.first_pairs]), _bound(together)
            measured.append(
                Measured(number, one, milestone, course.attempt, is_given_up, own, gain)
            )
        if is_given_up:
            together = []
    return measured


def _average(pairs: Sequence[Pairs]) -> int:
    asked = sum(one.asked for one in pairs)
    return round(1_000 * sum(one.wins - one.losses for one in pairs) / asked) if asked else 0


def _bound(pairs: Sequence[Pairs]) -> Gain:
    low, high = bound_gain(pairs, ERROR)
    return Gain(sum(one.asked for one in pairs), len(pairs), _average(pairs), low, high)


def write_points(thousandths: int) -> str:
    """Percentage points with one decimal and a true minus."""
    return f"{thousandths / 10:.1f}".replace("-", "−")


def describe_gain(line: GateLine) -> str:
    """The newest gain in one line, without a full stop."""
    if not line.measured:
        return "no checkpoint was measured yet"
    newest = line.measured[-1]
    gain, before = newest.gain, newest.gain.checkpoints - 1
    with_them = "" if not before else f" and the {before} measured before it"
    if before == 1:
        with_them = " and the one measured before it"
    solve = "solve" if before else "solves"
    amount = f"{write_points(abs(gain.mean))} points {'more' if gain.mean > 0 else 'fewer'}"
    said = (
        f"checkpoint {newest.number}{with_them} {solve} {amount if gain.mean else 'just as many'} "
        f"of {gain.asked:,} new problems {'than' if gain.mean else 'as'} the first checkpoint"
    )
    band = f" (95 %: {write_points(gain.low)} to {write_points(gain.high)})"
    chance = "" if gain.is_shown else ", which may be chance"
    return said + band + chance + _describe_end(line, newest)


def _describe_end(line: GateLine, newest: Measured) -> str:
    if not newest.is_given_up or not line.turns:
        return ""
    turn = line.turns[-1]
    back = "its milestone" if turn.milestone is None else f"checkpoint {turn.milestone}"
    return f"; these are given up: checkpoint {turn.number} is {back} again"


def describe_course(line: GateLine, gate: Gate) -> str:
    """Where the newest checkpoint's course stands, in one line, without a full stop."""
    course = line.course
    evidence = measure_evidence(course.pairs, course.attempt, gate.error_better, gate.error_worse)
    count = len(course.counts)
    of = f" of {gate.checkpoints}" if gate.rule is GateRule.BETTER else ""
    milestone = "the milestone" if line.milestone is None else f"milestone {line.milestone}"
    if not count:
        return f"course {course.attempt} from {milestone}: no checkpoint was measured yet"
    wins, losses = (sum(getattr(one, name) for one in course.pairs) for name in ("wins", "losses"))
    return (
        f"course {course.attempt} from {milestone}: {count}{of} "
        f"checkpoint{'s' if count != 1 or of else ''} measured, {wins} problems won and {losses} "
        f"lost; evidence that it is better {_write_evidence(evidence.better)} of "
        f"{_write_evidence(evidence.better_needed)} needed, worse "
        f"{_write_evidence(evidence.worse)} of {_write_evidence(evidence.worse_needed)}"
    )


def _write_evidence(thousandths: int) -> str:
    return f"{thousandths / 1_000:,.1f}" if thousandths < 10**9 else "over a million"
