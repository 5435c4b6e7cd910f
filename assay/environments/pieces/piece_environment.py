"""What the environments of pieces have in common: a pool, and what they ask the sandbox.

Whatever is asked, the expected value never enters the sandbox with an answer: the answer's value,
or what came of running it, is written in the one way (`inside`) and compared here as text.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

from assay.environments.answer_form import AnswerForm, FormedEnvironment
from assay.environments.base import Answer, Param, Problem, compute_digest
from assay.environments.pieces.piece import BUDGET, Piece, Said, ask
from assay.environments.pieces.pool import (
    PieceRows,
    compute_first_digest,
    divide_pieces,
    list_first_pieces,
)
from assay.environments.programs.case_runs import require_sandbox
from assay.protocol.parameters import MILLION, UNITS
from assay.protocol.prf import Stream
from assay.sandbox import count_cores
from assay.sandbox.guest import INTERPRETER

_LEAST, _ABOUT = BUDGET // MILLION, "millions of instructions that scoring an answer may take"
#: Settings of each of these environments. With fewer a piece's own answer might take too many.
PARAMS: Mapping[str, Param] = MappingProxyType({UNITS: Param(_LEAST, _LEAST, 2_000, _ABOUT)})
#: Values that answers without thought name, the most frequent ones.
THOUGHTLESS = 6


@dataclass(frozen=True, slots=True)
class PieceTask(Answer):
    """A piece, and the numbers of its inputs that are asked or shown, from 0."""

    piece: Piece
    places: tuple[int, ...]

    @property
    def given(self) -> str:
        """The first of these inputs."""
        return self.piece.inputs[self.places[0]]

    @property
    def due(self) -> str:
        """Its output."""
        return self.piece.outputs[self.places[0]]


class PieceEnvironment(FormedEnvironment):
    """Problems that are made of a pool's pieces.

    Attributes:
        skipped: reason → numbers of the file's rows skipped for it.
        known: digests of the pool's pieces; of a file's none.
    """

    def __init__(
        self,
        family: str,
        version: int,
        digest: str | None,
        params: Mapping[str, int],
        form: AnswerForm | None,
        declared: Mapping[str, Param] = PARAMS,
    ) -> None:
        """Open a pool.

        Args:
            digest: the SHA-256 of its file, 64 lower-case hex digits; None: it is the first pool.
            form: see `FormedEnvironment`.
            declared: its settings.

        Raises:
            ValueError: this machine has no such file, a row is damaged, no row can be asked, a
                setting is unknown or out of its range, or there is no sandbox.
        """
        name = family if digest is None else f"{family}:{digest}"
        super().__init__(name, version, declared, params, form)
        self.skipped: Mapping[str, Sequence[int]] = {}
        self.known: frozenset[bytes] = frozenset()
        if digest is None:
            self.fill(list_first_pieces())
        else:
            rows = PieceRows(family, self.find_reason)
            self._by_level = rows.find_levels(digest, family)
            self.skipped = rows.skipped
        require_sandbox()
        first = [compute_first_digest()] if digest is None else []
        interpreter = INTERPRETER.image_digest.encode()
        self.digest = compute_digest(name, version, self.params, interpreter, *first)
        self.scorers = count_cores()
        self.levels = list(self._by_level)

    @staticmethod
    def find_reason(piece: Piece) -> str | None:
        """Why a piece is not asked; None: it is."""
        del piece  # is any
        return None

    def with_pool(self, pieces: Sequence[Piece]) -> Self:
        """The same with the first pool and these pieces; of a file's pool itself."""
        if not self.known:
            return self
        first = {piece.digest: piece for piece in list_first_pieces()}
        whole = copy(self)
        whole.fill(list((first | {piece.digest: piece for piece in pieces}).values()))
        return whole

    def fill(self, pieces: Sequence[Piece]) -> None:
        """Have problems of these pieces, in the order of a pool. For a new object only."""
        asked = [piece for piece in pieces if self.find_reason(piece) is None]
        self._by_level = dict(divide_pieces(asked))
        self.known = frozenset(piece.digest for piece in pieces)

    def choose_piece(self, stream: Stream, level: int) -> Piece:
        """One of the level's pieces, each equally likely."""
        return stream.choose(self.get_pieces(level))

    def get_pieces(self, level: int) -> Sequence[Piece]:
        """The pieces of a level."""
        return self._by_level[level]

    def has_twin(self, task: PieceTask) -> bool:
        """Whether another piece of the pool has the pairs that a task shows, which are half of
        its own: their problem is the same then, but for the pairs that it does not show."""
        piece = task.piece
        shown = {(piece.inputs[place], piece.outputs[place]) for place in task.places}
        return any(
            shown.issubset(zip(other.inputs, other.outputs, strict=True))
            for level in self._by_level.values()
            for other in level
            if other.function != piece.function and (len(other.inputs) + 1) // 2 == len(shown)
        )

    def ask(self, do: str, *texts: str) -> Said:
        """What is said inside, within the setting's instructions."""
        return ask(do, *texts, instructions=self.params[UNITS] * MILLION)

    def list_frequent(self, of: str) -> Sequence[str]:
        """The values that most pieces have as `inputs` or as `outputs`."""
        pieces = (piece for level in self._by_level.values() for piece in level)
        values: Iterable[str] = (value for piece in pieces for value in set(getattr(piece, of)))
        # in order of text, for equal counts
        counted = sorted(Counter(values).items(), key=lambda item: (-item[1], item[0]))
        return [value for value, _ in counted[:THOUGHTLESS]]


def get_task(problem: Problem) -> PieceTask:
    """A problem's piece. Raises TypeError: another environment made it."""
    if not isinstance(problem.answer, PieceTask):
        raise TypeError(f"not a problem of a piece: {type(problem.answer).__name__}")
    return problem.answer
