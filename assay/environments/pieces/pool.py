"""Pools of pieces: a row of JSON for each, as a check found it (`piece.check_piece`).

A row has `function`, the normal form; `inputs` and their `outputs`, as many; and `size`. Reading a
pool runs nothing: who makes one has checked it, and its SHA-256 names it. The first pool ships with
the package.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from assay.environments.pieces.piece import FUNCTION_MAX, INPUT_MAX, INPUTS_MAX, Piece
from assay.environments.problem_file import (
    LONG_ROW_MAX,
    KeptRows,
    OtherFormatError,
    cut_levels,
    list_fields,
    read_object,
)

#: A pool's pieces are divided into at most this many levels.
LEVELS = 8
_SIZE_MAX = 1 << 16
#: None of which another kind of file has.
_FIELDS = {"function", "inputs", "outputs"}


class PieceRows(KeptRows[Piece, Piece]):
    """A pool's rows."""

    def __init__(self, family: str, find_reason: Callable[[Piece], str | None]) -> None:
        """Args: the environment's name, for messages, and what says why it does not ask a piece."""
        super().__init__()
        self._family, self._find_reason = family, find_reason

    def _read(self, line: bytes) -> tuple[Piece, str | None]:
        piece = read_piece(line, self._family)
        return piece, self._find_reason(piece)

    def _identify(self, row: Piece) -> Hashable:
        return row.digest

    def _get_right(self, row: Piece) -> object:
        return row.outputs

    def divide(self) -> Mapping[int, Sequence[Piece]]:
        """Level l of k = min(8, rows): bands by size, then by the place in the pool."""
        return divide_pieces([row for _, row in self.kept])


def divide_pieces(pieces: Sequence[Piece]) -> Mapping[int, Sequence[Piece]]:
    """The levels of pieces in the order of a pool: see `PieceRows.divide`."""
    ordered = sorted(pieces, key=lambda piece: piece.size)
    return dict(enumerate(cut_levels(ordered, LEVELS), 1))


def read_piece(line: bytes, family: str) -> Piece:
    """One row. Raises ValueError, with the fault, if it is damaged."""
    row = read_object(line, family, LONG_ROW_MAX)
    if not row.keys() & _FIELDS:
        raise OtherFormatError(f"it has {list_fields(row)}, not {' and '.join(sorted(_FIELDS))}")
    function: Any = row.get("function")
    inputs: Any = row.get("inputs")
    outputs: Any = row.get("outputs")
    size: Any = row.get("size")
    if not _is_text(function, FUNCTION_MAX):
        raise ValueError("its function is no text in ASCII")
    if not _are_texts(inputs) or not _are_texts(outputs) or len(inputs) != len(outputs):
        raise ValueError("its inputs and outputs are no lists of as many texts in ASCII")
    if type(size) is not int or not 0 < size < _SIZE_MAX:
        raise ValueError("its size is no such number")
    return Piece(function, tuple(inputs), tuple(outputs), size)


def _is_text(text: Any, most: int) -> bool:
    return isinstance(text, str) and text.isascii() and 0 < len(text) <= most


def _are_texts(texts: Any) -> bool:
    whole = isinstance(texts, list) and 1 <= len(texts) <= INPUTS_MAX
    return whole and all(_is_text(text, INPUT_MAX) for text in texts)


@cache
def load_first_pool() -> tuple[bytes, ...]:
    """The rows of the pool that ships with the package."""
    return tuple(_read_first_pool().splitlines())


@cache
def list_first_pieces() -> tuple[Piece, ...]:
    """Its pieces."""
    return tuple(read_piece(line, "pieces") for line in load_first_pool())


@cache
def compute_first_digest() -> bytes:
    """The SHA-256 of that pool, 32 bytes."""
    return sha256(_read_first_pool()).digest()


def _read_first_pool() -> bytes:
    return files(__package__).joinpath("pool.jsonl").read_bytes()
