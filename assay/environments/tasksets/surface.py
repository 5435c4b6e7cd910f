"""The part of `verifiers.v1` that a taskset finds in the sandbox: its data, its tasks, a trace,
scoring.

It is written anew, because the original brings an HTTP client, an MCP server and process runtimes
into the one process that must have none of them. A reward that is a function of the reply needs
only a few hundred lines. Names and behaviour are those of verifiers 0.4.0; `tests/environments/`
compares the two. It runs inside the interpreter, and imports only the standard library and
`models`.
"""

import inspect
import json
import math
import re
import types
from hashlib import sha256
from typing import Any

from assay.environments.tasksets.models import VfGeneric, VfModel, find_parameter, make_field

#: Attributes that make a function's signature differ from its code's.
_SIGNED = {"__wrapped__", "__signature__"}


class VfSystemMessage(VfModel):
    role: str = "system"
    content: str


class VfUserMessage(VfModel):
    role: str = "user"
    content: str


class VfAssistantMessage(VfModel):
    role: str = "assistant"
    content: str | None = None
    reasoning_content: None = None
    tool_calls: None = None


Message = VfSystemMessage | VfUserMessage | VfAssistantMessage


class VfTaskTimeout(VfModel):
    _extra = True


class VfTaskResources(VfModel):
    _extra = True


class VfState(VfModel):
    pass


class VfTaskData(VfModel):
    _frozen = True
    _extra = True

    idx: int | None = None
    id: str | None = None
    name: str | None = None
    description: str | None = None
    prompt: str | list[Any] | None = None
    system_prompt: str | None = None
    image: str | None = None
    workdir: str | None = None
    agent_user: str | None = None
    skills: list[Any] = make_field(default_factory=list)
    network_allow: list[str] = make_field(default_factory=lambda: ["*"])
    network_block: list[str] = make_field(default_factory=list)
    artifacts: list[Any] = make_field(default_factory=list)
    artifact_max_bytes: int = 1 << 30
    timeout: VfTaskTimeout = make_field(default_factory=VfTaskTimeout)
    resources: VfTaskResources = make_field(default_factory=VfTaskResources)

    @property
    def prompt_text(self) -> Any:
        if isinstance(self.prompt, str):
            return self.prompt
        texts = [read_message(one)[1] for one in self.prompt or []]
        return "\n\n".join(text for text in texts if text)


def read_message(message: Any) -> Any:
    """The role and text of a message, which is a dict or one of the classes above."""
    given = message.model_dump() if isinstance(message, VfModel) else message
    role, content = given.get("role"), given.get("content")
    if isinstance(content, list):
        parts = [part.model_dump() if isinstance(part, VfModel) else part for part in content]
        if any(part.get("type", "text") != "text" for part in parts):
            raise ValueError("a prompt with images is not text")
        content = "\n".join(part["text"] for part in parts)
    if type(role) is not str or type(content) is not str:
        raise ValueError("a message of the prompt has no role or no text")
    return role, content


class VfTaskConfig(VfModel):
    judges: list[Any] = make_field(default_factory=list)
    stops: dict[str, Any] = make_field(default_factory=dict)
    metrics: dict[str, Any] = make_field(default_factory=dict)
    rewards: dict[str, Any] = make_field(default_factory=dict)


class VfTasksetConfig(VfModel):
    id: str = ""
    task: VfTaskConfig = make_field(default_factory=VfTaskConfig)
    system_prompt: None = None


class VfTask(VfGeneric):
    NEEDS_CONTAINER = False

    def __init__(self, data: Any, config: Any = None) -> None:
        self.data = data
        self.config = config if config is not None else self.config_type()()

    @property
    def hash(self) -> Any:
        text = json.dumps(self.data.model_dump(mode="json", exclude_none=True), sort_keys=True)
        return sha256(text.encode()).hexdigest()

    @property
    def key(self) -> Any:
        return self.hash

    def with_data(self, **update: Any) -> Any:
        clone = object.__new__(type(self))
        clone.__dict__.update(self.__dict__)
        clone.data = self.data.model_copy(update=update)
        return clone

    def runtime_env(self) -> Any:
        return {}

    async def setup(self, trace: Any, runtime: Any) -> Any:
        return None

    async def finalize(self, trace: Any, runtime: Any) -> Any:
        return None

    async def stage_verifier(self, trace: Any, runtime: Any) -> Any:
        return None

    async def validate(self, runtime: Any) -> Any:
        return None

    @classmethod
    def toolsets(cls, config: Any) -> Any:
        return []

    @classmethod
    def data_type(cls) -> Any:
        return find_parameter(cls, VfTaskData) or VfTaskData

    @classmethod
    def config_type(cls) -> Any:
        return find_parameter(cls, VfTaskConfig) or VfTaskConfig


