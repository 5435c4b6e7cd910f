"""Problems, and what an answer to one is worth.

An environment turns a 32-byte seed into a problem and a completion into integer reward parts.
Everything is a pure function of its arguments: no clock, no files, no floats, no solver's opinion.
It takes one answer form and refuses the rest, in time linear in the text, without ever raising.
It never runs a model, never talks to a network, never knows whose answer it scores.
"""

from assay.environments.arithmetic import write_solution
from assay.environments.base import (
    Answer,
    Environment,
    Param,
    Problem,
    RewardParts,
    RewardWeights,
    compute_reward,
    get_weights,
)
from assay.environments.registry import ENVIRONMENTS, make_environment, open_environment
from assay.protocol.parameters import MILLION

__all__ = [
    "ENVIRONMENTS",
    "MILLION",
    "Answer",
    "Environment",
    "Param",
    "Problem",
    "RewardParts",
    "RewardWeights",
    "compute_reward",
    "get_weights",
    "make_environment",
    "open_environment",
    "write_solution",
]
