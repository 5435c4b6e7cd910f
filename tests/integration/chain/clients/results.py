"""The result of a client's flow."""

from dataclasses import dataclass

_MOST_WORDS = 300
#: btcli prints so before each error.
ERROR_MARK = "❌"


class FlowError(Exception):
    """A flow does not work: the client's own words, or where it differs from the chain."""


@dataclass(frozen=True, slots=True)
class FlowResult:
    """One flow of one client; `words` are empty where it works."""

    client: str
    flow: str
    words: str = ""


def check_equal(shown: object, held: object, what: str) -> None:
    """Raise a `FlowError` unless the client shows the chain's value."""
    if shown != held:
        raise FlowError(f"{what}: the client shows {shown!r}, the chain holds {held!r}")


def shorten(words: str) -> str:
    """A client's output in one line: its first line with an error, or else its end."""
    errors = [line for line in words.splitlines() if line.startswith(ERROR_MARK)]
    line = " ".join((errors[0].removeprefix(ERROR_MARK) if errors else words).split())
    return line if len(line) <= _MOST_WORDS else "…" + line[-_MOST_WORDS:]
