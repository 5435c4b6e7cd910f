"""Vectors of adapters: the tensors that a base and factors make, and files that are refused."""

import json
from collections.abc import Callable
from hashlib import shake_256
from math import prod
from typing import Any

import torch
from torch import Tensor

from assay.inference.low_rank import (
    Adapter,
    Factors,
    decode_adapter,
    encode_adapter,
    merge,
    round_factors,
)
from assay.protocol.encoding import EncodingError

Json = Any

_BASE = bytes(range(32))
#: About, shape, rank, exponents of the base's values and of the factors' (first, last).
_CASES: list[tuple[str, tuple[int, ...], int, tuple[int, int], tuple[int, int]]] = [
    ("one product", (3, 5), 1, (-6, 0), (-8, -2)),
    ("eight products, whose order counts", (4, 6), 8, (-6, 0), (-4, 3)),
    ("changes below half a unit in the last place", (3, 4), 2, (0, 3), (-9, -6)),
    ("a stack of three matrices", (3, 2, 5), 3, (-6, 0), (-4, 0)),
    (
        "least and largest factors, and a base that they leave alone",
        (4, 4),
        4,
        (-126, 120),
        (-40, 39),
    ),
    ("a base of subnormal values", (2, 6), 2, (-133, -127), (-40, -40)),
]


def make_adapters() -> Json:
    return {
        "base": _BASE.hex(),
        "cases": [_make_case(number, *case) for number, case in enumerate(_CASES)],
        "rounded": _make_rounded(),
        "bad": [{"reason": reason, "file": data.hex()} for reason, data in _iterate_bad()],
    }


def _make_case(
    number: int,
    about: str,
    shape: tuple[int, ...],
    rank: int,
    base: tuple[int, int],
    factors: tuple[int, int],
) -> Json:
    weight = _draw(f"{number} base", shape, base)
    left = _draw(f"{number} left", (*shape[:-1], rank), factors)
    right = _draw(f"{number} right", (*shape[:-2], rank, shape[-1]), factors)
    left.view(-1)[0], right.view(-1)[-1] = 0.0, -0.0
    file = encode_adapter(Adapter(_BASE, {"w": Factors(left, right)}))
    factors_read = decode_adapter(file).factors["w"]
    made = merge(weight, factors_read)
    assert torch.equal(made.view(torch.int16), merge(weight, factors_read, 1).view(torch.int16))
    return {
        "about": about,
        "shape": list(shape),
        "base": _to_hex(weight),
        "file": file.hex(),
        "made": _to_hex(made),
    }


def _make_rounded() -> Json:
    """Factors in fp32, big-endian, as they are published."""
    values = [1.0, 1 + 2**-8, 1 + 3 * 2**-8, -(1 + 2**-8 + 2**-20), 2.0**-40, 2.0**-41, -(2.0**-60)]
    values += [0.0, 2.0**-40 * (1 - 2**-9), 2.0**39, 1e-7, -3.3e5]
    left = torch.tensor([values])
    rounded = round_factors(left, torch.ones(len(values), 1)).left
    return {
        "fp32": left.view(torch.int32).numpy().astype(">i4").tobytes().hex(),
        "bf16": _to_hex(rounded),
    }


def _draw(label: str, shape: tuple[int, ...], exponents: tuple[int, int]) -> Tensor:
    """bf16 of any sign and significand, with exponents between these; subnormal below -126."""
    first, last = exponents
    drawn = shake_256(f"adapter {label}".encode()).digest(3 * prod(shape))
    values = [
        (-1 if sign & 1 else 1)
        * (1 + (significand & 127) / 128)
        * 2.0 ** (first + place % (last - first + 1))
        for sign, significand, place in zip(drawn[::3], drawn[1::3], drawn[2::3], strict=True)
    ]
    return torch.tensor(values, dtype=torch.float64).to(torch.float32).bfloat16().view(shape)


def _to_hex(values: Tensor) -> str:
    """bf16, little-endian."""
    return values.contiguous().view(torch.int16).numpy().astype("<i2").tobytes().hex()


def _iterate_bad() -> list[tuple[str, bytes]]:
    """One defect each."""

    def write(left: Tensor, right: Tensor, base: str | None = None, /, **names: str) -> bytes:
        return _write(
            {names.get("left", "w.lora_B"): left, names.get("right", "w.lora_A"): right},
            _BASE.hex() if base is None else base,
        )

    left, right = _draw("left", (3, 2), (-3, 0)), _draw("right", (2, 4), (-3, 0))

    def put(value: float) -> bytes:
        changed = left.clone()
        changed[1, 1] = value
        return write(changed, right)

    good = write(left, right)
    decode_adapter(good)
    makers: dict[str, Callable[[], bytes]] = {
        "not a number": lambda: put(float("nan")),
        "infinite": lambda: put(float("-inf")),
        "too large": lambda: put(2.0**40),
        "too small": lambda: put(-(2.0**-41)),
        "rank 9": lambda: write(_draw("left", (3, 9), (0, 0)), _draw("right", (9, 4), (0, 0))),
        "rank 0": lambda: write(torch.empty(3, 0).bfloat16(), torch.empty(0, 4).bfloat16()),
        "ranks that differ": lambda: write(left, right[:1]),
        "stacks that differ": lambda: write(left.expand(2, 3, 2), right.expand(3, 2, 4)),
        "a row": lambda: write(left[0], right),
        "four sides": lambda: write(left[None, None], right[None, None]),
        "fp32": lambda: write(left.float(), right),
        "one factor alone": lambda: _write({"w.lora_B": left}, _BASE.hex()),
        "a tensor that is no factor": lambda: write(left, right, right="w.weight"),
        "no base": lambda: _write({"w.lora_B": left, "w.lora_A": right}, None),
        "a base in upper case": lambda: write(left, right, _BASE.hex().upper()),
        "a base of 31 bytes": lambda: write(left, right, _BASE.hex()[2:]),
        "cut off": lambda: good[:-2],
        "a byte after the end": lambda: good + b"\0",
        "nothing": lambda: b"",
        "a name that occurs twice": lambda: good.replace(b'"w.lora_B"', b'"w.lora_A"'),
    }
    bad = [(reason, make()) for reason, make in makers.items()]
    for reason, data in bad:
        try:
            decode_adapter(data)
        except EncodingError:
            continue
        raise AssertionError(f"{reason} is taken")
    return bad


def _write(tensors: dict[str, Tensor], base: str | None) -> bytes:
    """A safetensors file, whatever it says."""
    kinds = {torch.bfloat16: "BF16", torch.float32: "F32"}
    header: dict[str, Json] = {} if base is None else {"__metadata__": {"base": base}}
    data = b""
    for name, values in tensors.items():
        flat = values.contiguous().view(-1)
        part = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
        ends = [len(data), len(data) + len(part)]
        header[name] = {
            "dtype": kinds[values.dtype],
            "shape": list(values.shape),
            "data_offsets": ends,
        }
        data += part
    text = json.dumps(header, separators=(",", ":")).encode()
    return len(text).to_bytes(8, "little") + text + data
