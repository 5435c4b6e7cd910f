"""An environment of one turn with a tool: turns that call it get replies, another is the answer.

Specification: the environments' page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from assay.environments.base import (
    UNREAD,
    Environment,
    Manner,
    Param,
    Problem,
    RewardParts,
    State,
    resolve_params,
)
from assay.environments.tools.calculator import Calculator
from assay.environments.tools.calls import CallFault, CallForm, read_call
from assay.environments.tools.proofs import PROOFS, compute_tool_proof
from assay.environments.tools.python import Python
from assay.environments.tools.search import SearchTool
from assay.environments.tools.tool import Tool, describe_tool
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.parameters import TOOL_UNITS

#: Millions of instructions of an episode, and with which proof episodes are played.
_UNITS = 300
#: The tools that an environment may have by its setting, from 1 on.
TOOLS: Mapping[str, Tool] = MappingProxyType(
    {tool.name: tool for tool in (Calculator(), SearchTool(), Python(_UNITS))}
)
TOOL, CALL_FORM = "tool", "call_form"
#: The number of the tool that environments with documents have, and no others.
SEARCH = 1 + list(TOOLS).index(SearchTool.name)


def _list_names(names: Sequence[str], first: int) -> str:
    return ", ".join(f"{number} {name}" for number, name in enumerate(names, first))


#: Settings of every environment of one turn that is no mixture, and of every such part of one.
PARAMS: Mapping[str, Param] = MappingProxyType(
    {
        TOOL: Param(0, 0, len(TOOLS), f"a tool: 0 none, {_list_names(list(TOOLS), 1)}"),
        CALL_FORM: Param(
            0,
            0,
            len(CallForm) - 1,
            f"form of a call: {_list_names([form.word for form in CallForm], 0)}",
        ),
        TOOL_UNITS: Param(
            _UNITS, 10, 5_000, "millions of instructions of an episode's calls: of python alone"
        ),
    }
)
#: Turns of an episode that leave room for calls.
TURNS = 8


@dataclass(frozen=True, slots=True)
class ToolEpisode:
    """The `State` of a problem with a tool.

    Attributes:
        asked: the problem's own state, before the answer.
        memory: what the tool's next call gets of those before.
        answered: the problem's own state after the answer; None: there is none.
    """

    environment: "ToolEnvironment"
    asked: State
    memory: object = None
    answered: State | None = None

    def step(self, turn: str, is_ended: bool) -> tuple["ToolEpisode", str | None]:
        """See `State.step`. A turn that was cut is read like another."""
        call = self.environment.read_call(turn)
        if call is None:
            answered, _ = self.asked.step(turn, is_ended)
            return replace(self, answered=answered), None
        end = self.environment.reply_end
        if isinstance(call, CallFault):
            return self, f"{call}{end}"
        reply, memory = self.environment.tool.call(call, self.memory)
        return replace(self, memory=memory), f"{reply}{end}"

    def score(self) -> RewardParts:
        """See `State.score`: of an episode that ends with a call nothing is read."""
        return UNREAD if self.answered is None else self.answered.score()


class ToolEnvironment:
    """An `Environment` of one turn whose problems have a tool.

    Args:
        environment: of one turn.
        tool: all its problems have it.
        form: of calls.
        settings: those by which it has them.
        proof: digest of the tool's proof episode in this form, in hex; None: any.

    Raises:
        ValueError: its worlds reply already; the tool's arguments need more than a line; or this
            machine's replies to the proof episodes are not those of this release.
    """

    turns = TURNS

    def __init__(
        self,
        environment: Environment,
        tool: Tool,
        form: CallForm,
        settings: Mapping[str, int],
        proof: str | None,
    ) -> None:
        if environment.turns > 1:
            raise ValueError(f"{environment.name}: {TOOL} is for environments of one turn")
        if form is CallForm.LINE and not tool.is_one_line:
            others = ", ".join(other.word for other in CallForm if other is not form)
            raise ValueError(f"{environment.name}: {tool.name} needs a {CALL_FORM}: {others}")
        found = compute_tool_proof(tool if proof is None else TOOLS[tool.name], form)
        if proof is not None and found.hex() != proof:
            raise ValueError(
                f"the tool {tool.name} replies otherwise on this machine than in this release: its "
                f"proof episodes give {found.hex()}, not {proof}. Neither mine nor judge with it: "
                "install assay again, with a Python that it supports"
            )
        self.name, self.levels = environment.name, environment.levels
        self.rated, self.scorers = environment.rated, max(environment.scorers, tool.scorers)
        self.tool, self.form = tool, form
        self.inner: Environment = environment
        self.params: Mapping[str, int] = MappingProxyType({**environment.params, **settings})
        self.reply_end = end_reply(form)
        self._manner = Manner(tools=write_tools(environment.name, settings))
        version = tool.version.to_bytes(2, "big")
        fields = tool.name.encode("ascii"), version, bytes([form]), found, *tool.identity
        self.digest = hash_fields(Domain.TOOL, environment.digest, *fields)

    def read_call(self, turn: str) -> str | None:
        """As the function of this name."""
        return read_call(turn, self.form, self.tool)

    def list_thoughtless(self, problem: Problem) -> Sequence[str]:
        return self.inner.list_thoughtless(problem)

    def solve(self, problem: Problem) -> Sequence[str]:
        """Without a call: who wrote the solution had no tool."""
        return self.inner.solve(problem)

    def compute_shares(self, levels: Sequence[int]) -> Sequence[int]:
        return self.inner.compute_shares(levels)

    def make_problem(self, seed: bytes, levels: Sequence[int]) -> Problem:
        problem = self.inner.make_problem(seed, levels)
        request = problem.request + write_request(self.tool, self.form)
        return replace(problem, request=request, manner=self._manner)

    def open(self, problem: Problem) -> State:
        asked = self.inner.open(problem)
        return ToolEpisode(self, asked) if problem.is_made else asked

    def score(self, problem: Problem, completion: str) -> RewardParts:
        state, _ = self.open(problem).step(completion, is_ended=True)
        return state.score()


def find_tool(part: str, params: Mapping[str, int]) -> tuple[str, CallForm] | None:
    """The name of the tool that settings ask for, and the form of its calls; None: for none.

    Args:
        part: whose settings they are, for errors.
        params: the part's, of which those of `PARAMS` are read.

    Raises:
        ValueError: a setting is out of its range, or of a tool that they do not ask for.
    """
    own = {name: value for name, value in params.items() if name in PARAMS}
    given = resolve_params(part, PARAMS, own)
    number, form, units = (given[name] for name in PARAMS)
    name = list(TOOLS)[number - 1] if number else None
    if name is None and form:
        raise ValueError(
            f"{part}: {CALL_FORM} = {form} says how a tool is called, and {TOOL} is 0: none"
        )
    if units != _UNITS and name != Python.name:
        raise ValueError(f"{part}: {TOOL_UNITS} = {units} is for {TOOL}=python alone")
    return None if name is None else (name, CallForm(form))


def add_tool(
    environment: Environment, params: Mapping[str, int], search: SearchTool | None = None
) -> Environment:
    """An environment with the tool that settings of `PARAMS` name, if they name one.

    Args:
        search: in the environment's documents; None: it has none.

    Raises:
        ValueError: as of `resolve_params`, `find_tool`, `Tool.require` and `ToolEnvironment`; or
            the tool is `search`, and there is none.
    """
    settings = resolve_params(environment.name, PARAMS, params)
    found = find_tool(environment.name, settings)
    if found is None:
        return environment
    name, form = found
    tool, units = TOOLS[name], settings.pop(TOOL_UNITS)
    if name == Python.name:
        tool, settings[TOOL_UNITS] = Python(units), units
    elif name == SearchTool.name:
        if search is None:
            raise ValueError(f"{environment.name} has no documents for the tool {name}")
        tool = search
    tool.require()
    return ToolEnvironment(environment, tool, form, settings, PROOFS.get((name, form)))


def state_tool(family: str, params: Mapping[str, int]) -> Mapping[str, int]:
    """Settings with the tool of an environment that always has one.

    Raises:
        ValueError: they name another.
    """
    if family != SearchTool.name:
        return params
    if params.get(TOOL, SEARCH) != SEARCH:
        raise ValueError(f"{family}:SHA256 has the tool {family}, and no other: leave out {TOOL}")
    return {**params, TOOL: SEARCH}


def write_tools(part: str, params: Mapping[str, int]) -> str:
    """What a chat template is told of a part's tool, in JSON; no text: nothing."""
    found = find_tool(part, params)
    return "" if found is None or found[1] is CallForm.LINE else describe_tool(TOOLS[found[0]])


def write_request(tool: Tool, form: CallForm) -> str:
    """What the environment says of a tool behind its own request. A chat template says it where
    calls are in a form of one."""
    if form is not CallForm.LINE:
        return ""
    return (
        f"Or end a turn with a line of {tool.name}:, a space and {tool.argument_about}. "
        "A reply follows.\n"
    )


def end_reply(form: CallForm) -> str:
    """What stands behind each reply: a line break, unless a template's frame has its own."""
    return "\n" if form is CallForm.LINE else ""
