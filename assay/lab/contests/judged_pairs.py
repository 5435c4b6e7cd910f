"""Asks one judge about many pairs, several at a time, and counts the outcomes."""

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from functools import partial

from assay.lab.contests.chat_judge import (
    ChatJudge,
    JudgeFault,
    JudgeOutcome,
    NoVerdictError,
    ShownPair,
    is_addressing,
)
from assay.network.threads import call_beside

#: Pairs that are asked about at a time. Tuning.
_TOGETHER = 8
#: Pairs in a row without a verdict after which the judge is not asked any more.
_GIVE_UP = 16


@dataclass(slots=True)
class JudgeTally:
    """The tally of a judge.

    Attributes:
        outcomes: outcomes of all pairs that the scorer left open, including equal answers.
        asked: pairs that this call asked about; the others were known.
        faults: pairs without a verdict, by fault; they count as ties, and are asked again next
            time.
        left_out: pairs that were not asked about because the judge had failed too often.
        addressing: answers that address the judge, by contestant's place.
        last_fault: message of the newest fault.
    """

    outcomes: Counter[JudgeOutcome] = field(default_factory=Counter)
    asked: int = 0
    faults: Counter[JudgeFault] = field(default_factory=Counter)
    left_out: int = 0
    addressing: Counter[int] = field(default_factory=Counter)
    last_fault: str = ""
    failed_in_a_row: int = 0

    @property
    def has_given_up(self) -> bool:
        return self.failed_in_a_row >= _GIVE_UP

    @property
    def is_whole(self) -> bool:
        """Return whether every open pair has an outcome."""
        return not self.faults and not self.left_out

    def count_fault(self, fault: NoVerdictError) -> None:
        """Count a pair without a verdict."""
        self.faults[fault.fault] += 1
        self.last_fault = str(fault)
        self.failed_in_a_row += 1

    def count_addressing(self, pair: ShownPair, places: tuple[int, int]) -> None:
        """Count the contestants whose answers address the judge."""
        for place, text in zip(places, (pair.first, pair.second), strict=True):
            self.addressing[place] += is_addressing(text)


def judge_pairs(
    judge: ChatJudge, pairs: Mapping[int, ShownPair], tally: JudgeTally
) -> Iterator[tuple[int, JudgeOutcome]]:
    """Number and outcome of each pair that the judge decides, as they come. The rest is counted."""
    waiting = deque(pairs.items())
    asked: dict[Future[JudgeOutcome], int] = {}
    while waiting or asked:
        while waiting and len(asked) < _TOGETHER:
            number, pair = waiting.popleft()
            asked[call_beside(partial(judge.compare, pair), "judge")] = number
        answered, _ = wait(asked, return_when=FIRST_COMPLETED)  # each request has its own deadline
        for answer in sorted(answered, key=asked.__getitem__):
            number = asked.pop(answer)
            tally.asked += 1
            try:
                outcome = answer.result()
            except NoVerdictError as fault:
                tally.count_fault(fault)
            else:
                tally.failed_in_a_row = 0
                yield number, outcome
        if tally.has_given_up:
            tally.left_out += len(waiting)
            waiting.clear()
