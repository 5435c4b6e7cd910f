"""Ranks the miners' groups that a step could learn from, and draws the trainer's own. Everybody who
repeats the step finds the same.

A step takes I of the trainer's own groups and J of the miners' (`plan`). SAPO (Amico et al., 2025)
found that 4 local with 4 external rollouts teach more than 8 local ones. Own groups are the newest
checkpoint's samples, drawn as a miner draws. Nobody is paid for them. The own problems follow from
the parent and the window, the choice among the miners' groups from the window's audit seed.
Specification, section 11.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from assay.artifacts.steps.config import StepConfig
from assay.artifacts.steps.file import ConsumedGroup
from assay.environments.base import Environment, Problem
from assay.environments.dealing import make_miner_problem
from assay.environments.rewards import compute_reward
from assay.environments.scoring import run_all
from assay.inference.checkpoint import Checkpoint, Outline
from assay.inference.generate import generate_groups, make_group_request
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.parameters import Parameters, Work
from assay.protocol.seeds import compute_problem_seed, compute_projection_seed, compute_rollout_seed
from assay.protocol.submission import LOGPROB_BITS
from assay.training import Group
from assay.verification import make_projection
from assay.verification.episodes import Episode, begin_episode, make_episode_rules, replay

#: With refilling, a step generates at most this many times its number of own groups: levels of
#: which the checkpoint solves all or nothing must not hold it up.
OWN_TRIES = 4
#: With refilling, so many are generated together. Others may give other last bits.
OWN_PART = 8
_ZERO = bytes(32)


@dataclass(frozen=True, slots=True)
class OwnGroups:
    """How many groups of its own a trainer draws for a step.

    Attributes:
        count: at least so many.
        wanted: drawn until so many have a signal, but at most `OWN_TRIES` times `count`; None:
            dead ones are not replaced.
    """

    count: int
    wanted: int | None = None


def draw_own(
    own: OwnGroups, parent: Checkpoint, parameters: Parameters, window: int
) -> list[ConsumedGroup]:
    """The trainer's own groups of a step that begins with a checkpoint, in order of their index."""
    if not own.count or own.wanted is None:
        return generate_own(parent, parameters, own.count, window)
    found: list[ConsumedGroup] = []
    most, teaching = OWN_TRIES * own.count, 0
    for first in range(0, most, OWN_PART):
        for one in _generate(parent, parameters, range(first, first + OWN_PART), window):
            if teaching == own.wanted or len(found) == most:
                return found
            found.append(one)
            teaching += one.teaches
    return found


def count_most(external: int | None, own_count: int, batch: int | None) -> int | None:
    """The most groups of miners' with a signal that a step takes; None: all.

    Args:
        external: by its settings. own_count: groups of the trainer's own beside them.
        batch: groups of an update, to be refilled: more are taken, so that those with a signal
            fill whole updates. None: updates are not refilled.
    """
    if batch is None or external is None:
        return external
    return external + -(external + own_count) % batch


def find_most(config: StepConfig) -> int | None:
    """See `count_most`, by a step's settings."""
    learning, choice = config.learning, config.choice
    batch = learning.groups_per_batch if learning.refill else None
    return count_most(choice.external_groups, choice.local_groups, batch)


def count_teaching(groups: Sequence[ConsumedGroup]) -> int:
    """The number of groups with a signal."""
    return sum(one.teaches for one in groups)


def choose_external(
    groups: Sequence[ConsumedGroup], count: int | None, audit_seed: bytes | None
) -> list[ConsumedGroup]:
    """The miners' groups of the lowest ranks, as many as have `count` with a signal among them, in
    their original order. A group without a signal teaches nothing, so a spare one takes its place:
    it is consumed, but not counted.

    Args:
        count: None: all are taken.
        audit_seed: None: it is not known. Then those with a signal rank as they come, and all
            others may have been on the way.
    """
    places: Sequence[int]
    if audit_seed is None:
        places = sorted(range(len(groups)), key=lambda place: groups[place].teaches)
    else:
        ranks = [compute_rank(audit_seed, one.hotkey, one.index) for one in groups]
        places = sorted(range(len(groups)), key=ranks.__getitem__)
    chosen, teaching = [], 0
    for place in places:
        if teaching == count:
            break
        chosen.append(place)
        teaching += groups[place].teaches
    return [groups[place] for place in sorted(chosen)]


