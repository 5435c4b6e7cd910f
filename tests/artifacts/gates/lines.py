"""Lines of checkpoints whose manifests carry courses, as an honest trainer writes them of models
whose skill is given."""

import random
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from assay.inference.folder import MANIFEST_FILE, verify_manifest
from assay.network.files import write_json
from assay.protocol.encoding import to_json
from assay.protocol.gate import Course, GateCounts, Outcome, choose_outcome, continue_course
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.manifest import Manifest
from assay.protocol.parameters import GATE_PART, Gate, GateRule
from assay.training import GENESIS

GATE = Gate(GateRule.NOT_WORSE, 256, error_worse=50_000, error_better=50_000)
#: Steps from a checkpoint to the one whose manifest has its counts.
_LAG = 2
#: Of problems that two models answer differently.
_DIFFERING = 0.17


def make_line(steps: Sequence[float], gate: Gate = GATE, seed: int = 0) -> list[Manifest]:
    """Manifests, the first checkpoint's first, until all steps are made.

    Args:
        steps: what each adds to the share of problems that a model solves. A return makes none.
    """
    first, left, chance = verify_manifest(GENESIS), list(steps), random.Random(seed)
    line, digests, skill = [first], [first.digest], {first.digest: 0.0}
    led = [continue_course(first.digest, first.course, True, gate)]
    while left:
        parent, course = line[-1], led[-1]
        known = {one.checkpoint for one in course.counts}
        new = [
            digest
            for place, digest in enumerate(digests)
            if _is_of(line[place], led[place], course)
            and digest not in known
            and place <= len(line) - _LAG
        ]
        counts = [_count(digest, course, skill, digests[0], gate, chance) for digest in new]
        course = replace(course, counts=(*course.counts, *counts))
        course = replace(course, outcome=choose_outcome(course, gate))
        is_return = course.outcome is Outcome.RETURN
        made = replace(
            first,
            number=len(line),
            parent=digests[-1],
            step=bytes([1 + is_return]) * 28 + len(line).to_bytes(4, "big"),
            levels_before=parent.levels,
            course=course,
        )
        before = skill[digests[-1]]
        line.append(made)
        digests.append(made.digest)
        led.append(continue_course(digests[-1], course, False, gate))
        skill[digests[-1]] = skill[course.milestone] if is_return else before + left.pop(0)
    return line


class KnownManifests:
    """A line's manifests, but the lost ones."""

    def __init__(self, line: Sequence[Manifest], lost: Collection[int] = ()) -> None:
        self._known = {one.digest: one for one in line if one.number not in lost}

    def read_manifest(self, digest: bytes) -> Manifest | None:
        return self._known.get(digest)

    def read_number(self, digest: bytes) -> int | None:
        manifest = self._known.get(digest)
        return None if manifest is None else manifest.number


def write_line(line: Sequence[Manifest], models: Path) -> None:
    """Leave the manifests in a folder of models, as much as is kept of old ones."""
    for manifest in line:
        write_json(models / manifest.digest.hex() / MANIFEST_FILE, to_json(manifest))


def _is_of(manifest: Manifest, led: Course, course: Course) -> bool:
    """Whether a checkpoint is of a course, by the one that it leads to."""
    if manifest.step == ZERO_DIGEST or manifest.course.outcome is Outcome.RETURN:
        return False
    return (led.milestone, led.attempt) == (course.milestone, course.attempt)


def _count(
    digest: bytes,
    course: Course,
    skill: dict[bytes, float],
    first: bytes,
    gate: Gate,
    chance: random.Random,
) -> GateCounts:
    def draw(other: bytes, asked: int) -> tuple[int, int]:
        gain = skill[digest] - skill[other]
        differing = max(_DIFFERING, abs(gain))
        wins = losses = 0
        for _ in range(asked):
            place = chance.random()
            wins += place < (differing + gain) / 2
            losses += (differing + gain) / 2 <= place < differing
        return wins, losses

    beside = draw(course.milestone, gate.problems), draw(first, gate.problems // GATE_PART)
    return GateCounts(digest, digest[::-1], gate.problems, *beside[0], *beside[1])
