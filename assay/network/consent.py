"""Consent to an act that sends, publishes or pays: asked for once the act knows what it costs."""

from collections.abc import Callable

#: Takes a question that says what will be done, and at what price. Returns to agree, and raises an
#: `OperatorError` to leave everything as it is.
Consent = Callable[[str], None]


def agree(question: str) -> None:
    """Agree to everything: for programs, whose caller has decided."""
