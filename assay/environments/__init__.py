"""Makes problems and scores answers to them.

An environment turns a 32-byte seed into a problem, and a completion into integer reward parts.
Every result is a function of its arguments: no clock, no floats, no solver's opinion. A digest
names each file, and foreign code runs in a sandbox. An environment takes one answer form, refuses
the rest, and needs time linear in the text, whatever the text is. It never runs a model, talks to a
network or learns whose answer it scores. Start with `base`, then `arithmetic`, the simplest
environment. `registry` makes an environment by name and describes all of them to a person.
"""

from typing import TYPE_CHECKING

from assay.protocol.lazy_door import open_lazily

if TYPE_CHECKING:
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
    from assay.environments.levels import (
        PROBLEMS_MIN,
        Success,
        compute_candidates,
        compute_levels,
        find_undecided,
    )
    from assay.environments.problem_file import (
        ProblemFileError,
        add_problem_files,
        compute_file_digest,
    )
    from assay.environments.registry import (
        ENVIRONMENTS,
        EnvironmentEntry,
        list_environments,
        list_named_levels,
        make_environment,
        open_environment,
        parse_choice,
    )

__all__ = [
    "ENVIRONMENTS",
    "PROBLEMS_MIN",
    "Answer",
    "Environment",
    "EnvironmentEntry",
    "Param",
    "Problem",
    "ProblemFileError",
    "RewardParts",
    "RewardWeights",
    "Success",
    "add_problem_files",
    "compute_candidates",
    "compute_file_digest",
    "compute_levels",
    "compute_reward",
    "find_undecided",
    "get_weights",
    "list_environments",
    "list_named_levels",
    "make_environment",
    "open_environment",
    "parse_choice",
    "write_solution",
]

if not TYPE_CHECKING:
    __getattr__ = open_lazily(__name__)
