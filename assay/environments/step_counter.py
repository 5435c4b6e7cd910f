"""Counts what a scorer of ours to run does: no clock may decide when it takes too long."""

import sys
from collections.abc import Callable
from typing import Any

#: Most steps to score an answer: events of `sys.settrace`.
STEPS_MAX = 5_000_000


class StepsSpentError(BaseException):
    """Too many steps. A scorer must not catch it."""


class StepCounter:
    """Counts steps: a line begun, a function entered or left, an exception passing.

    Attributes:
        steps: steps of the last work, whether it finished or not.
    """

    def __init__(self) -> None:
        self.steps = 0

    def count(self, work: Callable[[], Any], most: int = STEPS_MAX) -> Any:
        """Return the result of `work`.

        Raises:
            StepsSpentError: it took more than `most` steps, or caught this error and ran on
                uncounted.
        """
        steps = 0

        def trace(frame: object, event: str, argument: object) -> Any:
            nonlocal steps
            steps += 1
            if steps > most:
                raise StepsSpentError  # Python ends a trace that raises
            return trace

        sys.settrace(trace)
        try:
            result = work()
            if sys.gettrace() is not trace:
                raise StepsSpentError
            return result
        finally:
            sys.settrace(None)
            self.steps = steps
