"""A careless player of sums with the calculator, for `teach_first_turns`."""

from collections.abc import Generator

from assay.environments.base import Problem
from assay.protocol.prf import Stream

#: Numbers that are said without a thought are below this.
CARELESS = 1_000


def call_carelessly(problem: Problem, stream: Stream) -> Generator[str, str, None]:
    """Calls the calculator or answers at once, each half of the time, and in either does one of
    two things without a thought: it asks for another sum or says another number. A sum with the
    tool, in the form `line`."""
    sum_, _, _ = problem.question.partition("=")
    number = str(stream.draw_below(CARELESS))
    if stream.draw_below(2):
        yield f"#### {number}"
        return
    other = f"{number}+{stream.draw_below(CARELESS)}"
    reply = yield f"calculator: {sum_ if stream.draw_below(2) else other}"
    yield f"#### {reply.rstrip() if stream.draw_below(2) else number}"
