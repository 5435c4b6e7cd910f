"""Which environments there are, by name. Adding one adds a row here and nothing elsewhere."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from assay.environments import arithmetic, sat
from assay.environments.base import Environment
from assay.protocol.parameters import EnvironmentChoice

#: Name → constructor from parameters, which raises ValueError for illegal ones.
ENVIRONMENTS: Mapping[str, Callable[[Mapping[str, int]], Environment]] = MappingProxyType(
    {
        arithmetic.NAME: arithmetic.Arithmetic,
        sat.NAME: sat.Sat,
    }
)


def make_environment(name: str, params: Mapping[str, int]) -> Environment:
    """The environment `name` with `params`; what is left out takes its default.

    Raises:
        ValueError: an unknown name, an unknown parameter or a value out of its range.
    """
    if name not in ENVIRONMENTS:
        known = ", ".join(sorted(ENVIRONMENTS))
        raise ValueError(f"there is no environment {name!r}; there are: {known}")
    return ENVIRONMENTS[name](params)


def open_environment(choice: EnvironmentChoice) -> Environment:
    """The environment that a network's parameters name, in the version that they name.

    Raises:
        ValueError: this program has another version of it, or none.
    """
    environment = make_environment(choice.name, {s.name: s.value for s in choice.settings})
    if environment.digest != choice.digest:
        raise ValueError(
            f"environment {choice.name!r} here is another version than the network's parameters "
            "name: install the version of assay that this network runs"
        )
    return environment
