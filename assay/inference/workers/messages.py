"""Messages to and from a worker: a JSON header and arrays in safetensors' format.

Both ends are ours, on one machine or on two of one cluster. Even so nothing is pickled, because
miners wrote the content of these arrays.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from assay.inference.implementations import DEFAULT_IMPLEMENTATION
from assay.inference.placement import Placement
from assay.protocol.episode import Reply
from assay.verification import Measurement, Projection

#: Most bytes of a reply besides its arrays.
HEADER_BYTES_MAX = 1 << 16
_HEADER = "header"
_Arrays = Mapping[str, NDArray[Any]]


class WorkerTask(StrEnum):
    """The kinds of requests to a worker."""

    START = "start"  # find the device; must come first
    LOAD = "load"
    MEASURE = "measure"


class WorkerFault(StrEnum):
    """The reason why a worker that lives has no answer, in its own words."""

    DEVICE = "device"  # it does not exist, or has gone
    MEMORY = "memory"
    CHECKPOINT = "checkpoint"  # cannot be loaded here, or not now
    UNUSABLE = "unusable"  # for every worker
    BROKEN = "broken"  # the model raises


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """The place of a worker's models, and its settings.

    Attributes:
        device: a name as `find_device` takes it.
        implementation, memory_share: see `Placement`.
        threads: of PyTorch.
    """

    device: str = "cpu"
    implementation: str = DEFAULT_IMPLEMENTATION
    memory_share: float = Placement().memory_share
    threads: int = 1


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """The kind of a forward pass, and its checkpoint.

    Attributes:
        folder: of the checkpoint, under the same name on every worker's machine.
        temperature: Tq = 1024 · T.
        appeal: use the second opinion instead of the reference.
    """

    folder: Path
    digest: bytes
    temperature: int = 1_024
    appeal: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Prefill:
    """Arguments of `Forward.measure`."""

    prompts: Sequence[Sequence[int]]
    completions: Sequence[NDArray[np.uint32]]
    seeds: Sequence[bytes]
    projection: Projection
    replies: Sequence[Sequence[Reply]] | None = None

    @property
    def tokens(self) -> int:
        """The number of all tokens, prompts and replies included."""
        said = sum(len(reply.ids) for replies in self.replies or () for reply in replies)
        return sum(map(len, self.prompts)) + sum(map(len, self.completions)) + said


def encode_start(settings: WorkerSettings) -> bytes:
    return pack({"task": WorkerTask.START, "settings": asdict(settings)})


def encode_load(model: ModelRequest) -> bytes:
    return pack({"task": WorkerTask.LOAD, "model": _describe(model)})


def encode_measure(model: ModelRequest, prefill: Prefill) -> bytes:
    projection = prefill.projection
    return pack(
        {"task": WorkerTask.MEASURE, "model": _describe(model), "scale": float(projection.scale)},
        {
            "prompts": _join(prefill.prompts, np.int64),
            "prompt_lengths": _measure(prefill.prompts),
            "completions": _join(prefill.completions, np.uint32),
            "lengths": _measure(prefill.completions),
            "seeds": np.frombuffer(b"".join(prefill.seeds), np.uint8),
            "matrix": projection.matrix,
            "centre": projection.centre,
            **_lay_out_replies(prefill.replies),
        },
    )


@dataclass(frozen=True, slots=True, eq=False)
class WorkerRequest:
    """A decoded request. All but START have `model`, and only MEASURE has `prefill`."""

    task: WorkerTask
    settings: WorkerSettings | None = None
    model: ModelRequest | None = None
    prefill: Prefill | None = None


def decode_request(data: bytes) -> WorkerRequest:
    """Decode a request. Raises ValueError: the bytes are not one."""
    header, arrays = unpack(data)
    task = WorkerTask(header["task"])
    if task is WorkerTask.START:
        return WorkerRequest(task, settings=WorkerSettings(**header["settings"]))
    named = header["model"]
    model = ModelRequest(
        Path(named["folder"]), bytes.fromhex(named["digest"]), named["temperature"], named["appeal"]
    )
    if task is WorkerTask.LOAD:
        return WorkerRequest(task, model=model)
    lengths, seeds = arrays["lengths"], arrays["seeds"].tobytes()
    size = len(seeds) // max(1, len(lengths))
    prefill = Prefill(
        [row.tolist() for row in _split(arrays["prompts"], arrays["prompt_lengths"])],
        _split(arrays["completions"], lengths),
        [seeds[i * size : (i + 1) * size] for i in range(len(lengths))],
        Projection(arrays["matrix"], arrays["centre"], header["scale"]),
        _read_replies(arrays),
    )
    return WorkerRequest(task, model=model, prefill=prefill)


@dataclass(frozen=True, slots=True, eq=False)
class WorkerReply:
    """An answer, or the reason why there is none.

    Attributes:
        description: the description of a worker that has started.
        seconds: time that the worker took.
    """

    fault: WorkerFault | None = None
    detail: str = ""
    description: Mapping[str, Any] | None = None
    seconds: float = 0.0
    measured: Sequence[Measurement] = ()


_COLUMNS = ("margins", "best", "gini", "logprobs", "sketch")


def encode_reply(reply: WorkerReply) -> bytes:
    header = {
        "fault": reply.fault,
        "detail": reply.detail[: HEADER_BYTES_MAX // 16],
        "said": reply.description,
        "seconds": reply.seconds,
    }
    measured, arrays = reply.measured, {}
    if measured:
        arrays = {name: np.concatenate([getattr(m, name) for m in measured]) for name in _COLUMNS}
        arrays["lengths"] = _measure([m.best for m in measured])
    return pack(header, arrays)


def decode_reply(data: bytes) -> WorkerReply:
    """Decode a reply. Raises ValueError: the bytes are not one."""
    header, arrays = unpack(data)
    fault = header["fault"]
    measured: list[Measurement] = []
    if arrays:
        columns = [_split(arrays[name], arrays["lengths"]) for name in _COLUMNS]
        measured = [Measurement(*rows) for rows in zip(*columns, strict=True)]
    return WorkerReply(
        None if fault is None else WorkerFault(fault),
        header["detail"],
        header["said"],
        header["seconds"],
        measured,
    )


def compute_reply_max(prefill: Prefill) -> int:
    """Most bytes of a reply to a measurement."""
    columns = 3 * 8 + 4 + prefill.projection.matrix.shape[1]
    tokens = sum(map(len, prefill.completions))
    return HEADER_BYTES_MAX + tokens * columns + 8 * len(prefill.completions)


def _lay_out_replies(replies: Sequence[Sequence[Reply]] | None) -> _Arrays:
    """Arrays of replies: how many each completion has, where each stands, its length, and all ids.
    None where there are none."""
    if replies is None:
        return {}
    each = [reply for said in replies for reply in said]
    return {
        "reply_counts": _measure(replies),
        "reply_places": np.array([reply.at for reply in each], np.int64),
        "reply_lengths": _measure([reply.ids for reply in each]),
        "reply_ids": _join([reply.ids for reply in each], np.int64),
    }


def _read_replies(arrays: _Arrays) -> list[list[Reply]] | None:
    if "reply_counts" not in arrays:
        return None
    ids = _split(arrays["reply_ids"], arrays["reply_lengths"])
    places = arrays["reply_places"].tolist()
    each = iter([Reply(at, tuple(row.tolist())) for at, row in zip(places, ids, strict=True)])
    return [list(islice(each, count)) for count in arrays["reply_counts"].tolist()]


def _describe(model: ModelRequest) -> dict[str, Any]:
    return asdict(model) | {"folder": str(model.folder.resolve()), "digest": model.digest.hex()}


def pack(header: Mapping[str, Any], arrays: _Arrays | None = None) -> bytes:
    """A message: a header that JSON can hold, and arrays by any name but `header`."""
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    whole = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    return save({_HEADER: text, **whole})


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The header and the arrays of a message. Raises KeyError, SafetensorError, ValueError: the
    bytes are none."""
    arrays = load(data)
    header: dict[str, Any] = json.loads(arrays.pop(_HEADER).tobytes())
    return header, arrays


def _measure(rows: Sequence[Sequence[Any] | NDArray[Any]]) -> NDArray[np.int64]:
    return np.array([len(row) for row in rows], np.int64)


def _join(rows: Sequence[Sequence[int] | NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate([np.asarray(row, dtype) for row in rows] or [np.zeros(0, dtype)])


def _split(joined: NDArray[Any], lengths: NDArray[np.int64]) -> list[NDArray[Any]]:
    return np.split(joined, np.cumsum(lengths)[:-1]) if len(lengths) else []