class VfTaskset(VfGeneric):
    INFINITE = False

    def __init__(self, config: Any) -> None:
        self.config = config

    @classmethod
    def toolsets(cls, config: Any) -> Any:
        return []

    @classmethod
    def task_type(cls) -> Any:
        return find_parameter(cls, VfTask, VfTaskset) or VfTask

    @classmethod
    def config_type(cls) -> Any:
        return find_parameter(cls, VfTasksetConfig) or VfTasksetConfig


class VfRuntime:
    """A name for annotations. No reward receives one."""


class VfReward(VfModel):
    score: float
    weight: float = 1.0

    @property
    def value(self) -> Any:
        return self.score * self.weight


class VfTraceTask:
    def __init__(self, data: Any) -> None:
        self.data = data


class VfTrace:
    """A question and a reply, as a reward sees them; or a conversation.

    Args:
        reply: to the data's prompt; or None, and `said` has all that was said behind that prompt:
            in turn the model's texts and a user's.
    """

    num_branches = 1
    is_completed, ok, has_error = True, True, False

    def __init__(self, data: Any, reply: Any, state: Any, said: Any = ()) -> None:
        given = data.prompt if isinstance(data.prompt, list) else [("user", data.prompt)]
        if data.prompt is None:
            given = []
        roles = {"system": VfSystemMessage, "user": VfUserMessage, "assistant": VfAssistantMessage}
        pairs = [one if isinstance(one, tuple) else read_message(one) for one in given]
        if data.system_prompt is not None:
            pairs.insert(0, ("system", data.system_prompt))
        pairs += said if reply is None else [("assistant", reply)]
        self.task = VfTraceTask(data)
        self.tool_messages: list[Any] = []
        self.errors: list[Any] = []
        self.messages: list[Any] = [roles[role](content=text) for role, text in pairs]
        count = len(self.messages) - len(said if reply is None else [reply])
        sampled = self.messages[count:]
        self.assistant_messages = [one for one in sampled if one.role == "assistant"]
        self.num_turns = len(self.assistant_messages)
        self.rewards: dict[str, Any] = {}
        self.metrics: dict[str, Any] = {}
        self.info: dict[str, Any] = {}
        self.state = state

    @property
    def last_reply(self) -> Any:
        return (self.assistant_messages[-1].content or "").strip()

    @property
    def last_message(self) -> Any:
        return self.messages[-1]

    @property
    def reward(self) -> Any:
        return sum(one.value for one in self.rewards.values() if one is not None)

    @property
    def transcript(self) -> Any:
        blocks = (f"[{one.role}]\n{one.content}".rstrip("\n") for one in self.messages)
        return "\n\n".join(blocks)

    def record_metric(self, name: Any, value: Any) -> None:
        self.metrics[name] = float(value)

    def record_metrics(self, values: Any) -> None:
        for name, value in values.items():
            self.record_metric(name, value)

    def record_reward(self, name: Any, value: Any, weight: Any = 1.0) -> None:
        self.rewards[name] = VfReward(score=float(value), weight=float(weight))

    def __getattr__(self, name: Any) -> Any:
        raise AttributeError(f"trace.{name} is not offered: a reply has none, or none for sure")


def mark(kind: Any, **default: Any) -> Any:
    def decorate(func: Any = None, **given: Any) -> Any:
        if unknown := set(given) - {*default, "priority"}:
            raise TypeError(f"vf.{kind} has no {min(unknown)}")

        def apply(function: Any) -> Any:
            function.vf_kind = kind
            function.vf_told = {"priority": 0, **default, **given}
            return function

        return apply if func is None else apply(func)

    return decorate