def compute_rank(audit_seed: bytes, hotkey: bytes, index: int) -> bytes:
    """A group's rank among those that a step could take, 32 bytes. It follows from a seed that
    nobody knew when miners committed. Others can see that no group was passed over, without the
    files that the step did not learn from."""
    return hash_fields(Domain.TRAINER, b"external", audit_seed, hotkey, index.to_bytes(4, "big"))


def replay_all(
    environment: Environment,
    problem: Problem,
    prompt: Sequence[int],
    completions: Sequence[Sequence[int]],
    work: Work,
    outline: Outline,
) -> list[Episode]:
    """The episode of each of a problem's completions, as far as it goes.

    Args:
        prompt: ids of the problem's.
        completions: own tokens, at least one each, all of the vocabulary.
    """
    begun = begin_episode(environment, problem, len(prompt))
    rules = make_episode_rules(work, outline.manifest)
    return run_all(
        environment, [partial(replay, begun, own, rules, outline.tokenizer) for own in completions]
    )


def generate_own(
    checkpoint: Checkpoint, parameters: Parameters, count: int, window: int, refill: bool = False
) -> list[ConsumedGroup]:
    """`count` of the checkpoint's own groups. They were drawn here, so nobody judges them.

    Args:
        refill: generate `OWN_PART` together, as a step that was refilled; else all.
    """
    size = OWN_PART if refill else max(1, count)
    firsts = range(0, count, size)
    parts = (_generate(checkpoint, parameters, range(n, n + size), window) for n in firsts)
    return [one for part in parts for one in part][:count]


def make_own_problem(
    checkpoint: Outline, parameters: Parameters, index: int, window: int
) -> tuple[bytes, Problem]:
    """The seed and the problem of one of a checkpoint's own groups."""
    hotkey, place = parameters.identity.trainer, _place_own(checkpoint, window)
    environment = checkpoint.open_environment(parameters.environment)
    given = place, hotkey, index, checkpoint.manifest.levels
    return compute_problem_seed(place, hotkey, index), make_miner_problem(environment, *given)


def _place_own(checkpoint: Outline, window: int) -> bytes:
    digest = checkpoint.manifest.digest
    return hash_fields(Domain.TRAINER, b"local", digest, window.to_bytes(8, "big"))


def _generate(
    checkpoint: Checkpoint, parameters: Parameters, indices: range, window: int
) -> list[ConsumedGroup]:
    hotkey, work = parameters.identity.trainer, parameters.work
    place = _place_own(checkpoint, window)
    environment = checkpoint.open_environment(parameters.environment)
    made = [make_own_problem(checkpoint, parameters, index, window) for index in indices]
    seeds, problems = zip(*made, strict=True)
    requests = [
        make_group_request(
            environment,
            problem,
            tuple(compute_rollout_seed(place, hotkey, i, r) for r in range(work.group_size)),
            work,
            checkpoint,
        )
        for i, problem in zip(indices, problems, strict=True)
    ]
    reference = checkpoint.get_reference(work.temperature)

    groups = generate_groups(
        requests,
        checkpoint.get_drafter(work.temperature),
        reference,
        checkpoint.get_rules(work.temperature),
        make_projection(compute_projection_seed(place), checkpoint.manifest),
    )
    consumed = []
    for index, seed, problem, request, rollouts in zip(
        indices, seeds, problems, requests, groups, strict=True
    ):
        completions = [rollout.tokens.tolist() for rollout in rollouts]
        episodes = replay_all(environment, problem, request.prompt, completions, work, checkpoint)
        scores = run_all(environment, [episode.state.score for episode in episodes])
        group = Group(
            list(request.prompt),
            completions,
            [
                compute_reward(parts, len(tokens), parameters.rewards, work.max_tokens)
                for parts, tokens in zip(scores, completions, strict=True)
            ],
            [(rollout.logprobs / -(1 << LOGPROB_BITS)).tolist() for rollout in rollouts],
            [list(episode.replies) for episode in episodes],
        )
        consumed.append(
            ConsumedGroup(
                group, window, hotkey, index, checkpoint.digest, _ZERO, seed, (problem.level,)
            )
        )
    return consumed
