"""Vectors of a submission's file: groups, an opening, a whole small file, and bad ones."""

from typing import Any

import numpy as np
from bad_codes import (
    list_bad_headers,
    list_bad_heads,
    list_bad_openings,
    list_bad_records,
    list_uncanonical,
    make_group_by_hand,
)
from subjects import ALICE, PARAMETERS, WINDOW, digest

from assay.protocol.encoding import to_json
from assay.protocol.hashing import compute_tree, get_path
from assay.protocol.submission import (
    HEADER_BYTES,
    Rollout,
    compute_group_leaf,
    decode_opening,
    encode_group,
    encode_submission,
    get_id_bits,
    get_opening_bytes,
)

Json = Any

#: Bits of an id in the whole file: a vocabulary of 100.
ID_BITS = 7


def make_submission() -> Json:
    rows = [_make_skewed(), _make_short(), _make_constant()]
    checkpoint = digest("checkpoint")
    data, root = encode_submission(
        rows,
        parameters=PARAMETERS.digest,
        window=WINDOW,
        hotkey=ALICE,
        checkpoint=checkpoint,
        id_bits=ID_BITS,
    )
    opening = decode_opening(data[: get_opening_bytes(len(rows))], len(rows))
    groups = [_describe(group, ID_BITS) for group in rows]
    leaves = [compute_group_leaf(g, bytes.fromhex(v["head"])) for g, v in enumerate(groups)]
    tree = compute_tree(leaves)
    return {
        "id_bits": [[v, get_id_bits(v)] for v in (1, 2, 3, 64, 65, 100, 151_936, 2**32)],
        "header": to_json(opening.header),
        "header_encoding": data[:HEADER_BYTES].hex(),
        "index": data[HEADER_BYTES : get_opening_bytes(len(rows))].hex(),
        "groups": groups,
        "leaves": [leaf.hex() for leaf in leaves],
        "paths": [[node.hex() for node in get_path(tree, g)] for g in range(len(rows))],
        "file": data.hex(),
        "root": root.hex(),
        "other_groups": [
            _describe(_make_wide(), 32),
            _describe(_make_short()[:1], ID_BITS),
            _describe([_make_rollout([0] * 10, [1], [0])], 2),  # a bit less than a fixed width
        ],
        "by_hand": make_group_by_hand(),
        "bad_headers": list_bad_headers(data[:HEADER_BYTES]),
        "bad_openings": list_bad_openings(data[: get_opening_bytes(len(rows))], len(rows)),
        "bad_heads": list_bad_heads(),
        "bad_records": list_bad_records(),
        "uncanonical": list_uncanonical(),
    }


def _make_rollout(tokens: list[int], logprobs: list[int], sketch: list[int]) -> Rollout:
    """Log-probabilities and sketch from the start of the lists, which repeat."""
    count = len(tokens)
    pairs = np.resize(np.array(sketch, np.int8), 2 * count).reshape(count, 2)
    return Rollout(
        np.array(tokens, np.uint32), np.resize(np.array(logprobs, np.uint32), count), pairs
    )


def _make_skewed() -> list[Rollout]:
    """Ids and classes of several lengths; the extremes of a log-probability and of a sketch."""
    often = [5, 9, 5, 5, 17, 5, 9, 5, 30, 5, 5, 9, 5, 17, 5, 5, 61, 9, 5, 2]
    return [
        _make_rollout(often, [0, 1, 2, 65_536, 0, 3, 0, 2**24 - 1, 0], [0, -127, 127, -1, 1, 31]),
        _make_rollout([9, 5, 5, 2], [0], [-32, 32, 16, -17]),
    ]


def _make_short() -> list[Rollout]:
    """Too little of everything: fixed widths."""
    return [_make_rollout([99], [9], [3, -3]), _make_rollout([7, 2], [700, 2**20], [0])]


def _make_constant() -> list[Rollout]:
    """One id, one class."""
    return [_make_rollout([50] * 11, [5, 4], [1]), _make_rollout([50] * 7, [7], [-2])]


def _make_wide() -> list[Rollout]:
    """Ids of 32 bits."""
    ids = [2**32 - 1, 2**31, 2**32 - 1, 0, 2**32 - 1, 2**32 - 1]
    return [_make_rollout(ids, [12_345, 0], [100, -100]), _make_rollout(ids[:1], [1], [0])]


def _describe(group: list[Rollout], id_bits: int) -> Json:
    head, ids, proofs = encode_group(group, id_bits)
    return {
        "id_bits": id_bits,
        "rollouts": [
            {
                "tokens": rollout.tokens.tolist(),
                "logprobs": rollout.logprobs.tolist(),
                "sketch": rollout.sketch.tolist(),
            }
            for rollout in group
        ],
        "head": head.hex(),
        "ids": ids.hex(),
        "proofs": proofs.hex(),
    }
