"""Examples for a warm start: worked solutions, or a model's own right answers.

A source is read by position, so a course that goes on after a kill reads what it would have read.
Whatever an example is made of, its text goes through the tokenizer and the episode rules of the
network, and an answer is scored: only what a miner could write and would be paid for is imitated.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import torch

from assay.environments.base import Conversation, Environment, Problem
from assay.environments.scoring import run_all
from assay.gate.tokenizer import FolderTokenizer
from assay.inference.draft import OwnDrafter
from assay.inference.sampled_episodes import sample_episodes
from assay.protocol.errors import OperatorError
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.parameters import MILLION, Work
from assay.training.imitation import Example
from assay.verification.episodes import EpisodeRules, begin_episode

_T = TypeVar("_T")
#: Examples in a row of which none can be used, until a source is given up.
_PATIENCE = 2_000
#: The reason of a problem that is kept for trials.
_KEPT = "kept for trials"
#: Most tokens of an example, where the model's config names no longest context.
EXAMPLE_MAX = 1 << 20


class NoExampleError(OperatorError):
    """There is nothing to imitate. The message says why, and what helps."""


class Examples(Protocol):
    """A source of examples."""

    def read(self, position: int, count: int) -> tuple[list[Example], int]:
        """The next `count` examples from a position on, 0 at first, and the position behind them.
        The same position gives the same examples.

        Raises:
            NoExampleError: there is none that can be used.
        """


@dataclass(frozen=True, slots=True)
class Lessons:
    """What examples are about: a network's problems, as a miner's model would be asked them.

    Attributes:
        levels: of problems, ascending.
        ends: ids that end a turn; the first closes a turn that somebody else wrote.
        max_tokens: most own tokens of an example.
        avoided: conversations that are kept for trials, and never learned from.
    """

    environment: Environment
    levels: Sequence[int]
    tokenizer: FolderTokenizer
    ends: tuple[int, ...]
    max_tokens: int
    work: Work
    avoided: frozenset[Conversation] = frozenset()

    def make_problem(self, name: str, seed: int, index: int) -> Problem:
        """The problem number `index`, u64, of a list of that name and seed, u32. No challenge ever
        asks one."""
        numbers = seed.to_bytes(4, "big"), index.to_bytes(8, "big")
        drawn = hash_fields(Domain.HELD_OUT, b"warm start", name.encode(), *numbers)
        return self.environment.make_problem(drawn, self.levels)

    def play(self, problem: Problem, turns: Sequence[str]) -> Example | str:
        """The example of turns that somebody wrote, or why it is none."""
        if problem.conversation in self.avoided:
            return _KEPT
        if not turns:
            return "without a worked solution"
        ends, work = frozenset(self.ends), self.work
        rules = EpisodeRules(work.turns, work.context, work.reply_bytes, self.max_tokens, ends)
        try:
            prompt = self.tokenizer.encode_strictly(problem.conversation)
            said = [[*self.tokenizer.encode_text(turn), self.ends[0]] for turn in turns]
        except ValueError:
            return "not what this tokenizer can write"
        if sum(map(len, said)) > self.max_tokens:
            return f"longer than max_tokens, {self.max_tokens}"
        if any(ends.intersection(turn[:-1]) for turn in said):
            return "with an end token inside"
        episode, own = begin_episode(self.environment, problem, len(prompt)), list[int]()
        for turn in said:
            episode = episode.take_turn(turn, rules, self.tokenizer)
            own += turn
            if episode.end is not None:
                break
        if episode.state.score().correctness != MILLION:
            return "not right by the environment's own score"
        return Example(list(prompt), own, [one for one in episode.replies if one.at < len(own)])


@dataclass
class WorkedExamples:
    """Worked solutions of an environment's problems, without an end.

    Attributes:
        left_out: reason → number of problems.
    """

    lessons: Lessons
    seed: int
    name: str = "solutions"
    left_out: Counter[str] = field(default_factory=Counter)

    def read(self, position: int, count: int) -> tuple[list[Example], int]:
        """See `Examples.read`."""
        found: list[Example] = []
        last = position
        while len(found) < count:
            problem = self.lessons.make_problem(self.name, self.seed, position)
            position += 1
            made = self.lessons.play(problem, self.lessons.environment.solve(problem))
            if isinstance(made, Example):
                found.append(made)
                last = position
                continue
            self.left_out[made] += 1
            if position - last >= _PATIENCE:
                few = self.left_out.most_common(1)[0][0] == _KEPT
                raise NoExampleError(
                    f"of {_PATIENCE:,} problems in a row none gave an example: "
                    f"{describe_left_out(self.left_out)}"
                    + ("; there are too few others: use fewer --problems" if few else "")
                )
        return found, position


@dataclass(frozen=True, slots=True)
class ListedExamples(Generic[_T]):
    """A list of examples, at least one, read in a new order in each round."""

    examples: Sequence[_T]
    seed: int

    def read(self, position: int, count: int) -> tuple[list[_T], int]:
        """See `Examples.read`."""
        size, found = len(self.examples), list[_T]()
        while len(found) < count:
            done, place = divmod(position, size)
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + done)
            order = torch.randperm(size, generator=generator).tolist()
            chosen = order[place : place + count - len(found)]
            found += [self.examples[number] for number in chosen]
            position += len(chosen)
        return found, position


def describe_left_out(counts: Counter[str]) -> str:
    """How many problems or rows gave no example, and why."""
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common())


def sample_right(
    lessons: Lessons, drafter: OwnDrafter, seed: int, first: int, problems: int, tries: int
) -> list[Example]:
    """The model's own right answers to problems `first` to first + problems − 1, each tried
    `tries` times, each different answer once."""
    asked = []
    for index in range(first, first + problems):
        problem = lessons.make_problem("own answers", seed, index)
        if problem.conversation in lessons.avoided:
            continue
        prompt = tuple(lessons.tokenizer.encode(problem.conversation))
        name = hash_fields(Domain.HELD_OUT, b"warm start draws", seed.to_bytes(4, "big"))
        for number in range(tries):
            numbers = index.to_bytes(8, "big"), number.to_bytes(4, "big")
            asked.append((problem, prompt, hash_fields(Domain.HELD_OUT, name, *numbers)))
    played = sample_episodes(drafter, lessons.tokenizer, lessons.environment, asked, lessons.work)
    scores = run_all(lessons.environment, [one.episode.state.score for one in played])
    right: dict[tuple[tuple[int, ...], tuple[int, ...]], Example] = {}
    for one, parts in zip(played, scores, strict=True):
        if parts.is_right and one.tokens[-1] in lessons.ends:
            replies = list(one.episode.replies)
            example = Example(list(one.prompt), list(one.tokens), replies)
            right.setdefault((one.prompt, one.tokens), example)
    return list(right.values())
