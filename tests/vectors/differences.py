"""Vectors of differences between a child's masters and its parent's, in every form."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from further import write_delta
from torch import Tensor

from assay.protocol.encoding import EncodingError
from assay.rounds.wire import DifferenceForm, decode_difference, encode_difference

Json = Any
Values = Mapping[str, Sequence[float]]

EXACT = DifferenceForm()
ROUNDED = DifferenceForm(bits=16, feedback=1_000_000)
TWO_BITS = DifferenceForm(4, 16, 2, 950_000)
EIGHT_BITS = DifferenceForm(3, 10, 8, 950_000)
FIVE_BITS = DifferenceForm(7, 7, 5, 333_333)


def make_differences() -> Json:
    numbers = [round((i * 2_654_435_761 % 1_009) / 1_009 - 0.5, 3) for i in range(70)]
    parent = {"b": numbers[:50], "a": numbers[50:53], "c": [], "d": [1.0]}
    child = {
        "b": [v + (i % 7 - 3) / 64 + i / 4_096 for i, v in enumerate(parent["b"])],
        "a": [v - 0.001 for v in parent["a"]],
        "c": [],
        "d": [1.0],
    }
    residual = {"b": [((i * 7) % 11 - 5) / 512 for i in range(50)], "d": [-0.25]}
    ties = {"t": [0.0] * 20}, {"t": [1.0, -1.0, 0.5, 1.0, -0.0] * 4}
    small = {"t": [0.0] * 20}, {"t": [2.0**-99] * 3 + [-(2.0**-120)] * 7 + [2.0**-140] * 10}
    cases: list[tuple[str, DifferenceForm, Values, Values, Values]] = [
        ("all bits", EXACT, parent, child, {}),
        ("infinite", EXACT, {"t": [1.0, -0.0]}, {"t": [float("inf"), 0.0]}, {}),
        ("what shows", ROUNDED, parent, child, {}),
        ("what shows, with what did not", ROUNDED, parent, child, residual),
        ("halves to even", ROUNDED, {"t": [1.0, 1.0]}, {"t": [1 + 2**-8, 1 + 3 * 2**-8]}, {}),
        ("two bits", TWO_BITS, parent, child, {}),
        ("two bits, a residual", TWO_BITS, parent, child, residual),
        ("eight bits", EIGHT_BITS, parent, child, residual),
        ("all of a chunk", FIVE_BITS, parent, child, residual),
        ("of equal ones the first", TWO_BITS, *ties, {}),
        ("too small to say", EIGHT_BITS, *small, {}),
    ]
    return {"differences": [_make(*case) for case in cases], "bad": _make_bad()}


def _make(
    about: str, form: DifferenceForm, parent: Values, child: Values, residual: Values
) -> Json:
    before, after, rest = map(_to_tensors, (parent, child, residual))
    blobs, left = encode_difference(before, after, form, rest)
    if not form.kept:  # frames that any compressor's reader reads
        target = (
            after
            if form == EXACT
            else {n: t + rest[n] if n in rest else t for n, t in after.items()}
        )
        blobs = [b"".join(_write_delta(before[n], target[n], form) for n in sorted(before))]
    seen = decode_difference(before, blobs, form)
    names = sorted(before)
    return {
        "about": about,
        "form": _describe(form),
        "tensors": [
            {
                "name": name,
                "parent": _hex(before[name]),
                "child": _hex(after[name]),
                "residual": _hex(rest[name]) if name in rest else None,
                "seen": _hex(seen[name]),
                "left": _hex(left[name]) if name in left else None,
            }
            for name in names
        ],
        "blobs": [blob.hex() for blob in blobs],
    }


def _make_bad() -> Json:
    """One tensor of ten values, of which three are kept: unit, lower bits, upper bits, values."""
    form = DifferenceForm(3, 10, 2, 0)
    parent = {"t": torch.zeros(10)}
    child = {"t": torch.tensor([0.0, 1, 0, -3, 0, 0, 0, 2, 0, 0])}
    (good,) = encode_difference(parent, child, form, {})[0]
    rounded = _write_delta(torch.zeros(2), torch.tensor([0.0, float("inf")]), ROUNDED)
    unit = good[:2]
    cases = [
        ("cut off", form, good[:-1]),
        ("a byte after its end", form, good + b"\0"),
        ("a negative unit", form, good[:1] + b"\xbf" + good[2:]),
        ("a unit beyond 2^100", form, good[:1] + b"\x7f" + good[2:]),
        ("a unit of 2^99, and so a value of 3 · 2^99", form, b"\0\x71" + good[2:]),
        ("a unit below 2^-100", form, good[:1] + b"\x01" + good[2:]),
        ("a unit of 0, and indices", form, b"\0\0" + good[2:]),
        ("padding", form, good[:2] + bytes([good[2] | 1]) + good[3:]),
        ("more indices than are kept", form, good[:3] + b"\xfe" + good[4:]),
        ("an index twice", form, unit + b"\xe0" + b"\xc4" + good[4:]),
        ("no value that needs the unit", form, good[:4] + b"\x00"),
        ("one that is not finite", ROUNDED, rounded),
        ("marked, and the same", ROUNDED, write_delta([0, 0], [0, 1])[0].replace(b"\x40", b"\xc0")),
        ("a byte after a delta", ROUNDED, write_delta([0, 0], [0, 1])[0] + b"\0"),
    ]
    return [_refuse(*case, parent) for case in cases]


def _refuse(reason: str, form: DifferenceForm, blob: bytes, parent: Mapping[str, Tensor]) -> Json:
    before = parent if form.kept else {"t": torch.zeros(2)}
    try:
        decode_difference(before, [blob], form)
    except EncodingError as error:
        tensors = [{"name": "t", "parent": _hex(before["t"])}]
        return {
            "reason": reason,
            "because": str(error),
            "form": _describe(form),
            "tensors": tensors,
            "blobs": [blob.hex()],
        }
    raise AssertionError(f"{reason} is taken")


def _write_delta(before: Tensor, after: Tensor, form: DifferenceForm) -> bytes:
    old, new = (
        (t.bfloat16().view(torch.uint16) if form == ROUNDED else t.view(torch.uint32)).tolist()
        for t in (before, after)
    )
    return write_delta(old, new, 2 if form == ROUNDED else 4)[0] if old else b""


def _to_tensors(values: Values) -> dict[str, Tensor]:
    return {n: torch.from_numpy(np.array(v, np.float32)) for n, v in values.items()}


def _describe(form: DifferenceForm) -> Json:
    return {name: getattr(form, name) for name in ("kept", "chunk", "bits", "feedback")}


def _hex(tensor: Tensor) -> str:
    return struct.pack(f"<{tensor.numel()}f", *tensor.tolist()).hex()
