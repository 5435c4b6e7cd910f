"""Environments whose problems are drawn from a checkpoint's pool, whatever stands around them."""

from collections.abc import Sequence
from copy import copy

from assay.environments.base import Environment, OneTurn, State
from assay.environments.mixture import Mixture
from assay.environments.pieces.piece import Piece
from assay.environments.pieces.piece_environment import PieceEnvironment, get_task
from assay.environments.pieces.propose import Proposal, Propose
from assay.environments.prompting import PromptedEnvironment
from assay.environments.tools import ToolEnvironment
from assay.environments.tools.tool_environment import ToolEpisode


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


def is_proposing(state: State) -> bool:
    """Whether what ends in this state is a proposal, valid or not."""
    if isinstance(state, ToolEpisode):
        state = state.asked
    return isinstance(state, OneTurn) and isinstance(state.environment, Propose)


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
    if isinstance(state, ToolEpisode):
        state = state.asked
    if not isinstance(state, OneTurn) or not isinstance(state.environment, PieceEnvironment):
        return None
    return None if is_proposing(state) else get_task(state.problem).piece
