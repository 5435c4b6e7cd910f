"""The ledger's place: evidence carried over all audited rollouts of a seat in one settlement.

A rollout's own test forgets what came before it, so that many small steerings, each below its
threshold, would add up unseen. The ledger runs the same martingale over rollouts (specification,
section 5). Today it counts what it has been shown and judges nothing: LEDGER_MISMATCH is not
issued.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ledger:
    """State of one seat's ledger within a settlement; a new settlement starts from `Ledger()`."""

    rollouts: int = 0

    def add(self, rollouts: int) -> "Ledger":
        """The ledger after `rollouts` more were judged."""
        return Ledger(self.rollouts + rollouts)
