"""Many pairs before one judge, some at a time, and what is counted of it."""

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from queue import SimpleQueue

from assay.contests.chat_judge import (
    ChatJudge,
    JudgeFault,
    JudgeOutcome,
    NoVerdictError,
    ShownPair,
    is_addressing,
)
from assay.network.threads import start_thread

#: Pairs that are asked about at a time. Tuning.
_TOGETHER = 8
#: Pairs without a verdict in a row after which a judge is not asked any more.
_GIVE_UP = 16


@dataclass(slots=True)
class JudgeTally:
    """What a judge did.

    Attributes:
        outcomes: of all pairs that the scorer left open, answered alike ones included.
        asked: pairs that were asked about by this call; further ones were known.
        faults: pairs without a verdict, by what was wrong; they are ties, asked again next time.
        left_out: pairs that were not asked about since the judge had failed too often.
        addressing: answers that speak to the judge, by contestant's place.
        told: of the newest fault.
    """

    outcomes: Counter[JudgeOutcome] = field(default_factory=Counter)
    asked: int = 0
    faults: Counter[JudgeFault] = field(default_factory=Counter)
    left_out: int = 0
    addressing: Counter[int] = field(default_factory=Counter)
    told: str = ""
    failed_in_a_row: int = 0

    @property
    def has_given_up(self) -> bool:
        return self.failed_in_a_row >= _GIVE_UP

    @property
    def is_whole(self) -> bool:
        """Whether every pair that was open has an outcome."""
        return not self.faults and not self.left_out

    def count_addressing(self, pair: ShownPair, places: tuple[int, int]) -> None:
        """Whose answers speak to the judge."""
        for place, text in zip(places, (pair.first, pair.second), strict=True):
            self.addressing[place] += is_addressing(text)


def judge_pairs(
    judge: ChatJudge, pairs: Mapping[int, ShownPair], tally: JudgeTally
) -> Iterator[tuple[int, JudgeOutcome]]:
    """Number and outcome of each pair that the judge decides, as they come; the rest is counted."""
    waiting = deque(pairs.items())
    done: SimpleQueue[tuple[int, JudgeOutcome | NoVerdictError] | BaseException | None]
    done = SimpleQueue()

    def work() -> None:
        try:
            while True:
                try:
                    number, pair = waiting.popleft()
                except IndexError:
                    break
                try:
                    done.put((number, judge.compare(pair)))
                except NoVerdictError as error:
                    done.put((number, error))
            done.put(None)
        except BaseException as error:  # noqa: BLE001 - whoever waits raises it
            done.put(error)

    working = min(_TOGETHER, len(pairs))
    for _ in range(working):
        start_thread(work, "judge")
    try:
        while working:
            found = done.get()  # each request has its deadline
            if found is None:
                working -= 1
            elif isinstance(found, BaseException):
                raise found
            else:
                yield from _count(*found, tally)
            if tally.has_given_up:
                tally.left_out += _empty(waiting)
    finally:
        waiting.clear()


def _count(
    number: int, found: JudgeOutcome | NoVerdictError, tally: JudgeTally
) -> Iterator[tuple[int, JudgeOutcome]]:
    tally.asked += 1
    if isinstance(found, NoVerdictError):
        tally.faults[found.fault] += 1
        tally.told = str(found)
        tally.failed_in_a_row += 1
        return
    tally.failed_in_a_row = 0
    yield number, found


def _empty(waiting: deque[tuple[int, ShownPair]]) -> int:
    """How many were taken out; other threads take some, too."""
    count = 0
    while True:
        try:
            waiting.popleft()
        except IndexError:
            return count
        count += 1
