"""Vectors of bit fields and prefix codes: how a group's numbers are packed."""

from itertools import pairwise
from typing import Any

import numpy as np
from bad_codes import list_bad_codes, list_bad_fields, list_bad_numbers

from assay.protocol.bit_fields import BitWriter
from assay.protocol.prefix_code import compute_code_lengths, make_prefix_code

Json = Any

FIBONACCI = [1, 1]
while len(FIBONACCI) < 12:
    FIBONACCI.append(sum(FIBONACCI[-2:]))


def make_bit_fields() -> Json:
    fields = [
        [],
        [[1, 1]],
        [[0, 0], [5, 3], [0, 0], [1, 2]],
        [[255, 8], [0, 1], [1, 1]],
        [[2**32 - 1, 32], [1, 3], [2**31, 32]],
        [[1, 1], [2**56 - 1, 56], [0, 7], [1, 56]],
    ]
    narrow = [[0], [0, 0, 0], [1], [4, 0, 3], [48] * 8, [2**31 - 1, 1]]
    rice = [([], 5), ([0], 0), ([3, 0, 1], 0), ([31, 32, 0, 254], 5), ([2**32 - 1, 7], 30)]
    return {
        "fields": [{"fields": given, "bytes": _write(fields=given)} for given in fields],
        "narrow": [{"values": given, "bytes": _write(narrow=given)} for given in narrow],
        "rice": [
            {"values": given, "remainder_bits": bits, "bytes": _write(rice=(given, bits))}
            for given, bits in rice
        ],
        "bad": list_bad_fields(),
    }


def _write(fields: Json = (), narrow: Json = (), rice: Json = ()) -> str:
    writer = BitWriter()
    for value, width in fields:
        writer.write([value], width)
    if narrow:
        writer.write_narrow(narrow)
    if rice:
        writer.write_rice(np.array(rice[0], np.int64), rice[1])
    return writer.finish().hex()


def make_prefix_codes() -> Json:
    counts = [
        ("one symbol", [7]),
        ("two", [1, 1_000]),
        ("three alike: the two smallest are joined first", [1, 1, 1]),
        ("a symbol before a pair of its weight", [1, 1, 2, 2]),
        ("the earlier pair before the later", [1] * 6),
        ("nine alike", [1] * 9),
        ("in another order", [5, 1, 4, 1, 3]),
        ("pairs of different weights", [3, 3, 3, 3, 6]),
        ("as deep as can be", FIBONACCI),
        ("a power of two each", [1 << k for k in range(12)]),
    ]
    return {
        "lengths": [
            {"about": about, "counts": given, "lengths": compute_code_lengths(given)}
            for about, given in counts
        ],
        "codes": [_code(*case) for case in _iterate_numbers()],
        "bad": list_bad_codes(),
        "bad_numbers": list_bad_numbers(),
    }


def _iterate_numbers() -> list[tuple[str, int, list[int]]]:
    """About, bits of a symbol, numbers."""
    skewed = [number for number, count in enumerate(FIBONACCI) for _ in range(count)]
    far = [number * 11_900 for number in skewed]
    return [
        ("two symbols", 8, [3, 3, 3, 3, 3, 7, 7, 7, 7]),
        ("one symbol", 7, [5] * 12),
        ("a fixed width takes as many bits", 8, [5] * 2),
        ("it takes more", 8, [5] * 3),
        ("all different: a fixed width", 4, [9, 3, 12, 0, 15]),
        ("no bit is needed", 0, [0] * 5),
        ("one bit", 1, [0, 1, 1]),
        ("all of a length", 6, [k * 7 for _ in range(9) for k in range(8)]),
        ("ties", 16, [k * k * 41 for _ in range(4) for k in (5, 4, 3, 2, 1)]),
        ("many lengths", 17, far),
        ("the largest", 32, [2**32 - 1, 2**32 - 1, 0, 2**31] * 20),
    ]


def _code(about: str, symbol_bits: int, numbers: list[int]) -> Json:
    code = make_prefix_code(np.array(numbers, np.int64), symbol_bits)
    written, encoded = BitWriter(), BitWriter()
    code.write(written)
    code.encode(encoded, np.array(numbers, np.int64))
    columns = code.symbols.tolist(), code.lengths.tolist(), code.codes.tolist()
    return {
        "about": about,
        "symbol_bits": symbol_bits,
        "runs": _count_runs(numbers),
        "code": [list(entry) for entry in zip(*columns, strict=True)],
        "code_bits": written.count(),
        "written": written.finish().hex(),
        "number_bits": encoded.count(),
        "encoded": encoded.finish().hex(),
    }


def _count_runs(numbers: list[int]) -> list[list[int]]:
    """[how often, number] one after the other."""
    starts = [0, *(at for at, (a, b) in enumerate(pairwise(numbers), 1) if a != b), len(numbers)]
    return [[end - start, numbers[start]] for start, end in pairwise(starts)]
