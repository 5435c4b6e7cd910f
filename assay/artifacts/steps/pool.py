"""The pool of the checkpoint that a step makes: its parent's, and the valid proposals of the
miners' groups of its window that the step consumed. Specification, section 11.3.

Everybody who has `step.parquet` and the sandbox derives the same: no miner's file is read. The
trainer's own groups do not count, and replayed ones count in the step of their window alone: a
proposal that has left the pool would otherwise come back, by its trainer's settings.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.steps.file import ConsumedGroup
from assay.artifacts.steps.groups import replay_all
from assay.environments.pieces.growth import compute_pool, read_pool, write_pool
from assay.environments.pieces.propose import Proposal
from assay.environments.pooling import find_proposal, is_proposing
from assay.environments.registry import draws_from_pool, get_pool_cap
from assay.environments.scoring import run_all
from assay.inference.checkpoint import Outline
from assay.inference.folder import CheckpointError
from assay.protocol.parameters import EnvironmentChoice, Parameters


def compute_step_pool(groups: Sequence[ConsumedGroup], window: int, drawn: "DrawnBy") -> bytes:
    """The pool's file after a step; no bytes: there is no pool. Without proposals in the network's
    problems the parent's stays.

    Args:
        groups: groups that the step consumed, in any order.
        window: the step's.
        drawn: the checkpoints that generated them, with the step's parent as the known one.

    Raises:
        CheckpointError: one of those is not here.
        ValueError: a group's problem is none, or the environment cannot be opened.
        WorkerError: the sandbox cannot run.
    """
    parameters, parent = drawn.parameters, drawn.known
    most = get_pool_cap(parameters.environment)
    if most is None:
        return parent.piece_pool
    trainer = parameters.identity.trainer
    miners = [one for one in groups if one.window == window and one.hotkey != trainer]
    proposals = [
        proposal
        for one in sorted(miners, key=lambda one: (one.hotkey, one.index))
        for proposal in _list_proposals(one, parameters, drawn.find(one))
    ]
    return write_pool(compute_pool(read_pool(parent.piece_pool), proposals, most))


@dataclass(slots=True)
class DrawnBy:
    """The checkpoints whose problems a step's groups answer.

    Attributes:
        known: any of the course, whose problems are all the same where none are drawn from pools.
            Where some are, the step's parent or child: it has a pool if there is one.
    """

    parameters: Parameters
    known: Outline
    checkpoints: CheckpointFolder
    _found: dict[bytes, Outline] = field(default_factory=dict)

    def find(self, one: ConsumedGroup) -> Outline:
        """A group's. Raises CheckpointError: it is not here, and its pool may be another."""
        digest, choice = one.checkpoint, self.parameters.environment
        if digest == self.known.manifest.digest or not draws_from_pool(choice):
            return self.known
        if digest not in self._found:
            try:
                self._found[digest] = self.checkpoints.get_outline(digest)
            except CheckpointError:
                if has_pools(choice, self.known):
                    raise
                self._found[digest] = self.known
        return self._found[digest]


def has_pools(choice: EnvironmentChoice, known: Outline) -> bool:
    """Whether problems may be drawn from other pools than the first, where one checkpoint is known.
    A pool stays, and parts draw from it, when an amendment drops `propose`."""
    return draws_from_pool(choice) and bool(known.piece_pool or get_pool_cap(choice) is not None)


def _list_proposals(one: ConsumedGroup, parameters: Parameters, outline: Outline) -> list[Proposal]:
    """The valid proposals of a group, in order of its rollouts."""
    environment = outline.open_environment(parameters.environment)
    problem = environment.make_problem(one.problem_seed, one.levels)
    if not is_proposing(environment.open(problem)):
        return []
    given = one.group.prompt, one.group.completions, parameters.work, outline
    episodes = replay_all(environment, problem, *given)
    found = run_all(environment, [partial(find_proposal, one.state) for one in episodes])
    return [proposal for proposal in found if proposal is not None]
