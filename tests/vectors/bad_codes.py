"""Bad bit fields, prefix codes and parts of a file, typed in bit by bit: each has one defect, and
says which. No code of ours is used; headers and openings are edits of good ones.
"""

from typing import Any

Json = Any


def pack(bits: str) -> bytes:
    """Bits as they are typed, spaces left out, filled up with zeros."""
    digits = bits.replace(" ", "")
    digits += "0" * (-len(digits) % 8)
    return bytes(int(digits[at : at + 8], 2) for at in range(0, len(digits), 8))


def list_bad_fields() -> list[Json]:
    """`count` fields of `width` bits, narrow fields, or Rice codes with remainders of `width`."""
    bad = [
        ("cut off inside a field", "ends after 8 bits", "fields", 1, 9, "1111 1111"),
        ("no byte", "ends after 0 bits", "fields", 1, 1, ""),
        ("a byte after the last field", "after its last field", "fields", 1, 8, "11111111 0"),
        ("a one after the last field", "after its last field", "fields", 1, 4, "1111 0001"),
        ("written too wide", "written too wide", "narrow", 2, 0, "00010 00 01"),
        ("zeros that have a width", "written too wide", "narrow", 2, 0, "00001 0 0"),
        ("cut off inside narrow fields", "ends after 8 bits", "narrow", 2, 0, "00011 111"),
        ("a quotient without an end", "within a unary number", "rice", 1, 0, "0000 0000"),
        ("a quotient too few", "within a unary number", "rice", 3, 0, "0001 0010"),
        ("no remainder", "ends after 8 bits", "rice", 1, 5, "0000 0001"),
    ]
    return [
        {
            "reason": reason,
            "because": because,
            "kind": kind,
            "count": count,
            "width": width,
            "bytes": pack(bits).hex(),
        }
        for reason, because, kind, count, width, bits in bad
    ]


def list_bad_codes() -> list[Json]:
    """Written prefix codes of symbols of 4 bits. A good one: 00001 00010 10 11 1111, 3 and 7."""
    incomplete = "not complete"
    bad = [
        ("no bit", "ends after", 16, ""),
        ("cut off before the counts", "ends after", 16, "00010 000"),
        ("a code without a meaning", incomplete, 16, "00010 00001 1 1 1 101 1 110"),
        ("a code with two meanings", incomplete, 16, "00001 00010 11 111 00 00 00"),
        ("no symbol has the longest length", incomplete, 16, "00010 00010 10 00 11 1111"),
        ("one symbol alone in two bits", incomplete, 16, "00010 00001 0 1 1 101"),
        ("no symbol", "0 symbols", 16, "00001 00000"),
        ("more symbols than allowed", "2 symbols", 1, "00001 00010 10 11 1111"),
        ("counts written too wide", "written too wide", 16, "00001 00011 010 11 1111"),
        ("a symbol twice", "or twice", 16, "00010 00010 01 10 1 101 011 01 00"),
        ("a symbol too large", "too large", 16, "00001 00010 10 1 0001 11 00"),
        ("symbols cut off", "within a unary number", 16, "00001 00010 10 0000"),
        ("a gap cut off", "ends after", 16, "00001 00010 10 11 11"),
    ]
    return [
        {
            "reason": reason,
            "because": because,
            "symbol_bits": 4,
            "symbols_max": most,
            "bytes": pack(bits).hex(),
        }
        for reason, because, most, bits in bad
    ]


def list_bad_numbers() -> list[Json]:
    """`count` numbers that a code of symbols of 4 bits and these lengths has not written."""
    two, three = [[3, 1], [7, 1]], [[5, 1], [2, 2], [6, 2]]
    bad = [
        ("numbers cut off", "within a code", two, 9, "0101 0101"),
        ("a code cut off", "ends after", three, 8, "0000 0001"),
        ("a byte after the last number", "after its last field", two, 8, "0101 0101 0"),
        ("a one after the last number", "after its last field", two, 3, "010 1"),
        ("a code that the one symbol has not", "not a symbol's", [[9, 1]], 4, "0010"),
        ("a fixed width cut off", "ends after", [], 3, "1111 0000"),
    ]
    return [
        {
            "reason": reason,
            "because": because,
            "symbol_bits": 4,
            "code": code,
            "count": count,
            "bytes": pack(bits).hex(),
        }
        for reason, because, code, count, bits in bad
    ]


