"""The part of `verifiers.v1` by which a taskset's own user talks with the model: one agent, and an
interaction that is held open turn by turn.

A user is a coroutine, `run` of an environment. It waits for nothing but the model's turns, so it is
resumed with each of them. Names and behaviour are those of verifiers 0.4.0, but for limits: there
are none but the episode's. It runs inside the interpreter, like `surface`.
"""

from typing import Any

from assay.environments.tasksets.models import VfGeneric, VfModel, find_parameter
from assay.environments.tasksets.surface import (
    VfAssistantMessage,
    VfTrace,
    list_asked,
    make_state,
    read_message,
    run_method,
    score_trace,
)


class VfSegment:
    """What the model answers to one turn of a user."""

    def __init__(self, messages: Any, terminated: Any = False) -> None:
        self.messages, self.terminated = messages, terminated

    @property
    def last_reply(self) -> Any:
        return self.messages[-1].content.strip() if self.messages else ""


class VfSingleAgentEnvConfig(VfModel):
    _extra = True


class VfSingleAgentEnv(VfGeneric):
    def __init__(self, config: Any) -> None:
        self.config = config

    @classmethod
    def config_type(cls) -> Any:
        return find_parameter(cls, VfSingleAgentEnvConfig) or VfSingleAgentEnvConfig

    async def run(self, task: Any, agents: Any) -> Any:
        await agents.agent.run(task)


class VfEpisode:
    """A name for annotations. No user receives one."""


class VfTurn:
    """What a user says, or None for the task's own prompt; awaiting it gives the model's answer."""

    def __init__(self, text: Any) -> None:
        self.text = text

    def __await__(self) -> Any:
        return (yield self)


class VfInteraction:
    def __init__(self, talk: Any) -> None:
        self._talk = talk
        self._is_closed = self._was_told = False

    @property
    def trace(self) -> Any:
        return self._talk.make_trace()

    async def turn(self, message: Any = None) -> Any:
        if self._is_closed or self._was_told:
            raise RuntimeError("this interaction is closed, or the exchange is over")
        prompted = not self._talk.said and self._talk.task.data.prompt is not None
        if (message is None) != prompted:
            raise ValueError("a bare turn() takes a task's prompt, and only its opening reply")
        if self._talk.is_stopped:
            self._was_told = True
            return VfSegment([], terminated=True)
        text = await VfTurn(None if message is None else write_message(message))
        return VfSegment([VfAssistantMessage(content=text)])

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *_: Any) -> Any:
        self._is_closed = True


class VfAgents:
    """The one seat: `agent`, which is played once."""

    def __init__(self, talk: Any) -> None:
        self.agent = self
        self._talk = talk
        self._is_used = False

    def interaction(self, task: Any) -> Any:
        if task is not self._talk.task or self._is_used:
            raise PermissionError("another task or a second rollout: it needs other agents")
        self._is_used = True
        return VfInteraction(self._talk)

    async def run(self, task: Any) -> Any:
        async with self.interaction(task) as interaction:
            await interaction.turn()
        return interaction.trace


def write_message(message: Any) -> Any:
    """The text of a user's turn, which may be messages."""
    if isinstance(message, str):
        return message
    pairs = [read_message(one) for one in message]
    if not pairs or {role for role, _ in pairs} != {"user"}:
        raise ValueError("a user says nothing, or speaks for others")
    return "\n\n".join(text for _, text in pairs)


class Conversation:
    """A task's user and the model's turns.

    Attributes:
        said: role and text of all that was said behind the task's prompt.
        opening: what the user says first; empty: the task's own prompt opens.
    """

    def __init__(self, user: Any, task: Any) -> None:
        self.task = task
        self.said: list[Any] = []
        self.is_stopped = False
        self._stops = list_asked(task)["stop"]
        self._work = user.run(task, VfAgents(self))
        opening = self._go_on(None)
        if opening is None:
            raise ValueError("the user says nothing")
        self.opening = opening

    def answer(self, turn: Any) -> Any:
        """What the user says to the model's turn; None: the conversation is over."""
        self.said.append(("assistant", turn))
        available = {"task": self.task.data, "trace": self.make_trace()}
        self.is_stopped = any(run_method(one, by, available) for one, by in self._stops)
        return self._go_on(turn)

    def make_trace(self) -> Any:
        return VfTrace(self.task.data, None, make_state(self.task), self.said)

    def score(self) -> Any:
        """Name → (score, weight) of every reward."""
        return score_trace(self.task, self.make_trace())

    def _go_on(self, turn: Any) -> Any:
        try:
            said = self._work.send(turn)
        except StopIteration:
            return None
        if not isinstance(said, VfTurn):
            raise TypeError("a user waits for something else than a turn: nothing is here")
        if said.text is not None:
            self.said.append(("user", said.text))
        return said.text or ""
