"""Vectors of pools (section 11.3): proposals of steps, and the pool after each of them.

Whether a proposal is valid is not in them, and whether a row is solvable is drawn here: both take
the sandbox.
"""

from collections.abc import Iterator
from dataclasses import asdict, replace
from hashlib import sha256
from typing import Any

from assay.environments.pieces.growth import compute_pool, write_piece, write_pool
from assay.environments.pieces.piece import Piece
from assay.environments.pieces.pool import list_first_pieces
from assay.environments.pieces.propose import Proposal

Json = Any
STEPS, MOST = 50, 40
#: The step that proposes copies of a function of the first pool.
SHIPPED = 8
#: Last bytes below this one, of the SHA-256 of a row: it counts as unsolvable.
UNSOLVABLE = 24
_WORDS = ("a", "len(a)", "a[:1]", "'it\\'s'", '"\\"7\\\\"', "f'{a!r:>12}'", "{3: 'b'}", "[1, [2]]")


def make_pool() -> Json:
    """The proposals of steps in the order of hotkey, index and rollout, and the SHA-256 of the pool
    after each; in the end all of it."""
    pool: tuple[Piece, ...] = ()
    steps = []
    for number in range(STEPS):
        proposals = list(_propose(number, pool))
        refused: list[str] = []

        def is_solvable(piece: Piece, refused: list[str] = refused) -> bool:
            digest = sha256(write_piece(piece))
            if digest.digest()[-1] < UNSOLVABLE:
                refused.append(digest.hexdigest())
            return digest.digest()[-1] >= UNSOLVABLE

        pool = compute_pool(pool, proposals, MOST, is_solvable)
        steps.append(
            {
                "proposals": [{**asdict(one.piece), "widens": one.widens} for one in proposals],
                "unsolvable": refused,
                "rows": len(pool),
                "sha256": sha256(write_pool(pool)).hexdigest(),
            }
        )
    sizes = [step["rows"] for step in steps]
    assert sizes[0] < MOST == sizes[-1]
    return {"most": MOST, "steps": steps, "pool": write_pool(pool).decode()}


def _propose(step: int, pool: tuple[Piece, ...]) -> Iterator[Proposal]:
    """New functions, copies of one pattern, known ones, and inputs to functions that are there, or
    full, or gone."""
    shipped = list_first_pieces()
    for i in range(3):
        yield Proposal(_make(7 * step + i), widens=False)
    yield Proposal(_make(7 * step), widens=False)
    yield Proposal(replace(_make(7 * step - 5), inputs=("'other'",)), widens=False)
    yield Proposal(shipped[step % len(shipped)], widens=False)
    for i in range(40 if step == STEPS // 2 else 1):  # one pattern does not fill the pool
        copy = f"def f(a):\n    return a * {step} + '{i}'"
        yield Proposal(Piece(copy, ("1",), (str(step),), 14), widens=False)
    if step == SHIPPED:  # and one that both pools have counts once
        assert shipped[0].digest in {piece.digest for piece in pool}
        for i in range(40):
            copy = shipped[0].function.replace("10", str(11 + i))
            yield Proposal(replace(shipped[0], function=copy), widens=False)
    for one in (shipped[step % 5], _make(7 * step), _make(7 * (step // 9))):
        given = f"{step % 20}, '\\x7f\\n'"
        yield Proposal(replace(one, inputs=(given,), outputs=("None",)), widens=True)
    if pool:
        again = pool[step % len(pool)]
        yield Proposal(replace(again, inputs=again.inputs[:1], outputs=("0",)), widens=True)


def _make(number: int) -> Piece:
    words = [_WORDS[number // 8**i % 8] for i in range(4)]
    return Piece(f"def f(a):\n    return ({', '.join(words)})", (f"'{number}'",), ("[]",), 20)
