"""Vectors of the gate: seeds, evidence near its bounds, and courses, each bad one with one defect.

The reasons of bad ones are typed in by hand: a word for another implementation, and a part of what
this one says.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from subjects import ALICE, BOB, digest

from assay.protocol.betting import Pairs, bound_gain, find_better, is_better, is_worse
from assay.protocol.encoding import to_json
from assay.protocol.gate import (
    CHECKED_PAIRS,
    Course,
    GateCounts,
    Outcome,
    compute_checked_seed,
    compute_gate_problem_seed,
    compute_gate_seed,
    continue_course,
    is_of_course,
)
from assay.protocol.parameters import Gate, GateRule
from assay.protocol.prf import Stream

Json = Any
_ASKED = 256
NOT_WORSE = Gate(GateRule.NOT_WORSE, problems=_ASKED, error_worse=50_000, error_better=50_000)
BETTER = replace(NOT_WORSE, rule=GateRule.BETTER, checkpoints=3)
#: Wins and losses of a checkpoint as good as its milestone, of one that shows to be better soon,
#: and of one that shows to be worse.
_EVEN, _GOOD, _BAD = (20, 20), (60, 10), (10, 60)


def make_gate() -> Json:
    return {
        "draws": [_draw(f"checkpoint {n}", f"round {n}") for n in range(2)],
        "checked": [
            {
                "answers": digest("answers").hex(),
                "validator": hotkey.hex(),
                "problems": problems,
                "checked": Stream(compute_checked_seed(digest("answers"), hotkey)).sample(
                    problems, min(CHECKED_PAIRS, problems)
                ),
            }
            for hotkey in (ALICE, BOB)
            for problems in (4, 8, 256, 1_024)
        ],
        "better": list(_iterate_better()),
        "worse": list(_iterate_worse()),
        "gains": [_bound(*case) for case in _GAINS],
        "continued": [_continue(*case) for case in _CONTINUED],
        "lines": [_make_line(*case) for case in _LINES],
        "courses": list(_iterate_courses()),
    }


def _draw(checkpoint: str, randomness: str) -> Json:
    seed = compute_gate_seed(digest(checkpoint), digest(randomness))
    numbers = (0, 1, 255, 4_095)
    return {
        "checkpoint": digest(checkpoint).hex(),
        "randomness": digest(randomness).hex(),
        "gate_seed": seed.hex(),
        "problems": [
            {"number": n, "problem_seed": compute_gate_problem_seed(seed, n).hex()} for n in numbers
        ],
    }


def _pair(*counts: tuple[int, int], asked: int = _ASKED) -> list[Pairs]:
    return [Pairs(asked, wins, losses) for wins, losses in counts]


def _iterate_better() -> Iterator[Json]:
    """The fewest wins that show it, the largest attempt, and the smallest error: both sides."""

    def write(counts: Sequence[Pairs], attempt: int, error: int) -> Json:
        shown = find_better(counts, attempt, error)
        pairs = [asdict(one) for one in counts]
        return {"counts": pairs, "attempt": attempt, "error_better": error, "shown": shown}

    for losses in (0, 1, 17, 80):
        for attempt, error in ((1, 50_000), (3, 50_000), (1, 999_999), (50, 1)):
            wins = next(w for w in range(999) if is_better(_pair((w, losses)), attempt, error))
            for won in (wins - 1, wins):
                # the same sums in one checkpoint and in two
                yield write(_pair((won, losses)), attempt, error)
                parts = _pair((won - won // 2, losses // 2), (won // 2, losses - losses // 2))
                yield write(parts, attempt, error)
    shown = _pair((40, 11), (31, 12))
    last = next(n for n in range(1, 10**6) if not is_better(shown, n + 1, 50_000))
    yield from (write(shown, attempt, 50_000) for attempt in (last, last + 1, 2**32 - 1))
    least = next(error for error in range(1, 10**6) if is_better(shown, 1, error))
    yield from (write(shown, 1, error) for error in (least - 1, least))
    yield from (write(pairs, 1, 999_999) for pairs in ([], _pair((0, 0))))
    # what comes behind the first that shows it does not matter, good or bad
    for before in ((), (_EVEN,), ((0, 0), _BAD)):
        for after in ((_BAD,), (_GOOD, _GOOD), ((0, 0),), (_BAD, _GOOD)):
            yield write(_pair(*before, _GOOD, *after), 1, 50_000)


def _iterate_worse() -> Iterator[Json]:
    """Behind several courses, the fewest losses of the last checkpoint, and the smallest error."""

    def write(counts: Sequence[Pairs], error: int) -> Json:
        pairs = [asdict(one) for one in counts]
        return {"counts": pairs, "error_worse": error, "worse": is_worse(counts, error)}

    behind: tuple[list[tuple[int, int]], ...] = (
        [],
        [_EVEN],
        [_GOOD] * 4,
        [(25, 19), (18, 30), _EVEN, (0, 0), (20, 28)],
        [_EVEN] * 40,
    )
    for before in behind:
        for wins, error in ((0, 50_000), (15, 50_000), (15, 1_000), (15, 999_999)):
            course = [*before, (wins, 0)]
            fewest = next(
                n for n in range(4_097) if is_worse(_pair(*course[:-1], (wins, n)), error)
            )
            for lost in {max(0, fewest - 1), fewest}:
                yield write(_pair(*before, (wins, lost)), error)
    shown = _pair(_EVEN, _BAD, (20, 25))
    least = next(error for error in range(1, 10**6) if is_worse(shown, error))
    yield from (write(shown, error) for error in (least - 1, least))
    yield from (write(pairs, 999_999) for pairs in ([], _pair((0, 0))))


#: Counts, problems of each checkpoint, and the error.
_GAINS = (
    ([], 64, 50_000),
    ([(0, 0)], 64, 50_000),
    ([_EVEN], 64, 50_000),
    ([(30, 3), (28, 5)], 64, 50_000),
    ([(3, 30), (5, 28)], 64, 50_000),
    ([(64, 0)] * 2, 64, 50_000),
    ([(0, 64)] * 2, 64, 1),
    ([(9, 4), (7, 7), (12, 2)], 64, 999_999),
    ([(40, 20)] * 2, 256, 100_000),
)


def _bound(counts: list[tuple[int, int]], asked: int, error: int) -> Json:
    pairs = _pair(*counts, asked=asked)
    low, high = bound_gain(pairs, error)
    return {"counts": [asdict(one) for one in pairs], "error": error, "low": low, "high": high}


def _count(name: str, wins: int, losses: int) -> GateCounts:
    answers = digest(f"answers of {name}")
    return GateCounts(digest(name), answers, _ASKED, wins, losses, wins // 5, losses // 5)


def _course(
    *counts: tuple[int, int], attempt: int = 1, outcome: Outcome = Outcome.GOES_ON
) -> Course:
    made = tuple(_count(f"number {n}", *one) for n, one in enumerate(counts, 1))
    return Course(digest("milestone"), attempt, made, outcome)


_SHOWN = _course(_EVEN, _GOOD, outcome=Outcome.MILESTONE)
_LATE = _course(_EVEN, _GOOD, (0, 0), (12, 20), outcome=Outcome.MILESTONE)
_LED = _course((30, 17), (20, 10), (24, 11), (20, 20), (22, 19), outcome=Outcome.MILESTONE)
_FALLEN = _course(_EVEN, _BAD, attempt=4, outcome=Outcome.RETURN)
_ON = _course(_EVEN, (25, 19), attempt=2)
_CONTINUED = (
    (Course(), True),
    (_ON, False),
    (_course(), False),
    (_course(outcome=Outcome.MILESTONE), False),
    (_SHOWN, False),
    (_LATE, False),
    (_LED, False),
    (_FALLEN, False),
    (_course((30, 29), outcome=Outcome.MILESTONE), False),
    # refused ones
    (Course(), False),
    (_course(attempt=0), False),
    (_course(attempt=0, outcome=Outcome.MILESTONE), False),
    (_course(_EVEN, outcome=Outcome.RETURN), False),
    (_course(_EVEN, _BAD, attempt=4), False),
    (_course((2**32 - 1, 2**31), outcome=Outcome.MILESTONE), False),
)


def _continue(course: Course, is_first: bool) -> Json:
    parent = digest("parent")
    due = continue_course(parent, course, is_first, NOT_WORSE)
    others = (due, replace(due, attempt=due.attempt + 1), replace(due, milestone=digest("other")))
    return {
        "parent": parent.hex(),
        "is_first": is_first,
        "gate": to_json(NOT_WORSE),
        "course": to_json(course),
        "continued": to_json(due),
        # whether the parent is one of the courses that its manifest leads to, and of others
        "members": [
            {
                "course": to_json(one),
                "is": not is_first and is_of_course(parent, course, one, NOT_WORSE),
            }
            for one in others
        ],
    }


def _swap(course: Course) -> Course:
    return replace(course, counts=course.counts[::-1])


_NEXT = replace(_ON, counts=(*_ON.counts, _count("number 3", *_EVEN)))
_FROM_FIRST = Course(digest("parent"), 1)
_FROM_SHOWN = Course(digest("number 2"), 1)
_FROM_FALLEN = Course(digest("milestone"), 5)
#: Parent's course, whether the parent is the first checkpoint, the child's course; what differs.
_LINES: tuple[tuple[Course, bool, Course, str | None, str], ...] = (
    (_ON, False, _ON, None, ""),
    (_ON, False, _NEXT, None, ""),
    (_ON, False, replace(_ON, outcome=Outcome.RETURN), None, ""),
    (Course(), True, _FROM_FIRST, None, ""),
    (_SHOWN, False, _FROM_SHOWN, None, ""),
    (_LATE, False, _FROM_SHOWN, None, ""),
    (_LATE, False, Course(digest("number 4"), 1), "milestone", "it is measured against"),
    (_SHOWN, False, replace(_FROM_SHOWN, counts=_NEXT.counts[2:]), None, ""),
    (_FALLEN, False, _FROM_FALLEN, None, ""),
    (Course(), True, replace(_FROM_FIRST, milestone=digest("other")), "milestone", "measured"),
    (_ON, False, replace(_ON, milestone=digest("other")), "milestone", "it is measured against"),
    (_SHOWN, False, replace(_SHOWN, outcome=Outcome.GOES_ON), "milestone", "measured against"),
    (_FALLEN, False, replace(_FROM_FALLEN, milestone=digest("number 2")), "milestone", "measured"),
    (Course(), True, replace(_FROM_FIRST, attempt=2), "attempt", "is number 1"),
    (_ON, False, replace(_ON, attempt=1), "attempt", "its course is number 2"),
    (_ON, False, replace(_ON, attempt=3), "attempt", "its course is number 2"),
    (_FALLEN, False, replace(_FROM_FALLEN, attempt=4), "attempt", "its course is number 5"),
    (_ON, False, replace(_ON, counts=()), "counts", "changes or leaves out"),
    (_ON, False, replace(_ON, counts=_ON.counts[1:]), "counts", "changes or leaves out"),
    (_ON, False, replace(_NEXT, counts=_NEXT.counts[1:]), "counts", "changes or leaves out"),
    (_ON, False, _swap(_ON), "counts", "changes or leaves out"),
    *(
        (
            _ON,
            False,
            replace(_NEXT, counts=(_NEXT.counts[0], changed, _NEXT.counts[2])),
            "counts",
            "changes or leaves out",
        )
        for changed in (
            replace(_ON.counts[1], wins=26),
            replace(_ON.counts[1], first_losses=4),
            replace(_ON.counts[1], answers=digest("other")),
        )
    ),
)


def _make_line(
    before: Course, is_first: bool, course: Course, differs: str | None, because: str
) -> Json:
    return {
        "parent": digest("parent").hex(),
        "is_first": is_first,
        "gate": to_json(NOT_WORSE),
        "before": to_json(before),
        "course": to_json(course),
        "fault": differs,
        "because": because,
    }


def _change(course: Course, place: int, **values: Any) -> Course:
    """With other counts of one checkpoint."""
    counts = list(course.counts)
    counts[place] = replace(counts[place], **values)
    return replace(course, counts=tuple(counts))


def _say(course: Course, outcome: Outcome) -> Course:
    return replace(course, outcome=outcome)


_NO_GATE = Gate()
_GOES, _MILESTONE, _RETURN = Outcome
_THREE = _course(_EVEN, _EVEN, _EVEN)


def _write(
    about: str,
    gate: Gate,
    course: Course,
    fault: str | None = None,
    because: str = "",
    *,
    place: int | None = None,
    filled: int = 0,
    has_step: bool = True,
) -> Json:
    """A course, with the fault in a word, a part of the reason, and the place of the count."""
    return {
        "about": about,
        "gate": to_json(gate),
        "course": to_json(course),
        # so many counts stand before these, without a differing pair: of 1, 2, … as 32 bytes
        "filled": filled,
        "has_step": has_step,
        "fault": fault,
        "place": place,
        "because": because,
    }


def _iterate_courses() -> Iterator[Json]:
    yield _write("no gate", _NO_GATE, Course())
    yield _write("no step", NOT_WORSE, Course(), has_step=False)
    yield _write("no checkpoint was in force yet", NOT_WORSE, _course())
    yield _write("it goes on", NOT_WORSE, _ON)
    yield _write("it goes on towards better", BETTER, _ON)
    yield _write("a milestone", NOT_WORSE, _SHOWN)
    yield _write("a milestone of better", BETTER, _SHOWN)
    yield _write("a milestone that later checkpoints hide", NOT_WORSE, _LATE)
    hidden = _course((30, 10), _EVEN, _EVEN)
    yield _write("a milestone that later ones hide", BETTER, _say(hidden, _MILESTONE))
    yield _write("it was better within its checkpoints", BETTER, hidden)
    yield _write("no milestone is demanded", NOT_WORSE, _say(_SHOWN, _GOES))
    yield _write("a return", NOT_WORSE, _FALLEN)
    yield _write("a return of better", BETTER, _say(_THREE, _RETURN))
    yield _write("better in the last checkpoint", BETTER, _course(_EVEN, _EVEN, _GOOD))
    yield _write("999 checkpoints", NOT_WORSE, _course(), filled=999)
    yield _write("1,000 checkpoints", NOT_WORSE, _say(_course(), _RETURN), filled=1_000)
    yield _write("all of 256 differ", NOT_WORSE, _course((140, 116)))
    all_of_first = _change(_ON, 0, first_wins=40, first_losses=24)
    yield _write("all of 64 differ", NOT_WORSE, all_of_first)

    bare = Course(attempt=1)
    yield _write("a course without a gate", _NO_GATE, _ON, "there", "there is no gate")
    yield _write("an attempt without a gate", _NO_GATE, bare, "there", "there is no gate")
    back = _say(Course(), _RETURN)
    yield _write("a return without a gate", _NO_GATE, back, "there", "there is no gate")
    yield _write("a course without a step", NOT_WORSE, _ON, "there", "no step", has_step=False)
    yield _write("only a milestone", NOT_WORSE, _course(), "there", "no step", has_step=False)

    unnamed, unnumbered = replace(_ON, milestone=bytes(32)), replace(_ON, attempt=0)
    yield _write("none", NOT_WORSE, Course(), "none", "carries no course")
    yield _write("no milestone", NOT_WORSE, unnamed, "none", "carries no course")
    yield _write("no attempt", NOT_WORSE, unnumbered, "none", "carries no course")

    again = _change(_THREE, 2, checkpoint=digest("number 1"))
    own = _change(_THREE, 1, checkpoint=digest("milestone"))
    twice = "are the milestone's, or there twice"
    yield _write("one twice", NOT_WORSE, again, "twice", twice, place=2)
    yield _write("the milestone's", NOT_WORSE, own, "twice", twice, place=1)

    fewer, more = _change(_ON, 1, asked=255), _change(_ON, 0, asked=260)
    yield _write("255 problems", NOT_WORSE, fewer, "asked", "255 problems, not 256", place=1)
    yield _write("260 problems", NOT_WORSE, more, "asked", "260 problems, not 256", place=0)

    pairs = "have more differing pairs than problems"
    for about, place, values in (
        ("257 pairs", 0, {"wins": 140, "losses": 117}),
        ("2^32 and more pairs", 1, {"wins": 2**32 - 1, "losses": 2}),
        ("65 pairs beside the first", 1, {"first_wins": 40, "first_losses": 25}),
    ):
        course = _change(_ON, place, **values)
        yield _write(about, NOT_WORSE, course, "pairs", pairs, place=place)
    two = _change(_change(_ON, 1, asked=1), 0, wins=257)
    yield _write("two faults", NOT_WORSE, two, "pairs", pairs, place=0)

    worse = "its course is worse than the milestone, and it is no return"
    yield _write("worse, goes on", NOT_WORSE, _say(_FALLEN, _GOES), "worse", worse)
    yield _write("worse, a milestone", NOT_WORSE, _say(_FALLEN, _MILESTONE), "worse", worse)
    yield _write("worse in better, too", BETTER, _say(_FALLEN, _GOES), "worse", worse)
    full = "its course has 1,000 checkpoints, and it is no return"
    yield _write("1,000, goes on", NOT_WORSE, _course(), "full", full, filled=1_000)
    over = "not shown to be better in 3 checkpoints, and it is no return"
    yield _write("not better in three", BETTER, _THREE, "over", over)
    late = _course((36, 10), _EVEN, _EVEN, attempt=4)
    yield _write("better but for its attempt", BETTER, late, "over", over)
    yield _write("better in its first attempt", BETTER, replace(late, attempt=1))

    returns, claims = "it returns to the milestone", "it claims a milestone"
    for about, gate, course in (
        ("a return of nothing", NOT_WORSE, _course()),
        ("a return of two in three", BETTER, _course(_EVEN, _EVEN)),
        ("a return of what is better", BETTER, _SHOWN),
        ("a return of 999", NOT_WORSE, _course()),
    ):
        filled = 999 if "999" in about else 0
        returned = _say(course, _RETURN)
        yield _write(about, gate, returned, "return", returns, filled=filled)
    for about, course in (
        ("a milestone of nothing", _course()),
        ("a milestone that is not shown", _ON),
        ("a milestone but for its attempt", _course((30, 7), attempt=4)),
    ):
        yield _write(about, NOT_WORSE, _say(course, _MILESTONE), "milestone", claims)
