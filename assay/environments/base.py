"""The interface of an environment: a problem from a seed, a score from a problem and an answer.

Specification, sections 0, 3 and 9. Rewards are integers in millionths; no float is ever involved.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Protocol

from assay.protocol.hashing import DIGEST_BYTES, Domain, hash_fields
from assay.protocol.parameters import (
    MILLION,
    REPLY_AFTER,
    REPLY_BEFORE,
    REPLY_FORM,
    REPLY_JSON,
    Prompts,
)
from assay.protocol.prf import Stream


class Answer:
    """The data that an environment needs to score a completion. Each environment has a subclass.

    No other code looks inside, and no model that answers ever sees it.
    """


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation. Its role is `system`, `user` or `assistant`."""

    role: str
    content: str


def make_messages(turns: Iterable[tuple[str, str]]) -> tuple[Message, ...]:
    """Messages of roles and texts."""
    return tuple(Message(role, content) for role, content in turns)


#: Named arguments of a chat template.
Arguments = tuple[tuple[str, str | int | bool], ...]


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a model is asked: messages of which the last is a user's, and how they become ids. No
    messages are the id 0.

    Attributes:
        arguments: for the chat template.
        tools: that the chat template is told of, in JSON; no text: none.
        bos: the ids begin with the tokenizer's bos_token.
        plain: the messages are written as plain text, though there may be a chat template.
    """

    messages: tuple[Message, ...]
    arguments: Arguments = ()
    bos: bool = False
    plain: bool = False
    tools: str = ""

    @property
    def text(self) -> str:
        """The plain form: what the messages say, with an empty line behind each that is not a
        user's. An answer so follows its question directly."""
        return "".join(
            one.content if one.role == "user" else f"{one.content}\n\n" for one in self.messages
        )


def ask(text: str) -> Conversation:
    """One message of a user."""
    return Conversation((Message("user", text),))


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around each reply of a world: the text between a turn's end token and the reply,
    and the text behind it. With `as_json` the reply is written as a JSON string."""

    before: str = ""
    after: str = ""
    as_json: bool = False


@dataclass(frozen=True, slots=True)
class Manner:
    """How an owner has problems put. `prompts` is None without words of the owner's own;
    `arguments` are those of `prompts`; `tools` are what the chat template is told of, in JSON."""

    prompts: Prompts | None = None
    arguments: Arguments = ()
    bos: bool = False
    plain: bool = False
    tools: str = ""

    def get(self, name: str) -> str | None:
        """The owner's text of a name, or None."""
        return None if self.prompts is None else self.prompts.get(name)

    @property
    def frame(self) -> Frame:
        """The frame of replies."""
        before, after = (self.get(name) or "" for name in (REPLY_BEFORE, REPLY_AFTER))
        return Frame(before, after, as_json=self.get(REPLY_FORM) == REPLY_JSON)


@dataclass(frozen=True, slots=True)
class Problem:
    """One task. Where its words are Assay's own, it has only printable ASCII and newlines.

    Attributes:
        question: the task alone, if the environment knows where it ends.
        level: one of the requested levels.
        request: what the environment says behind the question, unless the owner says otherwise.
        context: messages of the task's own before the question.
        manner: the owner's.
        is_made: False: foreign code made no problem of the number. Everybody finds the same, so
            it is asked all the same: nothing, in one turn, and every answer scores 0.
    """

    question: str
    level: int
    answer: Answer
    request: str = ""
    context: tuple[Message, ...] = ()
    manner: Manner = Manner()
    is_made: bool = True

    @property
    def prompt(self) -> str:
        """The last message, which ends in a newline unless the owner's words do not."""
        return self._put(self.question, self.request) if self.is_made else ""

    @property
    def conversation(self) -> Conversation:
        """What the model is asked: no message where no problem was made. Specification,
        section 3."""
        if not self.is_made:
            return Conversation(())
        manner, system = self.manner, self.manner.get("system")
        shots = () if manner.prompts is None else manner.prompts.shots
        shown = [
            Message(role, text)
            for shot in shots
            for role, text in (
                ("user", self._put(shot.question, self.request)),
                ("assistant", shot.answer),
            )
        ]
        first = [one for one in self.context if one.role == "system"]
        others = [one for one in self.context if one.role != "system"]
        first = first if system is None else [Message("system", system)]
        messages = (*first, *shown, *others, Message("user", self.prompt))
        return Conversation(messages, manner.arguments, manner.bos, manner.plain, manner.tools)

    def _put(self, question: str, request: str) -> str:
        """A question between the words around it."""
        after = self.manner.get("after")
        return (self.manner.get("before") or "") + question + (request if after is None else after)


