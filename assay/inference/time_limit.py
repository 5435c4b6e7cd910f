"""The time that generating may take. It decides which groups are finished, not what is in them."""

from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """A moment at which work stops, at the next point where that loses nothing but unfinished work.

    Attributes:
        until: of the clock.
        clock: seconds. May be called by several threads.
    """

    until: float
    clock: Callable[[], float]

    @property
    def left_s(self) -> float:
        """Seconds until then; negative afterwards."""
        return self.until - self.clock()

    @property
    def is_over(self) -> bool:
        return self.left_s <= 0

    def keep_back(self, share: float) -> "TimeLimit":
        """A limit that leaves this share of the present rest to what comes after it."""
        left = self.left_s
        return self if left <= 0 else replace(self, until=self.until - share * left)
