"""Which environments there are, by name. Adding one adds a row here and nothing elsewhere."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from assay.environments import arithmetic, sat
from assay.environments.base import Environment

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
