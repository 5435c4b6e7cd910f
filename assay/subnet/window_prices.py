"""A plan's cost in dollars: of a window, and of a million tokens. Amounts are whole micro-dollars.

Verified tokens are those of the completions that all miners commit in a window: the audit reads a
drawn share, and refuses a miner's whole file. Each program is priced twice, for the seconds that it
works, and for machines that are rented all the time.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from assay.settings.money import compute_cost, compute_million_cost
from assay.subnet.window_plan import CoursePlan

#: What a program's own tokens are: the prices of services have the same three kinds.
_OWN = {"miner": "drawn", "validator": "read", "trainer": "learned from"}


@dataclass(frozen=True, slots=True)
class ProgramPrice:
    """The cost of a program's window.

    Attributes:
        machines: of all miners, of one validator, of the trainer.
        window: for all of them while they work. rented: for all of the window.
        verified, verified_rented: the same, for a million verified tokens; None: there are none.
        own_tokens: of all its machines: drawn by miners, read by a validator, learned from by a
            trainer.
        own, own_rented: for a million of them; None: there are none.
    """

    program: str
    machines: int
    window: int
    rented: int
    verified: int | None
    verified_rented: int | None
    own_kind: str
    own_tokens: int
    own: int | None
    own_rented: int | None


@dataclass(frozen=True, slots=True)
class WindowPrices:
    """The cost of a window to all programs, with one validator.

    Attributes:
        hour: of one machine.
        tokens: verified ones of a window.
    """

    hour: int
    tokens: int
    programs: tuple[ProgramPrice, ...]

    @property
    def verified(self) -> int | None:
        """For a million verified tokens, all programs together, while they work."""
        return _add(program.verified for program in self.programs)

    @property
    def verified_rented(self) -> int | None:
        """The same, for machines that are rented all the time."""
        return _add(program.verified_rented for program in self.programs)

    def to_json(self) -> dict[str, Any]:
        """The prices for scripts, in micro-dollars."""
        return {
            "unit": "micro-dollars",
            "hour": self.hour,
            "validators": 1,
            "verified_tokens": self.tokens,
            "verified": self.verified,
            "verified_rented": self.verified_rented,
            "programs": {program.program: asdict(program) for program in self.programs},
        }


def compute_prices(plan: CoursePlan, hour: int) -> WindowPrices:
    """What a plan's window costs. `hour`: micro-dollars for an hour of one machine."""
    miner = plan.roles[0]
    tokens = plan.miners * miner.cost.tokens
    programs = []
    for role in plan.roles:
        count = plan.miners if role.role == "miner" else 1
        machines, seconds = count * role.cards, role.cost.seconds
        rented = max(plan.window_seconds, seconds)
        own = role.cost.learned if role.role == "trainer" else count * role.cost.tokens
        programs.append(
            ProgramPrice(
                program=role.role,
                machines=machines,
                window=compute_cost(hour * machines, seconds),
                rented=compute_cost(hour * machines, rented),
                verified=compute_million_cost(hour * machines, seconds, tokens),
                verified_rented=compute_million_cost(hour * machines, rented, tokens),
                own_kind=_OWN[role.role],
                own_tokens=own,
                own=compute_million_cost(hour * machines, seconds, own),
                own_rented=compute_million_cost(hour * machines, rented, own),
            )
        )
    return WindowPrices(hour, tokens, tuple(programs))


def _add(amounts: Iterable[int | None]) -> int | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known else None
