"""Requests to the processes of a team as bytes: a JSON header, and arrays in safetensors' format.

Nothing is pickled: the links of a team authenticate nobody, and a pickle runs what its sender
wrote. A request holds plain values and the records that `_RECORDS` lists, and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from assay.inference.workers.messages import pack, unpack
from assay.protocol.episode import Reply
from assay.training.config import LearnConfig
from assay.training.grpo import LOSSES
from assay.training.imitation import Example
from assay.training.lesson import Group
from assay.training.objectives import Distillation, Imitation, Preference
from assay.training.preferences import Pair
from assay.training.schedule import Schedule

#: Most bytes of a request. A lesson of 100 million tokens has 1.6 GB.
REQUEST_BYTES_MAX = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Plan:
    """The parts of a learner, see `make_shared`: what every process needs, and folders, which the
    first one reads.

    Attributes:
        outlines: config and router ramp of the parent, and of the reference if there is one.
        adapter: the bytes of its file.
    """

    parent: Path
    config: LearnConfig
    reference: Path | None
    device: str
    outlines: tuple[tuple[bytes, int], ...]
    adapter: bytes | None


@dataclass(frozen=True, slots=True)
class Request:
    """A request of the first process to all.

    Attributes:
        step: steps behind the first one's learner. All must have as many; None: it does not matter.
    """

    name: str
    arguments: tuple[Any, ...] = ()
    step: int | None = None


_VALUES = (Example, Group, LearnConfig, Pair, Plan, Reply, Request, Schedule)
_OBJECTIVES = (Distillation, Imitation, Preference)
_RECORDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (*_VALUES, *_OBJECTIVES, *LOSSES.values())
}
#: The columns of a request's numbers, and their types.
_KINDS: dict[str, type[Any]] = {"ints": np.int64, "floats": np.float64, "bytes": np.uint8}
_Columns = dict[str, list[NDArray[Any]]]


def encode_request(request: Request) -> bytes:
    """Encode a request. Raises TypeError: it holds something that no request may hold."""
    columns: _Columns = {name: [np.zeros(0, kind)] for name, kind in _KINDS.items()}
    header = {"request": _encode(request, columns)}
    return pack(header, {name: np.concatenate(parts) for name, parts in columns.items()})


def _encode(value: Any, columns: _Columns) -> Any:
    """A value in JSON: a plain one as itself, another as an object with its kind. Numbers of a
    list, and bytes, are in the columns, in their order."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    kind = type(value).__name__
    if isinstance(value, Path):
        return {"path": str(value)}
    if isinstance(value, bytes):
        columns["bytes"].append(np.frombuffer(value, np.uint8))
        return {"bytes": len(value)}
    if type(value) in (list, tuple):
        return {kind: _encode_items(value, columns)}
    if _RECORDS.get(kind) is type(value):
        return {kind: [_encode(getattr(value, f.name), columns) for f in fields(value)]}
    raise TypeError(f"a request to a team cannot hold a {kind}")


def _encode_items(items: Sequence[Any], columns: _Columns) -> Any:
    for name, kind in ("ints", int), ("floats", float):
        if items and all(type(item) is kind for item in items):
            columns[name].append(np.array(items, _KINDS[name]))
            return {name: len(items)}
    return [_encode(item, columns) for item in items]


def decode_request(data: bytes) -> Request:
    """Decode a request. Raises ValueError: the bytes are not one."""
    try:
        header, arrays = unpack(data)
        columns = {name: arrays[name].astype(kind, copy=False) for name, kind in _KINDS.items()}
        value = _Reader(columns).decode(header["request"])
    except (LookupError, RecursionError, SafetensorError, TypeError, ValueError) as error:
        raise ValueError(f"no request of a team: {error}") from None
    if not isinstance(value, Request) or not isinstance(value.name, str):
        raise ValueError("no request of a team")
    return value


class _Reader:
    """Decodes values, and takes their numbers from the columns in turn."""

    def __init__(self, columns: dict[str, NDArray[Any]]) -> None:
        self._columns = columns
        self._read = dict.fromkeys(columns, 0)

    def decode(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        ((kind, inner),) = value.items()
        if kind == "path":
            return Path(inner)
        if kind == "bytes":
            return self._take(kind, inner).tobytes()
        if kind in ("list", "tuple"):
            items = self._decode_items(inner)
            return items if kind == "list" else tuple(items)
        return _RECORDS[kind](*(self.decode(part) for part in inner))

    def _decode_items(self, items: Any) -> list[Any]:
        if isinstance(items, dict):
            ((name, count),) = items.items()
            return list(self._take(name, count).tolist())
        return [self.decode(item) for item in items]

    def _take(self, name: str, count: int) -> NDArray[Any]:
        begin = self._read[name]
        column = self._columns[name][begin : begin + count]
        if count < 0 or len(column) != count:
            raise ValueError(f"{count} {name} are missing")
        self._read[name] += count
        return column