def leave_unmade(level: int) -> Problem:
    """The problem of a number of which foreign code makes none. See `Problem.is_made`."""
    return Problem("", level, Answer(), is_made=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardParts:
    """What one completion achieves: each part in millionths, 0 to 1,000,000.

    Attributes:
        correctness: all of the answer is right.
        quality: of the steps before it.
        satisfaction: the share of the task's parts that the answer meets: tests passed, constraints
            met, values of a list. A task without parts is one part.
        format: an answer could be read.

    Raises:
        ValueError: a part is out of range; an answer is right and not wholly satisfied or read; or
            it is not right and meets all parts. A wrong one could then earn as much as a right one.
    """

    correctness: int
    quality: int
    satisfaction: int
    format: int

    def __post_init__(self) -> None:
        parts = self.correctness, self.quality, self.satisfaction, self.format
        for part in parts:
            if not 0 <= part <= MILLION:
                raise ValueError(f"a reward's part is 0 to {MILLION} millionths, not {part}")
        if self.correctness > min(self.satisfaction, self.format):
            raise ValueError(f"a right answer meets all parts and is read: {parts} says otherwise")
        if self.satisfaction == MILLION > self.correctness:
            raise ValueError(f"what meets all parts is a right answer: {parts} says otherwise")

    @property
    def is_right(self) -> bool:
        """Whether all of the answer is right."""
        return self.correctness == MILLION


#: What a completion achieves from which no answer can be read.
UNREAD = RewardParts(correctness=0, quality=0, satisfaction=0, format=0)


def rate_answer(met: int, total: int = 1, quality: int = 0) -> RewardParts:
    """What a completion achieves whose answer was read, and meets `met` of the task's `total`
    parts."""
    right = MILLION if met == total else 0
    return RewardParts(
        correctness=right, quality=quality, satisfaction=met * MILLION // total, format=MILLION
    )


class State(Protocol):
    """An episode of one problem so far, as its world sees it: an immutable value, so a miner keeps
    one for each rollout in progress and nothing is ever reset or closed.

    A reply is consensus: a world that replies differently on two machines makes honest miners
    cheats. Specification, section 3.1, and "Worlds" of docs/environments.md.
    """

    def step(self, turn: str, is_ended: bool) -> tuple["State", str | None]:
        """The state after a turn, and the world's reply; None: the episode is over. No text raises
        an error.

        Args:
            turn: text of the turn, without its end token.
            is_ended: whether the model ended it; a turn that was cut is the last one.
        """

    def score(self) -> RewardParts:
        """What the episode achieves if it ends here, after at least one turn."""


@dataclass(frozen=True, slots=True)
class OneTurn:
    """The `State` of a problem that is answered in one turn."""

    environment: "Environment"
    problem: Problem
    completion: str = ""

    def step(self, turn: str, is_ended: bool) -> tuple["OneTurn", None]:
        """See `State.step`."""
        return OneTurn(self.environment, self.problem, turn), None

    def score(self) -> RewardParts:
        """See `State.score`."""
        if not self.problem.is_made:
            return UNREAD
        return self.environment.score(self.problem, self.completion)


class Environment(Protocol):
    """Problems and their scores. Both are pure functions: the same arguments always give the same
    values."""

    @property
    def name(self) -> str:
        """The environment's name: ASCII, unique in the registry."""

    @property
    def params(self) -> Mapping[str, int]:
        """Every declared parameter with its value, defaults included."""

    @property
    def levels(self) -> Sequence[int]:
        """The legal levels, ascending. A mixture lists them by part."""

    @property
    def digest(self) -> bytes:
        """32 bytes that name this environment, its version and its parameters."""

    @property
    def scorers(self) -> int:
        """Completions that it scores at once on this machine, each on a thread of its caller's."""

    @property
    def rated(self) -> frozenset[str]:
        """Parts of the reward, `quality` or `satisfaction`, that say more than whether an answer is
        right."""

    @property
    def turns(self) -> int:
        """The most turns of an episode that its worlds want: 1, unless a world replies."""

    def list_thoughtless(self, problem: Problem) -> Sequence[str]:
        """Completions that take no thought: whoever answers every problem like this should earn
        little of each part."""

    def solve(self, problem: Problem) -> Sequence[str]:
        """The turns of a right episode, the last with the answer, each with the steps that lead to
        it. None where such steps are not known: an answer alone teaches nobody to reason."""

    def compute_shares(self, levels: Sequence[int]) -> Sequence[int]:
        """How often each of `levels` is asked, relative to the others: coprime integers of 1 or
        more."""

    def make_problem(self, seed: bytes, levels: Sequence[int]) -> Problem:
        """The problem of a 32-byte seed. The seed draws its level from `levels`, by their
        shares.

        Raises:
            ValueError: a seed of another length; levels empty, not ascending or not legal.
        """

    def open(self, problem: Problem) -> State:
        """The state of a problem before its first turn. This or the state's `score` raises as
        `score` does."""

    def score(self, problem: Problem, completion: str) -> RewardParts:
        """Score `completion`: the text after the prompt, without the end token. Of a world it is
        the first turn, and the episode ends there. A problem that was not made scores 0.

        Any string is scored, in time linear in its length. Foreign code that reads an answer also
        has a bounded number of steps. No string raises an error.

        Raises:
            TypeError: `problem` was made by another environment.
        """


@dataclass(frozen=True, slots=True)
class Param:
    """An integer setting of an environment: its default, its range (both ends legal) and its
    purpose."""

    default: int
    low: int
    high: int
    about: str


#: Each part of a mixture has levels below this number. Part i's levels are offset by i times it.
PART_LEVELS = 1_000
#: Most bytes of an answer, in UTF-8.
ANSWER_BYTES = 1 << 15
#: The blanks: no other character of Unicode is one.
BLANKS = " \t\r\n"
#: A whole number in an answer: at most 18 digits, one spelling for each number.
INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
#: Ends what a model thinks before it answers.
THOUGHT = "</think>"


def cut_thought(completion: str) -> str:
    """What a completion says behind its thought, without the line ends that follow it directly; all
    of it, if there is none."""
    _, thought, rest = completion.rpartition(THOUGHT)
    return rest.lstrip("\r\n") if thought else rest


def compute_digest(name: str, version: int, params: Mapping[str, int], *more: bytes) -> bytes:
    """hash(environment, name, version u16, params, more…): 32 bytes.

    `params` is encoded as (u16 length ‖ ASCII key ‖ i64 value)* in the order of the keys' bytes;
    integers are big endian. `more` is everything else that problems depend on: other digests,
    versions of foreign code.
    """
    encoded = b"".join(
        len(key).to_bytes(2, "big") + key.encode("ascii") + value.to_bytes(8, "big", signed=True)
        for key, value in sorted(params.items())
    )
    return hash_fields(
        Domain.ENVIRONMENT, name.encode("ascii"), version.to_bytes(2, "big"), encoded, *more
    )


def open_stream(name: str, seed: bytes) -> Stream:
    """The stream from which the environment `name` draws everything about one problem.

    Raises:
        ValueError: `seed` is not 32 bytes.
    """
    if len(seed) != DIGEST_BYTES:
        raise ValueError(f"a problem's seed has {DIGEST_BYTES} bytes, not {len(seed)}")
    return Stream(hash_fields(Domain.ENVIRONMENT_STREAM, name.encode("ascii"), seed))


def require_levels(levels: Sequence[int], legal: Sequence[int]) -> None:
    """Raises ValueError if `levels` is empty, not strictly ascending, or not within `legal`."""
    if not levels or any(a >= b for a, b in pairwise(levels)):
        raise ValueError(f"levels {list(levels)} must be ascending, each once, and not empty")
    if illegal := [level for level in levels if level not in legal]:
        raise ValueError(f"levels {illegal} are not legal: {legal[0]} to {legal[-1]} are")


def resolve_params(
    name: str, declared: Mapping[str, Param], given: Mapping[str, int]
) -> dict[str, int]:
    """`given`, completed with the declared defaults.

    Raises:
        ValueError: a parameter is not declared, not an integer or out of its range.
    """
    for key, value in given.items():
        if key not in declared:
            known = ", ".join(sorted(declared)) or "none"
            raise ValueError(f"environment {name!r} has no parameter {key!r}; it has: {known}")
        param = declared[key]
        if type(value) is not int or not param.low <= value <= param.high:
            raise ValueError(
                f"environment {name!r}: {key} = {value!r} must be an integer from {param.low} to "
                f"{param.high} ({param.about})"
            )
    return {key: given.get(key, param.default) for key, param in sorted(declared.items())}


class DrawnEnvironment(ABC):
    """An `Environment` that draws a level, then a problem of it, from one stream.

    Raises:
        ValueError: `params` holds an unknown name or a value out of range.
    """

    levels: Sequence[int]
    rated: frozenset[str] = frozenset()
    turns = 1
    #: Our own scorers take so little time that threads would only cost some.
    scorers = 1

    def __init__(
        self, name: str, version: int, declared: Mapping[str, Param], params: Mapping[str, int]
    ) -> None:
        self.name = name
        self.params: Mapping[str, int] = MappingProxyType(resolve_params(name, declared, params))
        self.digest = compute_digest(name, version, self.params)

    def compute_shares(self, levels: Sequence[int]) -> Sequence[int]:
        return (1,) * len(levels)

    def open(self, problem: Problem) -> State:
        return OneTurn(self, problem)

    @abstractmethod
    def score(self, problem: Problem, completion: str) -> RewardParts:
        """See `Environment.score`."""

    def list_thoughtless(self, problem: Problem) -> Sequence[str]:
        del problem  # is any
        answers = ("0", "1", "2", "-1", "0,1", "-1,1", "1,2")
        return tuple(map(self.write_answer, answers))

    def solve(self, problem: Problem) -> Sequence[str]:
        del problem  # is any
        return ()

    def write_answer(self, answer: str) -> str:
        """A completion of an answer alone."""
        return f"#### {answer}"

    def make_problem(self, seed: bytes, levels: Sequence[int]) -> Problem:
        """A problem of one of `levels`, each equally likely."""
        stream = open_stream(self.name, seed)
        require_levels(levels, self.levels)
        return self._draw(stream, stream.choose(levels))

    @abstractmethod
    def _draw(self, stream: Stream, level: int) -> Problem:
        """Draw a problem of `level`. The order of draws is part of the version."""
