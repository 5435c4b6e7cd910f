"""Whether an archive makes problems of its numbers, and how often it makes none.

A problem of foreign code is that of a number, drawn again if the code makes none of it. If it makes
none within the attempts and instructions, everybody finds the same: the problem is not made, and
its group is worth little. So vetting and publishing try more numbers than they can examine.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from itertools import islice
from typing import Any

from assay.environments.base import Environment
from assay.environments.foreign.guest_archive import GuestArchive
from assay.environments.foreign.vet_report import VetCheck
from assay.environments.scoring import run_all
from assay.protocol.parameters import MILLION
from assay.protocol.prf import Stream
from assay.sandbox import count_cores

#: Numbers that are drawn until one makes a problem.
ATTEMPTS = 16
#: Problems that vetting tries to make, and the seconds after which it begins no more of them.
TRIED, SECONDS = 1_000, 300.0
#: Problems that publishing tries to make: of each level at least and at most, and of all levels.
LEVEL_MIN, LEVEL_MAX, PUBLISHED = 100, 300, 2_400
#: One in how many may not be made.
SHARE = 100
#: Problems that are made between two looks at the clock.
_BATCH = 50


def draw_made(
    archive: GuestArchive, level: int, stream: Stream, instructions: int
) -> tuple[int, dict[str, Any]]:
    """A number below 2^63, and the archive's reply to `make` of it; an error if none is made.

    Args:
        instructions: that all attempts may take together.
    """
    number, made = 0, dict[str, Any]()
    for _ in range(ATTEMPTS):
        number = stream.draw_below(2**63)
        made = archive.ask("make", level, number, within=instructions)
        instructions -= made["instructions"]
        if "prompt" in made:
            break
    return number, made


def check_making(
    archive: GuestArchive,
    levels: Sequence[int],
    millions: int,
    tried: int,
    is_over: Callable[[], bool],
) -> VetCheck:
    """Whether an archive makes problems, of all levels in turn.

    Args:
        millions: millions of instructions that a problem may take.
        tried: problems.
        is_over: whether to begin no more.
    """

    def make(index: int) -> str | None:
        level = levels[index % len(levels)]
        stream = Stream(sha256(f"vet making {index}".encode()).digest())
        number, made = draw_made(archive, level, stream, millions * MILLION)
        fault = made.get("error")
        return None if fault is None else f"level {level}, number {number}: {fault}"

    done, faults, indices = 0, list[str](), iter(range(tried))
    with ThreadPoolExecutor(count_cores()) as executor:
        while (batch := list(islice(indices, _BATCH))) and not is_over():
            faults += filter(None, executor.map(make, batch))
            done += len(batch)
    detail = describe_share(done, len(faults)) + (f"; {faults[0]}" if faults else "")
    return VetCheck("makes problems", is_rare(done, len(faults)), detail)


def is_rare(tried: int, unmade: int) -> bool:
    """Whether few enough problems are not made."""
    return unmade * SHARE <= tried


def describe_share(tried: int, unmade: int) -> str:
    """What so many tries say of the share of problems that are not made."""
    if unmade:
        return f"{unmade:,} of {tried:,} are not made, where one in {SHARE} may be"
    missed = 1 - 0.05 ** (1 / max(1, tried))
    return (
        f"{tried:,} of {tried:,} are made; a share of {missed:.2%} that is not would be missed "
        "once in 20 times"
    )


def find_making_fault(environment: Environment) -> str | None:
    """The first level of which too many problems are not made, in words; None: there is none, or
    the environment runs no foreign code. Raises WorkerError: no sandbox can run."""
    if environment.scorers == 1:
        return None
    tried = max(LEVEL_MIN, min(LEVEL_MAX, PUBLISHED // len(environment.levels)))
    for level in environment.levels:
        made = run_all(
            environment, [partial(_is_made, environment, level, i) for i in range(tried)]
        )
        unmade = made.count(False)
        if not is_rare(tried, unmade):
            return (
                f"{environment.name}: of problems of level {level}, "
                f"{describe_share(tried, unmade)}: see `assay env vet`"
            )
    return None


def _is_made(environment: Environment, level: int, index: int) -> bool:
    seed = sha256(f"publish making {index}".encode()).digest()
    return environment.make_problem(seed, (level,)).is_made
