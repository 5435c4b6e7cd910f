"""A world that replies to each sum with another one, made from the model's answer."""

import re
from dataclasses import dataclass

from assay.environments.arithmetic import Arithmetic
from assay.environments.base import Environment, Problem, RewardParts, rate_answer
from assay.environments.registry import make_environment
from assay.inference.checkpoint import Checkpoint
from assay.inference.generate import GroupRequest
from assay.inference.playing import Play
from assay.protocol.hashing import Domain, hash_fields
from assay.subnet.presets import DEMO_ENVIRONMENT, DEMO_SETTINGS
from assay.verification.episodes import EpisodeRules, begin_episode

#: Turns until it is silent.
TURNS = 3


@dataclass(frozen=True, slots=True)
class Sums:
    """The state: it scores the share of right sums."""

    question: str
    turns: int = 0
    right: int = 0

    def step(self, turn: str, is_ended: bool) -> tuple["Sums", str | None]:
        said = re.findall("[0-9]{1,6}", turn) or ["0"]
        answer = sum(map(int, re.findall("[0-9]+", self.question)))
        first, second = int(said[-1]) % 90 + 1, 7 * self.turns + 3
        question = f"{first}+{second}+{len(turn)}=?\n"
        after = Sums(question, self.turns + 1, self.right + (int(said[-1]) == answer))
        return after, question if after.turns < TURNS else None

    def score(self) -> RewardParts:
        return rate_answer(self.right, TURNS)


class SmallWorld(Arithmetic):
    """The demo's problems, each the first sum of an episode."""

    def open(self, problem: Problem) -> Sums:
        return Sums(problem.prompt)


def make_small_world() -> SmallWorld:
    demo = make_environment(DEMO_ENVIRONMENT, DEMO_SETTINGS)
    return SmallWorld(demo.params)


def make_play_requests(
    checkpoint: Checkpoint,
    groups: int,
    rollouts: int,
    rules: EpisodeRules,
    world: Environment | None = None,
) -> list[GroupRequest]:
    """Episodes of a world before their first turns; None: this one."""
    world, requests = world or make_small_world(), []
    for index in range(groups):
        seed = hash_fields(Domain.PROBLEM, b"small world", bytes([index]))
        problem = world.make_problem(seed, checkpoint.manifest.level_numbers)
        prompt = tuple(checkpoint.tokenizer.encode(problem.conversation))
        begun = begin_episode(world, problem, len(prompt))
        seeds = tuple(hash_fields(Domain.ROLLOUT, seed, bytes([r])) for r in range(rollouts))
        play = Play(begun, rules, checkpoint.tokenizer, world)
        requests.append(GroupRequest(prompt, seeds, play))
    return requests
