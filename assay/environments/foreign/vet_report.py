"""What vetting finds, and numbers that all kinds of vetting share."""

from dataclasses import dataclass
from hashlib import sha256

from assay.environments.foreign.guest_archive import Chance

#: Problems tried at each level, and at the lowest level for constant answers.
PROBLEMS, CONSTANTS = 4, 60
#: A constant answer may solve one in this many problems of the lowest level.
SHARE = 4
#: A right answer may take one in this many of the instructions: another problem's may take more.
COST_SHARE = 2
#: What the second asking has: 64 bits that look like any, the year 2033, a thousand small objects.
OTHER = Chance(0x9E3779B97F4A7C15, 2_000_000_000 * 10**9 + 1, 1_000)


@dataclass(frozen=True, slots=True)
class VetCheck:
    """One check and its outcome; `detail` is a line for people."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class VetReport:
    """All checks in order. The first failed one may be the last."""

    subject: str
    checks: tuple[VetCheck, ...]

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the checks that the subject failed."""
        return tuple(check.name for check in self.checks if not check.passed)

    @property
    def is_fit(self) -> bool:
        return not self.failed


def draw_number(level: int, index: int) -> int:
    """The number of a problem that is tried."""
    return int.from_bytes(sha256(f"vet {level} {index}".encode()).digest()[:8], "big") >> 1


def check_faults(name: str, faults: list[str], detail: str) -> VetCheck:
    """A check that passes without faults, and then says `detail`."""
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return VetCheck(name, not faults, faults[0] + more if faults else detail)


def check_constant(name: str, shown: str, solved: int, problems: int, level: int) -> VetCheck:
    """Whether the best constant answer solves few enough problems of a level."""
    detail = f"{shown[:40]!r} solves {solved} of {problems} problems of level {level}"
    return VetCheck(name, solved * SHARE <= problems, detail)


def check_cost(what: str, instructions: int, millions: int) -> VetCheck:
    """Whether what is right leaves enough of the instructions that it may take."""
    cheap = 0 < instructions * COST_SHARE <= millions * 10**6
    cost = -(-instructions // 10**6)
    detail = f"{what} takes {cost:,} of {millions:,} million instructions"
    return VetCheck("cost", cheap, detail if instructions else f"no {what} was scored")
