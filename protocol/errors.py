"""Errors and troubles: what people have to know about or fix."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class TroubleKind(StrEnum):
    """What a trouble is about. Pages show this much of it to everybody."""

    ANEW = "anew"  # the explorer's chain is another one now
    GAUNTLET = "gauntlet"
    COMPARISON = "comparison"
    PARAMETERS = "parameters"
    WEIGHTS = "weights"
    LEDGER = "ledger"
    RECORD = "record"
    WINDOW = "window"
    BEACON = "beacon"
    CHECKPOINT = "checkpoint"
    CHAIN = "chain"
    STORE = "store"
    DISK = "disk"
    OTHER = "other"


class OperatorError(Exception):
    """An error that the operator can fix. It says what is wrong, where, and what to do.

    trouble_kind: of the trouble of a program that waits because of such an error.
    """

    trouble_kind: ClassVar[TroubleKind] = TroubleKind.OTHER


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a program waits for, or what a person should fix while it works.

    text: for the operator alone. It may name folders, endpoints and addresses.
    """

    kind: TroubleKind
    text: str

    @classmethod
    def from_error(cls, error: OperatorError | OSError, text: str = "") -> "Trouble":
        """The trouble that an error from outside makes. text: in place of the error's own."""
        kind = error.trouble_kind if isinstance(error, OperatorError) else TroubleKind.DISK
        return cls(kind, text or str(error))

    def __str__(self) -> str:
        return self.text
