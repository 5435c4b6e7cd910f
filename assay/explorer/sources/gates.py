"""What a line of checkpoints has shown by its gate, from their manifests."""

from dataclasses import dataclass

from assay.artifacts.gates.gains import (
    GateLine,
    Measured,
    describe_course,
    describe_gain,
    follow_line,
)
from assay.explorer.documents.training import CourseEndRow, MeasuredRow
from assay.explorer.page_reader import BoundedCache
from assay.explorer.ports import GateReading
from assay.explorer.sources.manifests import Manifests
from assay.protocol.gate import Outcome, find_course_fault
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.manifest import Manifest
from assay.protocol.parameters import Gate

#: Lines in memory: each newest checkpoint has its own.
_CACHED = 4


@dataclass(frozen=True, slots=True)
class _SoundManifests:
    """Manifests whose courses are not refused: others' counts are any numbers at all."""

    manifests: Manifests
    gate: Gate

    def read_manifest(self, digest: bytes) -> Manifest | None:
        found = self.manifests.read_manifest(digest)
        if found is None or found.step == ZERO_DIGEST:
            return found
        return found if find_course_fault(found.course, self.gate) is None else None

    def read_number(self, digest: bytes) -> int | None:
        """The number that a manifest states."""
        return self.manifests.read_number(digest)


class GateLines:
    """Follows lines of manifests, each once. Thread-safe."""

    def __init__(self, manifests: Manifests) -> None:
        self._manifests = manifests
        self._known: BoundedCache[tuple[bytes, Gate], GateReading] = BoundedCache(_CACHED)

    def read(self, newest: bytes, gate: Gate) -> GateReading | None:
        """What is shown up to a checkpoint. None: its manifest is not at hand."""
        known = self._known.get((newest, gate))
        if known is None:
            line = follow_line(newest, _SoundManifests(self._manifests, gate), gate)
            if line is None:
                return None
            known = GateReading(
                describe_gain(line),
                describe_course(line, gate),
                line.is_whole,
                [_describe_measured(one) for one in line.measured],
                _list_ends(line),
            )
            if line.is_whole:  # else another manifest may be at hand soon
                self._known.put((newest, gate), known)
        return known


def _describe_measured(one: Measured) -> MeasuredRow:
    counts, first = one.counts, one.counts.first_pairs
    return MeasuredRow(
        number=one.number,
        digest=counts.checkpoint.hex(),
        milestone=one.milestone,
        attempt=one.attempt,
        asked=counts.asked,
        wins=counts.wins,
        losses=counts.losses,
        first_asked=first.asked,
        first_wins=first.wins,
        first_losses=first.losses,
        alone=one.own / 1_000,
        gain=one.gain.mean / 1_000,
        low=one.gain.low / 1_000,
        high=one.gain.high / 1_000,
        together=one.gain.checkpoints,
        given_up=one.is_given_up,
    )


def _list_ends(line: GateLine) -> list[CourseEndRow]:
    return [
        CourseEndRow(
            number=turn.number,
            digest=turn.digest.hex(),
            outcome="return" if turn.outcome is Outcome.RETURN else "milestone",
            milestone=turn.milestone,
        )
        for turn in line.turns
    ]
