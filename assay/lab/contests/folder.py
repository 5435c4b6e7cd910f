"""A contest's folder: its rules and contestants, and all answers so far, with one file for each
block of problems. A program that was stopped continues after the last complete block.

    contest.json              rules and contestants: another contest needs another folder
    answers/PLACE/BLOCK.json  a contestant's texts, and whether each is solved
    judged/JUDGE/A-B/BLOCK.json  a judge's outcomes on two contestants' answers, by problem
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from assay.lab.contests.answers import ContestRules, ScoredAnswer
from assay.lab.contests.chat_judge import JudgeOutcome
from assay.network.files import write_file, write_json
from assay.protocol.encoding import EncodingError, read_json
from assay.protocol.errors import OperatorError

#: Problems of a file, which are drawn together. A stop loses at most this many. Part of the format.
BLOCK = 128
#: Most bytes of a file that are read.
_FILE_MAX = 64 << 20
_PLAN = "contest.json"

_T = TypeVar("_T")


class ContestError(OperatorError):
    """The requested contest cannot be played. The message says why, and what to do."""


class ContestFolder:
    """The files of one contest.

    Raises:
        ContestError: the folder is another contest's, or damaged.
        OSError: it cannot be written.
    """

    def __init__(
        self, path: Path, rules: ContestRules, environment: bytes, checkpoints: Sequence[bytes]
    ) -> None:
        self.path = path
        self.rules = rules
        plan = asdict(rules) | {
            "levels": list(rules.levels),
            "environment": environment.hex(),
            "checkpoints": [digest.hex() for digest in checkpoints],
        }
        try:
            known = self._read(_PLAN)
        except FileNotFoundError:
            if path.exists() and any(path.iterdir()):
                raise ContestError(f"{path} holds other things: name another folder") from None
            write_json(path / _PLAN, plan)
            known = plan
        if known != plan:
            asked = known if isinstance(known, dict) else {}
            other = [name for name, value in plan.items() if asked.get(name) != value]
            raise ContestError(
                f"{path} is of a contest with other {', '.join(other) or 'things'}: name another "
                "folder"
            )

    @property
    def blocks(self) -> list[range]:
        """Numbers of problems: one range for each file."""
        last = self.rules.problems
        return [range(start, min(start + BLOCK, last)) for start in range(0, last, BLOCK)]

    def has_answers(self, place: int, block: range) -> bool:
        """Return whether a contestant has answered a block."""
        return (self.path / _name_answers(place, block)).exists()

    def write_answers(self, place: int, block: range, answers: Sequence[ScoredAnswer]) -> None:
        rows = [[answer.text, answer.solved] for answer in answers]
        write_file(self.path / _name_answers(place, block), json.dumps(rows).encode())

    def read_answers(self, place: int, block: range) -> list[ScoredAnswer]:
        """The answers as they were written."""
        name = _name_answers(place, block)
        rows = self._parse(name, lambda rows: [_read_answer(*row) for row in rows])
        if len(rows) != len(block):
            raise self._damaged(name)
        return rows

    def write_outcomes(
        self, judge: str, pair: tuple[int, int], block: range, outcomes: Mapping[int, JudgeOutcome]
    ) -> None:
        """Write the outcomes of those problems of a block that a judge has decided."""
        rows = {str(number): outcome.value for number, outcome in sorted(outcomes.items())}
        write_json(self.path / _name_outcomes(judge, pair, block), rows)

    def read_outcomes(
        self, judge: str, pair: tuple[int, int], block: range
    ) -> dict[int, JudgeOutcome]:
        """The outcomes as they were written; empty if the judge was not asked."""
        name = _name_outcomes(judge, pair, block)
        try:
            outcomes = self._parse(
                name, lambda rows: {int(n): JudgeOutcome(said) for n, said in rows.items()}
            )
        except FileNotFoundError:
            return {}
        if not outcomes.keys() <= set(block):
            raise self._damaged(name)
        return outcomes

    def _parse(self, name: str, parse: Callable[[Any], _T]) -> _T:
        try:
            return parse(self._read(name))
        except (AttributeError, TypeError, ValueError):
            raise self._damaged(name) from None

    def _read(self, name: str) -> Any:
        with (self.path / name).open("rb") as file:
            data = file.read(_FILE_MAX + 1)
        try:
            if len(data) <= _FILE_MAX:
                return read_json(data)
        except EncodingError:
            pass
        raise self._damaged(name)

    def _damaged(self, name: str) -> ContestError:
        return ContestError(f"{self.path / name} is damaged: delete it, and it is made again")


def _read_answer(text: object, solved: object) -> ScoredAnswer:
    if not isinstance(text, str) or not isinstance(solved, bool):
        raise TypeError("no answer")
    return ScoredAnswer(text, solved)


def _name_answers(place: int, block: range) -> str:
    return f"answers/{place}/{block.start:06}.json"


def _name_outcomes(judge: str, pair: tuple[int, int], block: range) -> str:
    who = sha256(judge.encode()).hexdigest()[:16]
    return f"judged/{who}/{pair[0]}-{pair[1]}/{block.start:06}.json"
