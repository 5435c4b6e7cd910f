"""How a network's pool grows: the pool of a checkpoint follows from its parent's pool and the valid
proposals of its step, and from nothing else. Specification, section 11.3.

The pool of a checkpoint is what has been proposed on its line; problems are drawn from the first
pool and it. A piece of it whose function the first pool has takes the first one's place: it has
more inputs.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache

from assay.environments.pieces.piece import INPUTS_MAX, Piece, is_solvable
from assay.environments.pieces.pool import list_first_pieces, read_piece
from assay.environments.pieces.propose import Proposal

#: Most bytes of a pool's file.
POOL_BYTES_MAX = 1 << 24
#: Most pieces of one shape: a pool of one pattern teaches little.
SHAPE_MAX = 32
_TEXT = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_NUMBER = re.compile(r"[0-9]+")


def compute_pool(
    pool: Sequence[Piece],
    proposals: Sequence[Proposal],
    most: int,
    is_solvable: Callable[[Piece], bool] = is_solvable,
) -> tuple[Piece, ...]:
    """The pool after a step.

    Args:
        pool: the parent's, oldest first.
        proposals: of the step, in order of hotkey, index and rollout.
        most: pieces that it may have. The oldest beyond that are left out.
        is_solvable: whether its own function answers a piece. What it takes for several inputs
            does not follow from what it takes for each: an instruction counts as more where there
            is much memory. So each piece is asked about as it would be in the pool.

    Raises:
        WorkerError: the sandbox cannot run.
    """
    first = {piece.digest: piece for piece in list_first_pieces()}
    kept = {piece.digest: piece for piece in pool}
    shapes = Counter(compute_shape(piece.function) for piece in (first | kept).values())
    for proposal in proposals:
        piece, shape = proposal.piece, compute_shape(proposal.piece.function)
        known = kept.get(piece.digest) or first.get(piece.digest)
        if proposal.widens:
            if known is None or not _takes(known, piece.inputs[0]):
                continue
            inputs, outputs = (*known.inputs, *piece.inputs), (*known.outputs, *piece.outputs)
            piece = replace(known, inputs=inputs, outputs=outputs)
        elif known is not None or shapes[shape] >= SHAPE_MAX:
            continue
        if is_solvable(piece):
            kept[piece.digest] = piece
            shapes[shape] += not proposal.widens
    pieces = list(kept.values())
    sizes = [len(write_piece(piece)) for piece in pieces]
    begin, whole = max(0, len(pieces) - most), sum(sizes)
    whole -= sum(sizes[:begin])
    while whole > POOL_BYTES_MAX:
        whole -= sizes[begin]
        begin += 1
    return tuple(pieces[begin:])


def _takes(piece: Piece, given: str) -> bool:
    return given not in piece.inputs and len(piece.inputs) < INPUTS_MAX


def compute_shape(function: str) -> str:
    """A normal form with its texts and numbers left out."""
    return _NUMBER.sub("0", _TEXT.sub("''", function))


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """How diverse a network's pool is.

    Attributes:
        proposals: pieces in it. shapes: different ones among them, see `compute_shape`.
        largest: pieces of its most frequent shape.
        size: nodes of a piece, mean. inputs: of a piece, mean. 0: it is empty.
    """

    proposals: int
    shapes: int
    largest: int
    size: float
    inputs: float

    def to_json(self) -> dict[str, int | float | str]:
        """Its fields, and `sentence`: all of it in one line."""
        sentence = (
            f"{self.proposals:,} proposals of {self.shapes:,} shapes, {self.largest:,} of the most "
            f"frequent; {self.size:.1f} nodes and {self.inputs:.1f} inputs on average"
        )
        return asdict(self) | {"sentence": sentence}


@lru_cache(4)
def measure_pool(pool: bytes) -> PoolFigures:
    """How diverse a pool's file is. Raises ValueError: it is damaged."""
    pieces = read_pool(pool)
    shapes = Counter(compute_shape(piece.function) for piece in pieces)
    count = max(1, len(pieces))
    return PoolFigures(
        len(pieces),
        len(shapes),
        max(shapes.values(), default=0),
        sum(piece.size for piece in pieces) / count,
        sum(len(piece.inputs) for piece in pieces) / count,
    )


def write_pool(pieces: Sequence[Piece]) -> bytes:
    """A pool's file: a line of JSON for each piece, oldest first."""
    return b"".join(map(write_piece, pieces))


def write_piece(piece: Piece) -> bytes:
    """A piece's line, with its line feed."""
    return json.dumps(asdict(piece), separators=(",", ":")).encode() + b"\n"


def read_pool(data: bytes) -> tuple[Piece, ...]:
    """The pieces of a pool's file.

    Raises:
        ValueError: it is not what `write_pool` writes, or has a function twice.
    """
    if len(data) > POOL_BYTES_MAX:
        raise ValueError(f"a pool has at most {POOL_BYTES_MAX:,} bytes, not {len(data):,}")
    pieces = []
    for number, line in enumerate(data.splitlines(keepends=True), 1):
        try:
            piece = read_piece(line, "pool")
        except ValueError as error:
            raise ValueError(f"row {number} of the pool: {error}") from None
        if write_piece(piece) != line:
            raise ValueError(f"row {number} of the pool is written in another way")
        pieces.append(piece)
    if len({piece.digest for piece in pieces}) < len(pieces):
        raise ValueError("the pool has a function twice")
    return tuple(pieces)


@lru_cache(4)  # of each file that is judged, the checkpoint is looked at
def find_pool_fault(data: bytes) -> str | None:
    """Why nobody can draw from a pool's file, or None."""
    try:
        read_pool(data)
    except ValueError as error:
        return str(error)
    return None


def describe_difference(due: Sequence[Piece], found: Sequence[Piece]) -> str:
    """How a pool differs from the one that is due, in one clause; no text: it does not."""
    for number, (one, other) in enumerate(zip(due, found, strict=False), 1):
        if one == other:
            continue
        if one.digest == other.digest:
            return f"its row {number} has other inputs or outputs"
        name, strange = one.digest.hex()[:16], other.digest.hex()[:16]
        if one.digest not in {piece.digest for piece in found}:
            return f"it leaves out {name}…, which is due in row {number}"
        if other.digest not in {piece.digest for piece in due}:
            return f"its row {number}, {strange}…, is of no valid proposal"
        return f"its row {number} is {strange}…, and {name}… is due there"
    if len(due) > len(found):
        missing = due[len(found)].digest.hex()[:16]
        return f"it leaves out {missing}…, which is due in row {len(found) + 1}"
    if len(found) > len(due):
        added = found[len(due)].digest.hex()[:16]
        return f"its row {len(due) + 1}, {added}…, is of no valid proposal"
    return ""
