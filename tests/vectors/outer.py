"""Vectors of rounds: shares, lines, turns, outer steps, bounds on norm and withheld children,
records."""

from dataclasses import replace
from typing import Any

import torch
from subjects import ALICE, BOB, PARAMETERS, WINDOW, digest

from assay.protocol.commitment import Commitment, Tag, encode_commitment
from assay.protocol.encoding import encode, to_json
from assay.protocol.manifest import LevelSuccess
from assay.protocol.parameters import Rounds
from assay.protocol.window import Block
from assay.rounds.calendar import Round, compute_line, compute_share, find_round
from assay.rounds.in_force import find_published
from assay.rounds.merging import find_shortage
from assay.rounds.outer_records import (
    ROUND_VERSION,
    ChildFinding,
    ChildRecord,
    MergedChild,
    MergeRecord,
)
from assay.rounds.outer_step import (
    OuterState,
    compute_outer_root,
    is_within_bound,
    measure_square,
    step_outwards,
    weigh_children,
)

Json = Any
TRAINERS = tuple(sorted((ALICE, BOB, digest("third trainer"))))
ROUNDS = Rounds(TRAINERS, 4, 1, 20, 6, 3, 4, 700_000, 900_000, 1 << 20, 0, 0, 0, 0)
#: Places of the outer step: halves that round to even, sums that cancel, the least numbers.
THETA = (1.0, -0.5, 3.0e-5, 1.5e-45, 16_777_216.0, 0.1)
VELOCITY = (0.0, 0.25, -1.0e-6, 0.0, 1.0, 3.0e38)
CHILDREN = (
    (1.0000001, -0.75, 2.9e-5, 2.8e-45, 16_777_218.0, 0.2),
    (0.9999999, -0.25, 3.2e-5, 0.0, 16_777_214.0, 0.3),
    (1.5, -0.5, 3.0e-5, 1.0e-40, 16_777_217.0, -0.4),
)

_NEAR = tuple(
    tuple(t + m for t, m in zip(THETA, moves, strict=True))
    for moves in (
        (0.5, 0.25, 0.0, 0.0, 2.0, -0.125),
        (0.25, 0.5, 0.0, 0.0, 2.0, -0.25),
        (0.5, 0.5, 1.0e-3, 0.0, 4.0, 0.0),
    )
)
#: One that is long, one that is short, one that leads back, and two of five that agree alone.
OTHERS = (
    (*_NEAR[:2], tuple(t + 64 * (n - t) for t, n in zip(THETA, _NEAR[2], strict=True))),
    (_NEAR[0], tuple(t + (n - t) / 8 for t, n in zip(THETA, _NEAR[1], strict=True)), _NEAR[2]),
    (tuple(t - 2 * (n - t) for t, n in zip(THETA, _NEAR[0], strict=True)), *_NEAR[1:]),
    (*_NEAR, (1.0, -0.5, 9.0, 0.0, 16_777_216.0, 9.0), (1.0, -0.5, 8.0, 0.0, 16_777_216.0, 7.0)),
)


def _hex(tensor: torch.Tensor) -> str:
    return tensor.numpy().astype(">f4").tobytes().hex()


def _make_step(rows: tuple[tuple[float, ...], ...]) -> Json:
    state = OuterState({"w": torch.tensor(THETA)}, {"w": torch.tensor(VELOCITY)})
    children = [{"w": torch.tensor(child)} for child in rows]
    after = step_outwards(state, children, ROUNDS)
    return {
        "theta": _hex(state.masters["w"]),
        "velocity": _hex(state.velocity["w"]),
        "children": [_hex(child["w"]) for child in children],
        "factors": weigh_children(state.masters, children),
        "theta_after": _hex(after.masters["w"]),
        "velocity_after": _hex(after.velocity["w"]),
        "root_after": compute_outer_root(after).hex(),
    }


def _make_bounds() -> list[Json]:
    values = ((3.0, 4.0), (3.0, 4.000001), (2.0**-31, 2.0**-31), (1_024.0,), (-5.0,))
    bounds = (5 << 20, 5 << 20, 1, 1 << 30, 5 << 20)
    return [
        {
            "difference": _hex(torch.tensor(difference)),
            "bound": bound,
            "within": _is_within(difference, bound),
        }
        for difference, bound in zip(values, bounds, strict=True)
    ]


def _is_within(difference: tuple[float, ...], bound: int) -> bool:
    there = {"w": torch.tensor(difference)}
    square = measure_square(there, {"w": torch.zeros(len(difference))})
    return square is not None and is_within_bound(square, bound)


