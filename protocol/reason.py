"""Why a submission was judged as it was: the codes that validators agree on.

Specification, section 8.
"""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """In the order of the checks, cheapest first: the first that fails decides."""

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


#: Shown work that is not the model's own: zeroes the hotkey's whole settlement.
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
#: Committed but not shown: one zeroes its window, two the settlement.
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
    """A check that failed: the code, one sentence a miner understands, and where, if known."""

    reason: Reason
    detail: str
    group: int | None = None
    rollout: int | None = None
    token: int | None = None
    #: the root on chain does not bind these bytes: others may have been shown different ones
    unbound: bool = False
