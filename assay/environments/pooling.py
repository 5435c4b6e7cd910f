"""Environments whose problems are drawn from a checkpoint's pool, whatever stands around them."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace

from assay.environments.base import PART_LEVELS, Environment, OneTurn, RewardParts, State
from assay.environments.mixture import Mixture
from assay.environments.pieces.abduce import Abduce
from assay.environments.pieces.induce import Induce
from assay.environments.pieces.piece import Piece
from assay.environments.pieces.piece_environment import PieceEnvironment, get_task
from assay.environments.pieces.propose import Kind, Proposal, Propose, ProposeTask
from assay.environments.prompting import PromptedEnvironment
from assay.environments.tools import ToolEnvironment
from assay.environments.tools.tool_environment import ToolEpisode
from assay.protocol.parameters import MILLION


def with_pool(environment: Environment, pieces: Sequence[Piece]) -> Environment:
    """The same with problems from the first pool and these pieces, where it draws from the first
    pool."""
    if isinstance(environment, PieceEnvironment):
        return environment.with_pool(pieces)
    if isinstance(environment, Mixture):
        mixture = copy(environment)
        mixture.parts = tuple(with_pool(part, pieces) for part in environment.parts)
        return mixture
    if isinstance(environment, PromptedEnvironment | ToolEnvironment):
        outer = copy(environment)
        outer.inner = with_pool(environment.inner, pieces)
        return outer
    return environment


def list_pool_levels(environment: Environment) -> frozenset[int]:
    """The levels of parts that draw from a pool: the first one, or a checkpoint's with it."""
    if isinstance(environment, Mixture):
        return frozenset(
            PART_LEVELS * number + level
            for number, part in enumerate(environment.parts, 1)
            for level in list_pool_levels(part)
        )
    if isinstance(environment, PromptedEnvironment | ToolEnvironment):
        return list_pool_levels(environment.inner)
    is_drawn = isinstance(environment, PieceEnvironment) and environment.known
    return frozenset(environment.levels if is_drawn else ())


def is_proposing(state: State) -> bool:
    """Whether what ends in this state is a proposal, valid or not."""
    if isinstance(state, ToolEpisode):
        state = state.asked
    return isinstance(state, OneTurn) and isinstance(state.environment, Propose)


def has_twin(state: State) -> bool:
    """Whether a problem's prompt can be another's, by whose pairs it would be scored otherwise: of
    `induce`, and of `propose` where it asks for pairs, it shows half of them."""
    if isinstance(state, ToolEpisode):
        state = state.asked
    if not isinstance(state, OneTurn) or not isinstance(state.environment, PieceEnvironment):
        return False
    task = get_task(state.problem)
    asks_pairs = isinstance(task, ProposeTask) and task.kind is Kind.PAIRS
    return (asks_pairs or isinstance(state.environment, Induce)) and state.environment.has_twin(
        task
    )


def find_proposal(state: State | None) -> Proposal | None:
    """The valid proposal of an episode that ends in this state, or None. Raises WorkerError: the
    sandbox cannot run."""
    if isinstance(state, ToolEpisode):
        state = state.answered
    if not isinstance(state, OneTurn) or not isinstance(state.environment, Propose):
        return None
    return state.environment.find_proposal(state.problem, state.completion)


def find_asked_piece(state: State) -> Piece | None:
    """The piece that an episode's problem asks; None: it asks none, or for a proposal."""
    asked = _find_asked(state)
    return None if asked is None else get_task(asked.problem).piece


@dataclass(frozen=True, slots=True)
class Trial:
    """What a problem asks of a piece, as far as its prompt alone says it.

    Attributes:
        value: the input whose output is asked, or the output for which an input is.
    """

    piece: bytes  # its digest
    value: str
    is_output: bool


def find_trial(state: State) -> Trial | None:
    """What an episode's problem tells of how hard its piece is; None: nothing.

    A problem of `induce` tells nothing: its prompt does not show the function, and another piece
    can have the same inputs and outputs. Whoever names the problem's seed could name another piece.
    """
    asked = _find_asked(state)
    if asked is None or isinstance(asked.environment, Induce):
        return None
    task, is_output = get_task(asked.problem), isinstance(asked.environment, Abduce)
    return Trial(task.piece.digest, task.due if is_output else task.given, is_output)


def _find_asked(state: State) -> OneTurn | None:
    if isinstance(state, ToolEpisode):
        state = state.asked
    if not isinstance(state, OneTurn) or not isinstance(state.environment, PieceEnvironment):
        return None
    return None if is_proposing(state) else state


#: What problems can have in common: the function that they are about, by its digest, or this and
#: what they ask of it, as of a `Trial`.
Subject = tuple[bytes] | tuple[bytes, bool, str]


def list_asked(trial: Trial) -> tuple[Subject, Subject]:
    """What a problem is about."""
    return (trial.piece,), (trial.piece, trial.is_output, trial.value)


def list_proposed(proposal: Proposal) -> tuple[Subject, ...]:
    """What a problem is about that is one of a proposal's, any of these and no two: its function;
    where an input was proposed, this, or its output."""
    piece = proposal.piece
    digest = piece.digest
    if not proposal.widens:
        return ((digest,),)
    return (digest, False, piece.inputs[0]), (digest, True, piece.outputs[0])


def compute_learnability(tries: int, solves: int) -> int:
    """How much there is to learn from problems, in millionths: 4p(1 − p) for the share p that was
    solved, rounded down. 0 where all were, or none."""
    return 4 * MILLION * solves * (tries - solves) // tries**2 if tries else 0


def rate_delayed(parts: RewardParts, tries: int, solves: int) -> RewardParts:
    """What a valid proposal achieves after its problems were tried: half for being valid, half for
    how learnable they are."""
    worth = (MILLION + compute_learnability(tries, solves)) // 2
    return replace(parts, correctness=worth, satisfaction=worth)
