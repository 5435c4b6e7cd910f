"""Makes problems and scores answers to them.

An environment turns a 32-byte seed into a problem, and a completion into integer reward parts.
Every result is a function of its arguments: no clock, no floats, no solver's opinion. A digest
names each file, and foreign code runs in a sandbox. An environment takes one answer form, refuses
the rest, and needs time linear in the text, whatever the text is. It never runs a model, talks to a
network or learns whose answer it scores. Start with `base`, then `arithmetic`, the simplest
environment. `kind` is what a
module declares of its environment, `registry` makes one by name, and `listing` describes all of
them to a person.
"""

from typing import TYPE_CHECKING

from assay.protocol.lazy_names import load_lazily

if TYPE_CHECKING:
    from assay.environments.arithmetic import write_solution as write_solution
    from assay.environments.base import UNREAD as UNREAD
    from assay.environments.base import Answer as Answer
    from assay.environments.base import Conversation as Conversation
    from assay.environments.base import Environment as Environment
    from assay.environments.base import Frame as Frame
    from assay.environments.base import Message as Message
    from assay.environments.base import Param as Param
    from assay.environments.base import Problem as Problem
    from assay.environments.base import RewardParts as RewardParts
    from assay.environments.base import State as State
    from assay.environments.base import ask as ask
    from assay.environments.base import rate_answer as rate_answer
    from assay.environments.dealing import deal_level as deal_level
    from assay.environments.dealing import make_miner_problem as make_miner_problem
    from assay.environments.foreign.package_world import find_error as find_error
    from assay.environments.levels import PROBLEMS_MIN as PROBLEMS_MIN
    from assay.environments.levels import Success as Success
    from assay.environments.levels import compute_candidates as compute_candidates
    from assay.environments.levels import compute_levels as compute_levels
    from assay.environments.levels import find_undecided as find_undecided
    from assay.environments.listing import EnvironmentEntry as EnvironmentEntry
    from assay.environments.listing import list_environments as list_environments
    from assay.environments.problem_file import ProblemFileError as ProblemFileError
    from assay.environments.problem_file import add_problem_files as add_problem_files
    from assay.environments.problem_file import compute_file_digest as compute_file_digest
    from assay.environments.registry import compute_named_shares as compute_named_shares
    from assay.environments.registry import count_named_units as count_named_units
    from assay.environments.registry import draws_from_pool as draws_from_pool
    from assay.environments.registry import get_pool_cap as get_pool_cap
    from assay.environments.registry import list_manners as list_manners
    from assay.environments.registry import list_named_levels as list_named_levels
    from assay.environments.registry import list_named_rated as list_named_rated
    from assay.environments.registry import list_parts as list_parts
    from assay.environments.registry import list_turns as list_turns
    from assay.environments.registry import make_environment as make_environment
    from assay.environments.registry import open_environment as open_environment
    from assay.environments.registry import open_environment_of as open_environment_of
    from assay.environments.registry import parse_choice as parse_choice
    from assay.environments.registry import write_choice as write_choice
    from assay.environments.rewards import choose_rewards as choose_rewards
    from assay.environments.rewards import compute_reward as compute_reward
    from assay.environments.rewards import list_unearned as list_unearned
    from assay.environments.scoring import run_all as run_all
    from assay.environments.scoring import score_all as score_all
    from assay.environments.steering import LevelStanding as LevelStanding
    from assay.environments.steering import compute_asked_shares as compute_asked_shares
    from assay.environments.steering import compute_next_levels as compute_next_levels
    from assay.environments.steering import describe_levels as describe_levels
    from assay.environments.steering import find_levels_fault as find_levels_fault
    from assay.environments.steering import find_parent_fault as find_parent_fault
    from assay.environments.steering import list_standings as list_standings
    from assay.environments.steering import read_successes as read_successes
else:
    __getattr__ = load_lazily(
        __name__,
        {
            "arithmetic": ("write_solution",),
            "base": (
                "Answer",
                "Conversation",
                "Environment",
                "Frame",
                "Message",
                "Param",
                "Problem",
                "RewardParts",
                "State",
                "UNREAD",
                "ask",
                "rate_answer",
            ),
            "dealing": ("deal_level", "make_miner_problem"),
            "foreign.package_world": ("find_error",),
            "levels": (
                "PROBLEMS_MIN",
                "Success",
                "compute_candidates",
                "compute_levels",
                "find_undecided",
            ),
            "listing": ("EnvironmentEntry", "list_environments"),
            "problem_file": ("ProblemFileError", "add_problem_files", "compute_file_digest"),
            "registry": (
                "compute_named_shares",
                "count_named_units",
                "draws_from_pool",
                "get_pool_cap",
                "list_manners",
                "list_named_levels",
                "list_named_rated",
                "list_parts",
                "list_turns",
                "make_environment",
                "open_environment",
                "open_environment_of",
                "parse_choice",
                "write_choice",
            ),
            "rewards": ("choose_rewards", "compute_reward", "list_unearned"),
            "scoring": ("run_all", "score_all"),
            "steering": (
                "LevelStanding",
                "compute_asked_shares",
                "compute_next_levels",
                "describe_levels",
                "find_levels_fault",
                "find_parent_fault",
                "list_standings",
                "read_successes",
            ),
        },
    )