def _make_records() -> dict[str, Json]:
    parameters = replace(PARAMETERS, rounds=ROUNDS)
    child = ChildRecord(
        ROUND_VERSION,
        parameters.digest,
        WINDOW + 4,
        ALICE,
        digest("outer before"),
        (digest("step"), digest("next step")),
        digest("optimiser"),
        digest("masters"),
        (digest("piece"),),
        digest("state"),
        (LevelSuccess(3, 12, 32, 6),),
    )
    findings = (ChildFinding.TAKEN, ChildFinding.ABSENT, ChildFinding.STALE)
    digests = (child.digest, bytes(32), digest("other child"))
    merge = MergeRecord(
        ROUND_VERSION,
        "assay 1.0",
        parameters.digest,
        WINDOW + 4,
        digest("parent"),
        tuple(MergedChild(*each) for each in zip(TRAINERS, digests, findings, strict=True)),
        digest("outer before"),
        digest("outer after"),
        digest("tensors"),
        BOB,
    )
    return {
        name: {"json": to_json(one), "encoding": encode(one).hex(), "digest": one.digest.hex()}
        for name, one in (("child", child), ("merge", merge))
    }


class _WrittenSlots:
    """A chain whose slots name a round's checkpoint, or something else, from blocks on.

    Args:
        written: [block, place in line, whether the slot names the checkpoint from then on].
    """

    def __init__(self, of: Round, written: list[tuple[int, int, bool]]) -> None:
        self._of, self._written = of, written
        self.line = compute_line(of, self.get_block(of.deadline).hash)

    def get_block(self, number: int) -> Block:
        return Block(number, digest(f"block {number}"), number)

    def get_commitments(self, number: int) -> dict[bytes, bytes]:
        slots = {}
        for block, place, names in self._written:
            if block <= number:
                end, hotkey = self._of.end if names else self._of.end - 1, self.line[place]
                made = Commitment(Tag.CHECKPOINT, end, 0, digest(hotkey.hex()), "")
                slots[hotkey] = encode_commitment(made)
        return slots


def _make_turns(of: Round) -> list[Json]:
    """Which trainer's checkpoint counts at blocks, by what was written when."""
    first, second, third, over = (of.get_turn(place) for place in range(4))
    cases = (
        ("the first in line", [(first, 0, True)], (first - 1, first, over + 9)),
        ("before its turn", [(first - 1, 2, True)], (first, third - 1, third)),
        ("in its last block", [(second - 1, 0, True)], (second - 2, second - 1, second)),
        ("late", [(second + 1, 1, True), (second + 2, 0, True)], (second + 2, over, over + 9)),
        ("nobody else was in time", [(second, 0, True)], (second, over - 1, over)),
        ("of latecomers the first", [(over, 2, True), (over + 1, 1, True)], (over, over + 1)),
        ("gone after its turn", [(first, 0, True), (second, 0, False)], (first, second, over)),
        ("gone within its turn", [(first, 0, True), (first + 1, 0, False)], (first, first + 1)),
    )
    turns = []
    for about, written, blocks in cases:
        chain: Any = _WrittenSlots(of, written)
        for block in blocks:
            counts = find_published(chain, of, chain.get_commitments(block), block)
            turns.append(
                {
                    "about": about,
                    "written": [
                        {"block": at, "place": place, "names": names}
                        for at, place, names in written
                    ],
                    "block": block,
                    "counts": counts
                    and [digest(hotkey.hex()) for hotkey in chain.line].index(counts.digest),
                }
            )
    return turns


def make_rounds() -> Json:
    parameters = replace(PARAMETERS, rounds=ROUNDS)
    of, seed = find_round(parameters, WINDOW), digest("audit seed")
    places = [(hotkey, index) for hotkey in (ALICE, BOB) for index in (0, 1, 2, 1_023)]
    return {
        "parameters": parameters.to_json(),
        "encoding": encode(parameters).hex(),
        "digest": parameters.digest.hex(),
        "round": {
            "window": WINDOW,
            "end": of.end,
            "opening": of.opening,
            "deadline": of.deadline,
            "turns": [of.get_turn(place) for place in range(len(TRAINERS))],
            "turns_end": of.turns_end,
        },
        "audit_seed": seed.hex(),
        "shares": [
            {
                "hotkey": hotkey.hex(),
                "index": index,
                "trainer": compute_share(TRAINERS, seed, hotkey, index).hex(),
            }
            for hotkey, index in places
        ],
        "lines": [
            {"block_hash": block.hex(), "line": [h.hex() for h in compute_line(of, block)]}
            for block in (digest("block"), digest("other block"))
        ],
        "steps": [_make_step(CHILDREN[:count]) for count in range(1, 4)]
        + [_make_step(rows) for rows in OTHERS],
        "bounds": _make_bounds(),
        "published": _make_turns(of),
        "withheld": [
            {"named": named, "withheld": withheld, "enough": find_shortage(named, withheld) is None}
            for named in range(6)
            for withheld in range(named + 1)
        ],
        **_make_records(),
    }
