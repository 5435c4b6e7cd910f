"""The result of one check. Light: the first checks come before PyTorch is loaded."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, TypeVar

from assay.protocol.errors import OperatorError

T = TypeVar("T")


class CheckState(StrEnum):
    """The outcome of a check."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class PreflightCheck:
    """The result of one check."""

    check: str  # its name, one word
    state: CheckState
    detail: str  # the finding
    remedy: str = ""  # what to do; empty if nothing

    def to_json(self) -> dict[str, Any]:
        """The result in the form of `assay doctor --json`."""
        return asdict(self) | {"state": self.state.value}


#: Takes the results of one check, or of several at once.
Note = Callable[..., None]


def attempt(name: str, remedy: str, look: Callable[[], PreflightCheck]) -> PreflightCheck:
    """Run a check that may raise an error. An error that an operator can fix becomes its failure.
    `remedy` says what to do then, besides the error's own text."""
    try:
        return look()
    except (OperatorError, OSError) as error:
        return PreflightCheck(name, CheckState.FAIL, str(error), remedy)


class OpenAttempt:
    """Opens one thing after the other. A thing that cannot be opened becomes a failure, which
    `note` gets, and None."""

    def __init__(self, note: Note) -> None:
        self._note = note

    def open(self, name: str, remedy: str, make: Callable[[], T], *needs: object) -> T | None:
        """Open a thing with `make`. None if that fails, or if something that it needs is None."""
        if any(need is None for need in needs):
            return None
        try:
            return make()
        except (OperatorError, OSError) as error:
            self._note(PreflightCheck(name, CheckState.FAIL, str(error), remedy))
            return None
