"""Leaving out: groups with a fault of their own, which do not refuse the others of their file.

A trainer judges each group of a file by itself, and learns from those without a fault. A miner with
too many of the others has the whole file refused. An audit leaves nothing out.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from assay.protocol.reason import Refusal

G = TypeVar("G")
H = TypeVar("H")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The groups of a file that are left out.

    Attributes:
        most: of them, see `plan_groups`. One more refuses the file.
        faults: one for each, in the order in which they were found.
    """

    most: int
    faults: tuple[Refusal, ...] = ()

    @property
    def is_full(self) -> bool:
        """Return whether the file is refused, so that no further group is looked at."""
        return len(self.faults) > self.most

    def sort(self) -> "LeftOut":
        """The same by group, those of no group first."""
        faults = sorted(self.faults, key=lambda one: -1 if one.group is None else one.group)
        return replace(self, faults=tuple(faults))

    def sift(
        self, groups: Iterable[G], check: Callable[[G], H | Refusal]
    ) -> tuple[list[H], "LeftOut"]:
        """What a check makes of the groups without a fault, and the others with those before."""
        kept: list[H] = []
        left_out = self
        for group in groups:
            if left_out.is_full:
                break
            found = check(group)
            if isinstance(found, Refusal):
                left_out = replace(left_out, faults=(*left_out.faults, found))
            else:
                kept.append(found)
        return kept, left_out