def list_bad_headers(good: bytes) -> list[Json]:
    """Bytes that are no header; `good` is one."""
    bad = {"empty": b"", "one byte short": good[:-1], "one byte too many": good + b"\0"}
    return [{"reason": reason, "bytes": data.hex()} for reason, data in bad.items()]


def list_bad_openings(good: bytes, groups: int) -> list[Json]:
    """Bytes that are no header and index of `groups` groups; `good` are."""
    at = 2 + 3 * 32 + 8  # the header's number of groups
    sizes = at + 4, at + 6  # its group size, its bits of an id
    bad = [
        ("no byte", "ends after", groups, b""),
        ("cut off inside the header", "ends after", groups, good[:100]),
        ("cut off inside the index", "an index", groups, good[:-1]),
        ("a byte too many", "an index", groups, good + b"\0"),
        ("a group fewer than committed", "an index", groups + 1, good + bytes(12)),
        ("a group more than committed", "an index", groups - 1, good[:-12]),
        ("no rollout", "no rollout", groups, good[: sizes[0]] + bytes(2) + good[sizes[1] :]),
        ("33 bits", "of 33 bits", groups, good[: sizes[1]] + b"\x21" + good[sizes[1] + 1 :]),
    ]
    return [
        {"reason": reason, "because": because, "groups": count, "bytes": data.hex()}
        for reason, because, count, data in bad
    ]


# A group of two rollouts with ids of 4 bits. Its ids are 3 and 7, of one bit each; a class is
# written in its 5 bits: 0, but for 1 and 3 in the second rollout; that sketch is 0, but for one 1.
_LENGTHS = "00100 1001 0011"
_IDS_BYTES = "00010 10 01"
_PROOF_BYTES = "00101 10100 00111"
_IDS_CODE = "00001 00010 10 11 11 11"
_CLASS_CODE = "00000"
_TOKENS = [[3, 3, 3, 3, 3, 3, 3, 7, 7], [3, 7, 3]]
_IDS = ["000000011", "010"]
_CLASSES = "00000 00001 00011"
_PROOFS = [
    "00000" * 9 + "1" * 18 + "00000" * 18,
    _CLASSES + "1" * 6 + "00000 00000 00000 00010 00000 00000" + "01",
]


def _make_head(*parts: str) -> bytes:
    return bytes(4 * 32) + pack("".join(parts))


def make_group_by_hand() -> Json:
    head = _make_head(_LENGTHS, _IDS_BYTES, _PROOF_BYTES, _IDS_CODE, _CLASS_CODE)
    return {
        "group_size": 2,
        "id_bits": 4,
        "sizes": [len(head), 3, 27],
        "head": head.hex(),
        "ids": [pack(bits).hex() for bits in _IDS],
        "proofs": [pack(bits).hex() for bits in _PROOFS],
        "rollouts": [
            {"tokens": _TOKENS[0], "logprobs": [0] * 9, "sketch": [[0, 0]] * 9},
            {"tokens": _TOKENS[1], "logprobs": [0, 1, 5], "sketch": [[0, 0], [0, 1], [0, 0]]},
        ],
    }


