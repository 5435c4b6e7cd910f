"""How a problem is put to a model: its messages, by the words of its environment or its owner's.

Settings that every environment and every part of a mixture has say the rest: whether the prompt
begins with the tokenizer's BOS, and whether a chat template is used. Specification, section 3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from assay.environments.base import (
    Environment,
    Manner,
    Param,
    Problem,
    RewardParts,
    State,
    resolve_params,
)
from assay.environments.tools import PARAMS as TOOL_PARAMS
from assay.environments.tools import write_tools
from assay.protocol.encoding import encode
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.parameters import ARGUMENTS, Prompts, find_prompts_fault, read_arguments

#: Settings of every environment that is no mixture, and of every part of one.
PARAMS: Mapping[str, Param] = MappingProxyType(
    {
        "bos": Param(0, 0, 1, "1: a prompt begins with the tokenizer's bos_token"),
        "plain": Param(0, 0, 1, "1: a prompt is plain text, though the model has a chat template"),
    }
)


class PromptedEnvironment:
    """An `Environment` whose problems are put in the owner's manner."""

    def __init__(
        self, environment: Environment, params: Mapping[str, int], prompts: Prompts | None
    ) -> None:
        """Wraps an environment, its `inner`.

        Args:
            params: those of `PARAMS` that are given.

        Raises:
            ValueError: a setting is out of range, or the prompts are no prompts.
        """
        fault = None if prompts is None else find_prompts_fault([prompts])
        if fault is not None:
            raise ValueError(fault)
        resolved = resolve_params(environment.name, PARAMS, params)
        self.name, self.levels = environment.name, environment.levels
        self.rated, self.scorers = environment.rated, environment.scorers
        self.turns = environment.turns
        self.params: Mapping[str, int] = MappingProxyType({**environment.params, **resolved})
        self.inner: Environment = environment
        self._manner = make_manner(environment.name, self.params, prompts)
        self.digest = hash_fields(
            Domain.PROMPTS,
            environment.digest,
            bytes([resolved["bos"], resolved["plain"]]),
            b"" if prompts is None else encode(prompts),
        )

    def list_thoughtless(self, problem: Problem) -> Sequence[str]:
        return self.inner.list_thoughtless(problem)

    def solve(self, problem: Problem) -> Sequence[str]:
        return self.inner.solve(problem)

    def compute_shares(self, levels: Sequence[int]) -> Sequence[int]:
        return self.inner.compute_shares(levels)

    def make_problem(self, seed: bytes, levels: Sequence[int]) -> Problem:
        return replace(self.inner.make_problem(seed, levels), manner=self._manner)

    def open(self, problem: Problem) -> State:
        return self.inner.open(problem)

    def score(self, problem: Problem, completion: str) -> RewardParts:
        return self.inner.score(problem, completion)


def make_manner(part: str, params: Mapping[str, int], prompts: Prompts | None) -> Manner:
    """How problems are put by a part's settings, which may lack those that all parts have, and by
    its record."""
    return Manner(
        prompts,
        tuple(read_arguments(None if prompts is None else prompts.get(ARGUMENTS)).items()),
        tools=write_tools(part, params),
        **{name: bool(params.get(name, param.default)) for name, param in PARAMS.items()},
    )


def divide_settings(params: Mapping[str, int]) -> tuple[dict[str, int], ...]:
    """An environment's own settings, those of `PARAMS` and those of its tool, the latter two with
    other values than their defaults."""
    shared = {**PARAMS, **TOOL_PARAMS}
    own = {name: value for name, value in params.items() if name not in shared}
    chosen = {
        name: value
        for name, value in params.items()
        if name in shared and (type(value) is not int or value != shared[name].default)
    }
    manner, tool = (
        {name: value for name, value in chosen.items() if name in some}
        for some in (PARAMS, TOOL_PARAMS)
    )
    return own, manner, tool
