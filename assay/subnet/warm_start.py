"""A warm start: a model learns the form of a recipe's answers.

Its folder is a preparation's (`assay.subnet.preparation`), with `own_answers.jsonl`: right answers
of the model's own, if it learns from these.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal

from assay.environments.problem_file import compute_file_digest
from assay.inference.placement import Placement
from assay.protocol.episode import Reply
from assay.subnet.preparation import PreparationFolder, PreparationRequest, holding
from assay.subnet.waiting import Report
from assay.training import LearnConfig, Learner
from assay.training.examples import (
    Examples,
    Lessons,
    NoExampleError,
    WorkedExamples,
    describe_left_out,
    sample_right,
)
from assay.training.imitation import Example
from assay.training.objectives import Imitation
from assay.training.preparation import FORMAT, Curriculum
from assay.training.rows.reader import READER, read_conversations

_OWN = "own_answers.jsonl"
#: Most bytes of a line of own answers.
_LINE_MAX = 64 << 20
#: Problems whose own answers are drawn together.
_ASKED_AT_ONCE = 32
#: The learning rate without a choice: of all weights, and of LoRA's factors.
RATE, FACTORS_RATE = 1e-4, 1e-3

Source = Literal["solutions", "own"] | Path


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStartRequest(PreparationRequest):
    """What is asked for.

    Attributes:
        source: of examples: worked solutions, the model's own right answers, or a file of
            conversations; None: worked solutions if the environment has some, else the model's own.
        asked, tries: problems that the model answers itself, and how often each.
    """

    source: Source | None = None
    asked: int = 512
    tries: int = 4


def run_warm_start(
    request: WarmStartRequest, learning: LearnConfig, placement: Placement, report: Report
) -> dict[str, Any]:
    """Make the model: see `PreparationFolder` and its `run`."""
    with holding(request.folder, _WarmStart.what):
        return _WarmStart(request, learning, placement, report).run()


class _WarmStart(PreparationFolder):
    what: ClassVar[str] = "SFT cold start"
    state: ClassVar[str] = "warm_start.json"

    def __init__(
        self, request: WarmStartRequest, learning: LearnConfig, placement: Placement, report: Report
    ) -> None:
        super().__init__(request, learning, placement, report)
        self._asked = request
        self._lessons = Lessons(
            self._environment,
            request.recipe.levels,
            self._tokenizer,
            self._ends,
            self._rules.work.max_tokens,
            self._rules.work,
            frozenset(problem.conversation for problem, _ in self._trial),
        )
        self._examples: Examples | None = None
        self._source = request.source or self._choose_source()

    def run(self) -> dict[str, Any]:
        """See `PreparationFolder.run`."""
        document = super().run()
        if isinstance(self._examples, WorkedExamples) and self._examples.left_out:
            self._report(f"problems left out: {describe_left_out(self._examples.left_out)}")
        return document

    def _describe_choices(self) -> dict[str, Any]:
        request, source = self._asked, self._source
        source_name = f"file {compute_file_digest(source)}" if isinstance(source, Path) else source
        further: dict[str, Any] = {}
        if source == "own":
            further = {"asked": request.asked, "tries": request.tries}
        elif isinstance(source, Path):
            further = {"reader": READER}
        return {"examples": source_name, **further}

    def _open(self) -> Callable[[Learner], Curriculum[Example]]:
        examples, held = self._open_examples()
        self._examples = examples
        return lambda learner: Curriculum(learner, Imitation(), examples.read, lambda: held, FORMAT)

    def _list_shown(self, count: int) -> list[tuple[int | None, Mapping[str, Example]]]:
        examples, _ = self._open_examples()
        if self._reading is not None:
            both = zip(self._reading.origins, self._reading.found, strict=True)
            return [(number, {"completion": one}) for number, one in islice(both, count)]
        return [(None, {"completion": one}) for one in examples.read(0, count)[0]]

    def _choose_source(self) -> Source:
        """Worked solutions, if the environment has some: of a mixture, a part may."""
        has_some = any(self._environment.solve(problem) for problem, _ in self._trial)
        return "solutions" if has_some else "own"

    def _open_examples(self) -> tuple[Examples, Sequence[Example]]:
        """The examples, and those that are only measured."""
        seed, held = self._learning.seed, self._request.held
        if self._source == "solutions":
            measured, _ = WorkedExamples(self._lessons, seed, "held solutions").read(0, held)
            return WorkedExamples(self._lessons, seed), measured
        if isinstance(self._source, Path):
            return self._hold_back(self._read_file(self._source, read_conversations))
        return self._hold_back(self._draw_own())

    def _draw_own(self) -> list[Example]:
        """The model's own right answers, which a killed command does not draw again."""
        request, path, found = self._asked, self._folder / _OWN, list[Example]()
        done = 0
        if path.exists():
            with path.open("rb+") as file:
                whole = 0
                for line in iter(lambda: file.readline(_LINE_MAX), b""):
                    if not line.endswith(b"\n"):
                        file.truncate(whole)  # it was being written
                        break
                    whole += len(line)
                    found += map(_read_example, json.loads(line))
                    done += _ASKED_AT_ONCE
        drafter = None
        for first in range(done, request.asked, _ASKED_AT_ONCE):
            drafter = drafter or self._make_drafter(self._load_start())
            count = min(_ASKED_AT_ONCE, request.asked - first)
            args = self._lessons, drafter, self._learning.seed, first, count, request.tries
            right = sample_right(*args)
            found += right
            with path.open("ab") as file:
                file.write(json.dumps([_write_example(one) for one in right]).encode() + b"\n")
            self._report(
                f"the model's own answers: {len(found):,} right and different, to "
                f"{first + count:,} of {request.asked:,} problems"
            )
        if not found:
            raise NoExampleError(
                f"none of {request.asked * request.tries:,} answers of the model's own was right, "
                "so there is nothing to imitate: give worked solutions or conversations with "
                "--examples, or ask easier levels"
            )
        return found


def _write_example(example: Example) -> list[Any]:
    replies = [[reply.at, list(reply.ids)] for reply in example.replies]
    return [example.prompt, example.completion, replies]


def _read_example(row: list[Any]) -> Example:
    prompt, completion, replies = row
    return Example(prompt, completion, [Reply(at, tuple(ids)) for at, ids in replies])
