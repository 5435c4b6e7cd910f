"""Reasons of verdicts: the codes on which validators agree.

Specification, section 8.
"""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """The reasons in the order of the checks, cheapest first. The first check that fails
    decides."""

    NOT_REGISTERED = "NOT_REGISTERED"
    NO_COMMITMENT = "NO_COMMITMENT"
    NOT_REVEALED = "NOT_REVEALED"
    TOO_LARGE = "TOO_LARGE"
    MALFORMED = "MALFORMED"
    WRONG_HEADER = "WRONG_HEADER"
    ROOT_MISMATCH = "ROOT_MISMATCH"
    WRONG_CHECKPOINT = "WRONG_CHECKPOINT"
    TOKEN_OUT_OF_RANGE = "TOKEN_OUT_OF_RANGE"
    WRONG_TERMINATION = "WRONG_TERMINATION"
    SKETCH_MISMATCH = "SKETCH_MISMATCH"
    LOGPROB_MISMATCH = "LOGPROB_MISMATCH"
    SAMPLING_MISMATCH = "SAMPLING_MISMATCH"
    LEDGER_MISMATCH = "LEDGER_MISMATCH"
    ACCEPTED = "ACCEPTED"
    INTERNAL = "INTERNAL"


#: The file shows work that is not the model's own. The hotkey loses its whole settlement.
CHEATING = frozenset(
    {
        Reason.TOKEN_OUT_OF_RANGE,
        Reason.WRONG_TERMINATION,
        Reason.SKETCH_MISMATCH,
        Reason.LOGPROB_MISMATCH,
        Reason.SAMPLING_MISMATCH,
        Reason.LEDGER_MISMATCH,
    }
)
#: Committed but not shown: one such window is worth nothing, two zero the settlement.
WITHHELD = frozenset(
    {
        Reason.NOT_REVEALED,
        Reason.TOO_LARGE,
        Reason.MALFORMED,
        Reason.WRONG_HEADER,
        Reason.ROOT_MISMATCH,
        Reason.WRONG_CHECKPOINT,
    }
)


def name_cost(reason: Reason | None) -> str | None:
    """The pay that a refusal costs (specification, section 9)."""
    if reason in CHEATING:
        return "the whole settlement"
    if reason in WITHHELD:
        return "this window; with a second one the whole settlement"
    return None if reason in (Reason.ACCEPTED, None) else "this window"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A failed check: the code, one sentence that a miner understands, and the place if known."""

    reason: Reason
    detail: str
    group: int | None = None
    rollout: int | None = None
    token: int | None = None
    #: the root on chain does not bind these bytes: others may have been shown different ones
    unbound: bool = False
