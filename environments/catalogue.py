"""What can be named as an environment, for a person who chooses one."""

from dataclasses import dataclass

from assay.environments import arithmetic, gsm, gym, mixture, sat
from assay.environments.base import Param
from assay.environments.gym_datasets import LEVELS, REFUSED
from assay.environments.problem_file import ProblemFileError, compute_file_digest, get_known_files
from assay.environments.registry import ENVIRONMENTS


@dataclass(frozen=True, slots=True)
class EnvironmentEntry:
    """One environment: its legal levels and its settings by name.

    `usable` tells whether this machine can open it; where it cannot, `about` says why.
    """

    name: str
    levels: tuple[int, ...]
    settings: dict[str, Param]
    about: str
    usable: bool = True


def list_environments() -> list[EnvironmentEntry]:
    """All of them, in order of name; a file of problems that this process knows is one."""
    made = [
        (arithmetic, "sums of several terms, worked step by step"),
        (gsm, "word problems from templates, in GSM8K's format"),
        (sat, "random k-SAT; a level is a number of variables"),
    ]
    several = "several of the others by weight, such as mix,arithmetic=3,sat=1"
    entries = [
        *(
            EnvironmentEntry(
                room.NAME, tuple(ENVIRONMENTS[room.NAME]({}).levels), dict(room.PARAMS), about
            )
            for room, about in made
        ),
        *_list_files(),
        EnvironmentEntry(mixture.NAME, (), {}, several),
        *_list_datasets(),
    ]
    return sorted(entries, key=lambda entry: entry.name)


def _list_files() -> list[EnvironmentEntry]:
    entries = []
    for file in get_known_files():
        try:
            environment = gsm.GsmFile(compute_file_digest(file), {})
        except ProblemFileError as error:
            entries.append(EnvironmentEntry(f"gsm:{file}", (), {}, str(error), usable=False))
            continue
        entries.append(
            EnvironmentEntry(environment.name, tuple(environment.levels), {}, f"from {file}")
        )
    return entries


def _list_datasets() -> list[EnvironmentEntry]:
    fault = None
    try:
        gym.get_versions()
    except ValueError as error:
        fault = str(error)
    entries = [
        EnvironmentEntry(
            f"{gym.NAME}:{name}",
            tuple(levels),
            {},
            fault or f"{gym.PACKAGE} {gym.PACKAGE_VERSION}",
            usable=fault is None,
        )
        for name, levels in LEVELS.items()
    ]
    entries += [
        EnvironmentEntry(f"{gym.NAME}:{name}", (), {}, f"refused: {why}", usable=False)
        for name, why in REFUSED.items()
    ]
    return entries