def list_asked(task: Any) -> Any:
    """Kind → bound methods with their parameters, in verifiers' order. Of one name, the most
    derived method counts.

    Raises:
        PermissionError: a method cannot do without a runtime.
    """
    names = {
        name
        for one in type(task).__mro__
        if one not in (VfTask, VfGeneric, object)
        for name, function in vars(one).items()
        if hasattr(function, "vf_kind")
    }
    methods = [getattr(task, name) for name in sorted(names)]
    asked: dict[str, Any] = {"metric": [], "reward": [], "stop": []}
    methods = [one for one in methods if getattr(one, "vf_kind", None) in asked]
    for method in sorted(methods, key=lambda one: (-one.vf_told["priority"], one.__name__)):
        names, needed = list_parameters(method)
        if "runtime" in needed and method.vf_kind != "stop":
            raise PermissionError(f"{method.vf_kind} {method.__name__} needs a runtime")
        asked[method.vf_kind].append((method, names))
    return asked


def list_parameters(method: Any) -> Any:
    """The parameters of a bound method, and those that it requires. `inspect.signature` gives the
    same, but takes hundreds of steps, so only wrapped functions go through it."""
    function = getattr(method, "__func__", None)
    if type(function) is not types.FunctionType or vars(function).keys() & _SIGNED:
        given = inspect.signature(method).parameters
        needed = [name for name, one in given.items() if one.default is inspect.Parameter.empty]
        return list(given), needed
    code = function.__code__
    places = code.co_varnames[1 : code.co_argcount]
    named = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    needed = list(places[: len(places) - len(function.__defaults__ or ())])
    needed += [name for name in named if name not in (function.__kwdefaults__ or {})]
    return [*places, *named], needed


def run_method(method: Any, names: Any, available: Any) -> Any:
    """The result of an async method that waits for nothing. `names` are its parameters."""
    work = method(**{name: available[name] for name in names if name in available})
    if not inspect.iscoroutine(work):
        raise TypeError(f"{method.__name__} is not an async method")
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    work.close()
    raise RuntimeError(f"{method.__name__} waits for something: nothing is here to wait for")


def score_reply(task: Any, reply: Any) -> Any:
    """Name → (score, weight) of every reward."""
    return score_trace(task, VfTrace(task.data, reply, make_state(task)))


def make_state(task: Any) -> Any:
    return (find_parameter(type(task), VfState) or VfState)()


def score_trace(task: Any, trace: Any) -> Any:
    """Name → (score, weight) of every reward."""
    asked = list_asked(task)
    available = {"task": task.data, "trace": trace}
    for kind in ("metric", "reward"):
        for method, result in [(one, run_method(one, by, available)) for one, by in asked[kind]]:
            items = result.items() if isinstance(result, dict) else [(method.__name__, result)]
            for name, value in items:
                if kind == "metric":
                    trace.record_metric(name, value)
                else:
                    trace.record_reward(name, value, method.vf_told["weight"])
    return {name: (one.score, one.weight) for name, one in trace.rewards.items()}


def is_full(rewards: Any) -> Any:
    """Whether each weighted reward is 1, each penalty 0, and there is a reward: no sum, no
    rounding."""
    wanted = [(score, 1.0 if weight > 0 else 0.0) for score, weight in rewards.values() if weight]
    return any(want for _, want in wanted) and all(score == want for score, want in wanted)


def find_range_fault(rewards: Any) -> Any:
    """The first score that is not from 0 to 1 or weight that is not finite, or None. With such a
    score, a partial reward could look like a full one."""
    for name, (score, weight) in rewards.items():
        if not math.isfinite(weight):
            return f"reward {name} has the weight {weight!r}: a finite one may be"
        if not 0 <= score <= 1:
            return f"reward {name} gave {score!r}: 0 to 1 may be"
    return None


def extract_boxed_answer(text: Any, strict: Any = False) -> Any:
    """verifiers' function: the content of the last \\boxed{}; without one the text, or "" if
    strict."""
    start = text.rfind("\\boxed{")
    depth = 0
    for brace in re.finditer("[{}]", text[start:]) if start >= 0 else ():
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return text[start + len("\\boxed{") : start + brace.start()]
    return "" if strict else text
