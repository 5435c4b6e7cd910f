"""A small world with replies, for the judge: it echoes, and its model remembers all of it."""

from collections.abc import Callable, Sequence
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
from assay.protocol import Rollout
from assay.protocol.episode import Reply, weave
from assay.protocol.prf import Stream
from assay.verification.episodes import Episode, begin_episode, make_episode_rules

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


@dataclass
class Played:
    """An episode as somebody played it: own tokens, and what they heard of the world."""

    tokens: list[int]
    heard: list[Reply]
    episode: Episode


#: (number of the reply, its ids) → the ids that are read instead.
Say = Callable[[int, tuple[int, ...]], Sequence[int]]
#: (logits [1, V], seed, number of the token, tokens of the turn so far) → the token.
Draw = Callable[[np.ndarray, bytes, int, int], int]


class Player:
    """Plays and proves episodes of a world that has been made one of `Echo`, in any way."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rules = make_episode_rules(world.parameters.work, world.manifest)

    def begin(self, index: int) -> Episode:
        problem = self.world.get_problem(index)
        return begin_episode(self.world.environment, problem, len(self.world.get_prompt(index)))

    def play(
        self,
        index: int,
        rollout: int,
        say: Say = lambda number, ids: ids,
        draw: Draw | None = None,
        goes_on: Callable[[Episode], bool] = lambda episode: episode.end is None,
    ) -> Played:
        """Honest but for the arguments."""
        world, seed = self.world, self.world.get_seed(index, rollout)
        draw = draw or (lambda logits, seed, t, _: world.forward.draw(logits, seed, t))
        prompt, episode = world.get_prompt(index), self.begin(index)
        own: list[int] = []
        heard: list[Reply] = []
        while goes_on(episode):
            turn: list[int] = []
            while len(own) + len(turn) < MAX_TOKENS and not {*turn[-1:]} & self.rules.end_tokens:
                sequence, _ = weave([*own, *turn], heard)
                states = world.forward.model.compute_states(prompt, np.array(sequence, int))[-1:]
                logits = world.forward.model.compute_logits(states)
                turn.append(draw(logits, seed, len(own) + len(turn), len(turn)))
            own += turn
            episode = episode.take_turn(turn, self.rules, world.tokenizer)
            for reply in episode.replies[len(heard) :]:
                heard.append(Reply(reply.at, tuple(say(len(heard), reply.ids))))
        return Played(own, heard, episode)

    def prove(self, index: int, rollout: int, tokens: Sequence[int], heard: Any) -> Rollout:
        """The proofs that a prefill of this context gives."""
        world, column = self.world, np.array(tokens, np.uint32)
        (measured,) = world.forward.measure(
            [world.get_prompt(index)],
            [column],
            [world.get_seed(index, rollout)],
            world.projection,
            [heard],
        )
        return Rollout(column, measured.logprobs, measured.sketch)
