"""A small world with replies, for the judge: it echoes, and its model remembers all of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from assay.environments.base import (
    Answer,
    DrawnEnvironment,
    Problem,
    RewardParts,
    State,
    rate_answer,
)
from assay.lab.gauntlet.forged_episodes import Forger, Logits, Played
from assay.protocol.episode import Reply, weave
from assay.protocol.prf import Stream
from assay.protocol.submission import Rollout
from assay.verification.episodes import begin_episode, make_episode_rules

#: What is left of a token in the state, of each token behind it.
MEMORY = 0.97
#: What is added to the end token's logit: a turn has some eight tokens.
END, EAGERNESS = 96, 3.0
TURNS, MAX_TOKENS, CONTEXT, REPLY_BYTES, SIZE = 4, 40, 62, 6, 4

Tokens = np.ndarray
World = Any  # conftest.World: tests cannot import a conftest


@dataclass(frozen=True)
class Count(Answer):
    """Turns until the world is done."""

    turns: int


@dataclass(frozen=True)
class Echoing:
    """Replies with the number of the turn and what the turn began with."""

    turns: int
    heard: tuple[str, ...] = ()

    def step(self, turn: str, is_ended: bool) -> tuple["Echoing", str | None]:
        after = replace(self, heard=(*self.heard, turn))
        return after, None if len(after.heard) == self.turns else f"{len(after.heard)}:{turn[:40]}"

    def score(self) -> RewardParts:
        return rate_answer(len(self.heard[-1]) % 2)


class Echo(DrawnEnvironment):
    """Problems of two turns to one more than the parameters allow."""

    levels = (1, 2)

    def __init__(self) -> None:
        super().__init__("echo", 1, {}, {})

    def _draw(self, stream: Stream, level: int) -> Problem:
        said = stream.draw_between(1, 10**6)
        return Problem(f"{said}?\n", level, Count(stream.draw_between(2, TURNS + 1)))

    def open(self, problem: Problem) -> State:
        assert isinstance(problem.answer, Count)
        return Echoing(problem.answer.turns)

    def score(self, problem: Problem, completion: str) -> RewardParts:
        return self.open(problem).step(completion, True)[0].score()


class LongModel:
    """A model whose state has all tokens in it: those longer ago count less."""

    def __init__(self, model: Any, seed: int) -> None:
        self.model = model
        self._embedding = np.random.default_rng(seed).normal(size=(100, model.head.shape[0]))

    def compute_states(self, prompt: Sequence[int], completion: Tokens) -> np.ndarray:
        """The state that draws each token of `completion`, and one after it: [T + 1, H]."""
        state, states = np.zeros(self._embedding.shape[1]), []
        for token in (*prompt, *completion.tolist()):
            state = MEMORY * state + self._embedding[token]
            states.append(state)
        return np.tanh(0.5 * np.array(states[len(prompt) - 1 :]))

    def compute_logits(self, states: np.ndarray) -> np.ndarray:
        logits: np.ndarray = self.model.compute_logits(states)
        logits[:, END] += EAGERNESS
        return logits


class EchoForger(Forger):
    """Of a rollout of a world that has been made one of `Echo`."""

    def __init__(self, world: World, index: int, rollout: int) -> None:
        self.world, self.index = world, index
        self.seed, self.prompt = world.get_seed(index, rollout), world.get_prompt(index)
        self.rules = make_episode_rules(world.parameters.work, world.manifest)
        self.tokenizer, self.drawable = world.tokenizer, world.tokenizer.drawable
        problem = world.get_problem(index)
        self.episode = begin_episode(world.environment, problem, len(self.prompt))
        self._rollout = rollout

    @property
    def honest(self) -> Played:
        return self.world.played[self.index][self._rollout]

    @property
    def neighbour(self) -> Played:
        group = self.world.played[self.index]
        return group[(self._rollout + 1) % len(group)]

    def compute_logits(self, tokens: Sequence[int], heard: Sequence[Reply]) -> Logits:
        model = self.world.forward.model
        sequence, _ = weave(tokens, heard)
        states = model.compute_states(self.prompt, np.array(sequence, int))[-1:]
        return model.compute_logits(states)

    def draw(self, logits: Logits, t: int) -> int:
        return self.world.forward.draw(logits, self.seed, t)

    def prove(self, tokens: Sequence[int], heard: Sequence[Reply]) -> Rollout:
        world, column = self.world, np.array(tokens, np.uint32)
        (measured,) = world.forward.measure(
            [self.prompt], [column], [self.seed], world.projection, [heard]
        )
        return Rollout(column, measured.logprobs, measured.sketch)
