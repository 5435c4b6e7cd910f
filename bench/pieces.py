"""Proposals of a network that writes its own problems: how many valid ones a core checks in a
second, and hostile ones: how many get into a pool, and what they cost.

A valid one is a piece of the first pool with the first of its inputs that does, proposed as if no
pool had it: two runs of the interpreter, its start included. The hostile ones are the table of
the tests, each with the rule that forbids it, checked with all their inputs. Then more copies of
one pattern are proposed than a pool takes, and one function in many dresses.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from figures import FAST, Figure, read_processor_time, report

sys.path.insert(0, str(Path(__file__).parents[1]))
from assay.environments.pieces.growth import SHAPE_MAX, compute_pool
from assay.environments.pieces.piece import RUNS, Piece, check_piece
from assay.environments.pieces.pool import list_first_pieces
from assay.environments.pieces.propose import PARAMS, Proposal
from assay.protocol.parameters import MILLION, UNITS
from assay.sandbox.guest import INTERPRETER, running
from tests.environments.hostile_pieces import HOSTILE

#: Checks that are timed; hostile proposals that are tried.
TIMED, TRIED = (5, 20) if FAST else (300, len(HOSTILE))
#: Instructions of each run of a check, by the default setting.
BUDGET = PARAMS[UNITS].default * MILLION // RUNS
COPIES = 3 * SHAPE_MAX


def main() -> None:
    pieces = list_first_pieces()
    proposals = sorted(map(find_proposal, pieces), key=lambda one: (one.cost, one.function))
    median = proposals[len(proposals) // 2]
    shortest = min(proposals, key=lambda one: (one.size, one.function))
    rates = [measure_rate(median), measure_rate(shortest)]
    entered, dear = try_hostile()
    figures = [
        Figure(
            "valid proposals a second of processor time, the first pool's median",
            rates[0],
            "/s",
            least=40,
        ),
        Figure(
            "valid proposals a second of processor time, its shortest function",
            rates[1],
            "/s",
            least=150,
        ),
        Figure("instructions of a valid proposal, the first pool's median", median.cost, ""),
        Figure("instructions of a valid proposal, its shortest function", shortest.cost, ""),
        Figure("most instructions that a proposal may take", RUNS * BUDGET, ""),
        Figure("kinds of hostile proposals tried", TRIED, "", least=None if FAST else 200),
        Figure("of these, such as get into the pool", entered, "", bound=0),
        Figure("of these, such as cost more than the budget", dear, "", bound=0),
        Figure("copies of one pattern proposed", COPIES, ""),
        Figure("of these, in the pool", count_copies(), "", bound=SHAPE_MAX),
        Figure("one function in other dresses: rows of the pool", count_dresses(), "", bound=1),
    ]
    report("Proposals", figures, threads=1)


@dataclass(frozen=True, slots=True)
class Valid:
    """A valid proposal: a function of `size` nodes, an input, and the instructions of its check."""

    function: str
    given: str
    size: int
    cost: int


def find_proposal(piece: Piece) -> Valid:
    """A piece as a proposal. With some inputs alone it is none: their output is the input."""
    for given in piece.inputs:
        verdict = check_piece(piece.function, [given], budget=BUDGET)
        if verdict.piece is not None:
            return Valid(piece.function, given, piece.size, verdict.instructions)
    raise AssertionError(piece)


def measure_rate(proposal: Valid) -> float:
    given = [proposal.given]
    check_piece(proposal.function, given, budget=BUDGET)
    pids = running._get_children(INTERPRETER).pids
    before = read_processor_time(pids)
    for _ in range(TIMED):
        verdict = check_piece(proposal.function, given, budget=BUDGET)
        assert verdict.instructions == proposal.cost
    return TIMED / (read_processor_time(pids) - before)


def try_hostile() -> tuple[int, int]:
    """How many get into the pool, and how many cost more than their budget."""
    entered = dear = 0
    for text, inputs, _ in list(HOSTILE.values())[:TRIED]:
        verdict = check_piece(text, inputs, budget=BUDGET)
        entered += verdict.piece is not None
        dear += verdict.instructions > RUNS * BUDGET
    return entered, dear


def count_copies() -> int:
    """Rows of a pool after copies with other constants were proposed."""
    texts = (f"def f(a):\n    return [b * {n + 2} + 'x{n}' for b in a]" for n in range(COPIES))
    return len(compute_pool((), [_make_proposal(text, "['p']") for text in texts], COPIES))


def count_dresses() -> int:
    """The same after one function was, with other names, words, types and nothings."""
    texts = (
        f"def q{n}(w{n}: 'list{n}') -> int:\n    'Rule {n}.'\n    pass  # {n}\n    {n}\n"
        f"    z{n}: int = len(w{n})\n    return z{n} * z{n} + 1"
        for n in range(10)
    )
    return len(compute_pool((), [_make_proposal(text, "[1, 2]") for text in texts], COPIES))


def _make_proposal(text: str, given: str) -> Proposal:
    verdict = check_piece(text, [given], budget=BUDGET)
    assert verdict.piece is not None, (text, verdict)
    return Proposal(verdict.piece, widens=False)


if __name__ == "__main__":
    main()
