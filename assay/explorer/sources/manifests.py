"""The origins that checkpoints' manifests state."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from assay.artifacts.ports import Objects
from assay.artifacts.records.run_folder import BROKEN
from assay.artifacts.store_objects import make_checkpoint_name
from assay.environments.steering import find_parent_fault, list_standings
from assay.explorer.documents.training import CourseOutcome, LevelRow
from assay.explorer.page_reader import BoundedCache
from assay.explorer.ports import CheckpointOrigin
from assay.protocol.encoding import EncodingError, from_json
from assay.protocol.errors import OperatorError
from assay.protocol.gate import Outcome
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.manifest import WEIGHT_START, Manifest, find_line_lie
from assay.protocol.parameters import Gate

#: Largest manifest that is read, bytes: a thousand times one of today's.
_BYTES = 1 << 20
#: Manifests in memory.
_CACHED = 1_024
#: Whole ones: each may have the counts of a thousand checkpoints.
_WHOLE_CACHED = 64
_OUTCOMES: dict[Outcome, CourseOutcome] = {
    Outcome.GOES_ON: "goes on",
    Outcome.MILESTONE: "milestone",
    Outcome.RETURN: "return",
}
_DIGEST = re.compile("[0-9a-f]{64}")


class Manifests:
    """Reads manifests from the folder of models, or from a store. Thread-safe."""

    def __init__(self, models: Path | None, stores: Sequence[Objects]) -> None:
        self._models, self._stores = models, stores
        self._origins: BoundedCache[bytes, CheckpointOrigin] = BoundedCache(_CACHED)
        self._whole: BoundedCache[bytes, Manifest] = BoundedCache(_WHOLE_CACHED)
        self._compared: BoundedCache[tuple[bytes, Gate], tuple[str | None]] = BoundedCache(_CACHED)

    def read_manifest(self, digest: bytes) -> Manifest | None:
        """A whole manifest that matches its digest."""
        manifest = self._whole.get(digest)
        if manifest is None:
            parsed = map(_parse_whole, self._iterate_data(digest))
            manifest = next((one for one in parsed if one and one.digest == digest), None)
            if manifest is not None:
                self._whole.put(digest, manifest)
        return manifest

    def read_number(self, digest: bytes) -> int | None:
        """The number that a manifest states."""
        origin = self.read(digest)
        return None if origin is None else origin.number

    def read(self, checkpoint: bytes) -> CheckpointOrigin | None:
        origin = self._origins.get(checkpoint)
        if origin is None:
            origin = self._find(checkpoint)
            if origin is not None:
                self._origins.put(checkpoint, origin)
        return origin

    def _find(self, checkpoint: bytes) -> CheckpointOrigin | None:
        origins = map(parse_manifest, self._iterate_data(checkpoint))
        return next((origin for origin in origins if origin is not None), None)

    def find_lie(self, checkpoint: bytes, gate: Gate) -> str | None:
        """What a manifest wrongly says of its parent, if both are at hand. A lie voids nothing."""
        if (known := self._compared.get((checkpoint, gate))) is not None:
            return known[0]
        made = self.read_manifest(checkpoint)
        parent = None if made is None else self.read_manifest(made.parent)
        if made is None or parent is None:
            return None
        lie = find_parent_fault(made, parent) or find_line_lie(made, parent, gate)
        self._compared.put((checkpoint, gate), (lie,))
        return lie

    def _iterate_data(self, checkpoint: bytes) -> Iterator[bytes | None]:
        if self._models is not None:
            file = self._models / checkpoint.hex() / "manifest.json"
            with suppress(OSError), file.open("rb") as opened:
                yield opened.read(_BYTES)
        for store in self._stores:
            with suppress(OperatorError):
                yield store.get(make_checkpoint_name(checkpoint, "manifest.json"), _BYTES)


def parse_manifest(data: bytes | None) -> CheckpointOrigin | None:
    """The origin that a manifest states (see `Manifest`). None for other data."""
    try:
        document = json.loads(data or b"")
        parent, step, number = document["parent"], document["step"], document["number"]
        if not _DIGEST.fullmatch(parent) or not _DIGEST.fullmatch(step):
            return None
        if type(number) is not int or not 0 <= number < 1 << 64:
            return None
    except (*BROKEN, RecursionError):
        return None
    manifest = _convert(document)
    has_course = manifest is not None and manifest.course.milestone != ZERO_DIGEST
    return CheckpointOrigin(
        number,
        parent if parent.strip("0") else None,
        step if step.strip("0") else None,
        () if manifest is None else _list_levels(manifest),
        _OUTCOMES[manifest.course.outcome] if manifest is not None and has_course else None,
    )


def _parse_whole(data: bytes | None) -> Manifest | None:
    try:
        return _convert(json.loads(data or b""))
    except (*BROKEN, RecursionError):
        return None


def _convert(document: Any) -> Manifest | None:
    """A manifest; None where it is not whole."""
    try:
        return from_json(Manifest, document)
    except EncodingError:
        return None


def _list_levels(manifest: Manifest) -> tuple[LevelRow, ...]:
    """The levels that a manifest states."""
    standings = list_standings(manifest, None)
    return tuple(
        LevelRow(
            level=one.level,
            weight=one.weight / WEIGHT_START,
            before=None if one.weight_before is None else one.weight_before / WEIGHT_START,
            asked=one.asked,
            solved=one.solved,
            differ=one.mixed,
        )
        for one in standings
    )