def list_bad_heads() -> list[Json]:
    """Heads of that group that are none; their digests are zeros."""
    lengths, ids, proofs, code, classes = _LENGTHS, _IDS_BYTES, _PROOF_BYTES, _IDS_CODE, _CLASS_CODE
    codes = code, classes
    before = lengths, ids, proofs
    thirteen = "00100 00100 0000 0000 0011 1010" + "111 000000" + "0001 111111111"
    many = "00101 00101 00000 00000 00000 00110 10100" + "111111" + "00" * 6 + "0000001" + "1" * 19
    longer = "00011 101 010"  # ids in five bytes and two
    bad = [
        ("no byte", "ends after", 3, b""),
        ("digests cut off", "ends after", 3, bytes(4 * 32 - 1)),
        ("cut off inside the lengths", "ends after", 3, _make_head("00100 100")),
        ("cut off inside the proofs' sizes", "ends after", 3, _make_head(*before)[:-1]),
        ("no token", "token", 3, _make_head("00100 1100 0000", ids, proofs, *codes)),
        ("lengths too wide", "too wide", 3, _make_head("00101 01001 00011", ids, proofs, *codes)),
        ("ids of other sizes", "index", 3, _make_head(lengths, "00010 10 10", proofs, *codes)),
        ("other proofs", "index", 3, _make_head(lengths, ids, "00101 10100 01000", *codes)),
        ("a code of more ids than there are", "13 symbols", 3, _make_head(*before, thirteen)),
        ("no code of classes", "ends after", 3, _make_head(*before, code)),
        ("a code of 26 classes", "26 symbols", 3, _make_head(*before, code, many)),
        ("a one at its end", "last field", 3, _make_head(*before, *codes, "1")),
        ("a byte too many", "last field", 3, _make_head(*before, *codes) + b"\0"),
        ("a fixed width is shorter", "fixed width", 7, _make_head(lengths, longer, proofs, *codes)),
    ]
    return [
        {"reason": reason, "because": because, "sizes": [len(head), size, 27], "head": head.hex()}
        for reason, because, size, head in bad
    ]


def list_bad_records() -> list[Json]:
    """Records of the second rollout of the group by hand that are none."""
    ones, zeros = "1" * 6, "00000" * 6
    bad = [
        ("no byte", "within a code", "ids", ""),
        ("a byte too many", "last field", "ids", "0100 0000 0"),
        ("a one at its end", "last field", "ids", "0100 0001"),
        ("no byte", "ends after", "proofs", ""),
        (
            "a class of 25",
            "above 16777215",
            "proofs",
            "11001" + "00000" * 2 + ones + zeros + "0" * 24,
        ),
        (
            "a sketch of -128",
            "127",
            "proofs",
            _CLASSES + "0000000" + ones + "11111" + zeros[5:] + "01",
        ),
        ("a sketch cut off", "unary", "proofs", _CLASSES + "1"),
        ("lower bits cut off", "ends after", "proofs", "00000 10000 10000" + ones + zeros),
        ("a byte too many", "last field", "proofs", _PROOFS[1] + "000 0"),
        ("a one at its end", "last field", "proofs", _PROOFS[1] + "1"),
    ]
    return [
        {"reason": reason, "because": because, "part": part, "bytes": pack(bits).hex()}
        for reason, because, part, bits in bad
    ]


def list_uncanonical() -> list[Json]:
    """Groups whose ids are not coded by their own frequencies: valued, they are MALFORMED."""
    frequent = [[3, 3, 3, 3, 3, 3, 3, 7, 9], [7, 9, 3]]
    three = "00010 00010 01 10"
    cases: list[tuple[str, list[list[int]], str, str, list[str]]] = [
        (
            "a fixed width where a code takes fewer bits",
            _TOKENS,
            "00011 101 010",
            "00000",
            ["0011" * 7 + "0111" * 2, "0011 0111 0011"],
        ),
        (
            "a code for an id that does not occur",
            _TOKENS,
            "00010 10 01",
            three + "1 011 011 11 01",  # 3, then 7 and 9
            ["0" * 7 + "10 10", "0 10 0"],
        ),
        (
            "the shortest code for a rare id",
            frequent,
            "00010 11 01",
            three + "1 111 101 11 01",  # 7, then 3 and 9
            ["10" * 7 + "0 11", "0 11 10"],
        ),
    ]
    made = []
    for reason, tokens, sizes, code, ids in cases:
        head = _make_head(_LENGTHS, sizes, _PROOF_BYTES, code, _CLASS_CODE)
        records = [pack(bits) for bits in ids]
        made.append(
            {
                "reason": reason,
                "sizes": [len(head), sum(map(len, records)), 27],
                "head": head.hex(),
                "ids": [record.hex() for record in records],
                "tokens": tokens,
            }
        )
    return made
