"""The origins that checkpoints' manifests state."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from assay.artifacts.ports import Objects
from assay.artifacts.records.run_folder import BROKEN
from assay.artifacts.store_objects import make_checkpoint_name
from assay.environments.steering import find_parent_fault, list_standings
from assay.explorer.documents.training import LevelRow
from assay.explorer.page_reader import BoundedCache
from assay.explorer.ports import CheckpointOrigin
from assay.protocol.encoding import EncodingError, from_json
from assay.protocol.errors import OperatorError
from assay.protocol.manifest import WEIGHT_START, Manifest, find_line_lie

#: Largest manifest that is read, bytes: a thousand times one of today's.
_BYTES = 1 << 20
#: Manifests in memory.
_CACHED = 1_024
_DIGEST = re.compile("[0-9a-f]{64}")


class Manifests:
    """Reads manifests from the folder of models, or from a store. Thread-safe."""

    def __init__(self, models: Path | None, stores: Sequence[Objects]) -> None:
        self._models, self._stores = models, stores
        self._origins: BoundedCache[bytes, CheckpointOrigin] = BoundedCache(_CACHED)

    def read(self, checkpoint: bytes) -> CheckpointOrigin | None:
        origin = self._origins.get(checkpoint)
        if origin is None:
            origin = self._find(checkpoint)
            if origin is not None:
                origin = replace(origin, lie=self._find_lie(checkpoint))
                self._origins.put(checkpoint, origin)
        return origin

    def _find(self, checkpoint: bytes) -> CheckpointOrigin | None:
        origins = map(parse_manifest, self._iterate_data(checkpoint))
        return next((origin for origin in origins if origin is not None), None)

    def _find_lie(self, checkpoint: bytes) -> str | None:
        """What a manifest wrongly says of its parent, if both are at hand. A lie voids nothing."""
        made = self._read_whole(checkpoint)
        parent = None if made is None else self._read_whole(made.parent)
        if made is None or parent is None:
            return None
        return find_parent_fault(made, parent) or find_line_lie(made, parent)

    def _read_whole(self, checkpoint: bytes) -> Manifest | None:
        for data in self._iterate_data(checkpoint):
            with suppress(*BROKEN, EncodingError, RecursionError):
                manifest = from_json(Manifest, json.loads(data or b""))
                if manifest.digest == checkpoint:
                    return manifest
        return None

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
    return CheckpointOrigin(
        number,
        parent if parent.strip("0") else None,
        step if step.strip("0") else None,
        _read_levels(document),
    )


def _read_levels(document: Any) -> tuple[LevelRow, ...]:
    """The levels that a manifest states; none where it is not whole."""
    try:
        standings = list_standings(from_json(Manifest, document), None)
    except EncodingError:
        return ()
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
