"""`reasoning_gym:NAME`: the datasets of reasoning-gym, made and scored by its own code, in the
sandbox.

The package and all that it needs are modules of an image (`image`), so a problem and a score are
the same everywhere, and what they cost is counted. Most questions have one right answer. There an
answer must equal the reference as text, and no scorer runs. Where a question has several right
answers, an answer must have the whole of a form (`FORMS`), and only then the dataset's scorer sees
it: foreign scorers take junk beside a right answer, hedges and code. Assay takes one thing from a
scorer: that an answer is wholly right. Partial credit pays for hedging. A scorer that takes more
than its budget gives no credit.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from assay.environments.answer_form import AnswerForm, FormedEnvironment
from assay.environments.base import (
    BLANKS,
    UNREAD,
    Answer,
    Param,
    Problem,
    RewardParts,
    compute_digest,
    leave_unmade,
    rate_answer,
)
from assay.environments.gym.datasets import (
    ALIKE,
    ANSWER_MAX,
    COUNTED,
    FORMS,
    LEVELS,
    MAKING_MAX,
    REFUSED,
    SCORER_UNITS,
)
from assay.environments.gym.image import GYM, NAME, PACKAGE
from assay.environments.kind import FromDataset, Kind
from assay.protocol.errors import OperatorError
from assay.protocol.parameters import MILLION, UNITS
from assay.protocol.prf import Stream
from assay.sandbox import count_cores
from assay.sandbox.guest import Budget, Request, require_prepared, run

#: Increases whenever any problem or score would change.
VERSION = 8

#: Most characters of a question.
QUESTION_MAX = 16_384
#: Seeds that are tried until a dataset makes a problem of one.
_ATTEMPTS = 16
#: Control characters but line ends and tabs, and halves of pairs, which no bytes hold.
_UNPLAIN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
#: Instructions that a run counts as for its copy of the image, some 4 ms of a processor.
_RUN_COST = 10 * MILLION
_REPLY_MAX = 1 << 20
_NOTHING = "", "", ""
_PROGRAM = b"import assay_gym; assay_gym.serve()"
FORM, _ANSWER = AnswerForm.HASH, "the answer alone"


@dataclass(frozen=True, slots=True)
class Entry(Answer):
    """An entry of a dataset.

    Attributes:
        number: from which it is made again.
        reference: its own answer.
        kept: what its scorer needs of it; empty: the scorer makes it again.
    """

    dataset: str
    level: int
    number: int
    reference: str
    kept: str


class ReasoningGym(FormedEnvironment):
    """One dataset of reasoning-gym. Its levels are those of its curriculum, or 1 without a
    curriculum."""

    def __init__(self, dataset: str, params: Mapping[str, int]) -> None:
        """Raises ValueError if the dataset is unknown or refused, a setting is none of its own or
        out of its range, or the image is not prepared here."""
        require_dataset(dataset)
        require_image()
        declared = list_settings(dataset)
        super().__init__(f"{NAME}:{dataset}", VERSION, declared, params, FORM)
        self.levels = LEVELS[dataset]
        image = GYM.image_digest.encode()
        self.digest = compute_digest(self.name, VERSION, self.params, image)
        self.scorers = count_cores()
        self._dataset = dataset

    def _draw(self, stream: Stream, level: int) -> Problem:
        """Draw the entry of a number below 2^31, and another if that makes none, or none that the
        form of answers can give; a problem that is not made after the last. Raises WorkerError if
        the sandbox cannot run."""
        for _ in range(_ATTEMPTS):
            number = stream.draw_below(2**31)
            question, reference, kept = _ask(MAKING_MAX, self._dataset, level, number) or _NOTHING
            if not (_is_askable(question, reference) and self._can_give(reference)):
                continue
            kept = kept if self._dataset in FORMS else ""
            entry = Entry(self._dataset, level, number, reference, kept)
            request = self.write_request(_ANSWER)
            return Problem(question.rstrip(BLANKS), level, entry, request)
        return leave_unmade(level)

    def _can_give(self, reference: str) -> bool:
        """Whether the form of answers can give the reference: that of a line gives no grid."""
        return self.read_answer(self.write_answer(reference)) == reference

    def score(self, problem: Problem, completion: str) -> RewardParts:
        """Correctness: the answer is the reference (`is_reference`), or has the dataset's form and
        its scorer gives it the full mark within `units`.

        An answer that crashes the scorer earns nothing.

        Raises:
            WorkerError: the sandbox cannot run. This is not the answer's fault.
        """
        if not problem.is_made:
            return UNREAD
        entry = problem.answer
        if not isinstance(entry, Entry) or entry.dataset != self._dataset:
            raise TypeError(f"not a problem of {self.name}: {type(entry).__name__}")
        answer = self.read_answer(completion)
        if answer is None or not is_well_formed(entry.dataset, entry.reference, answer):
            return UNREAD
        if is_reference(entry.dataset, entry.reference, answer):
            return rate_answer(1)
        most = self.params[UNITS] * MILLION - _RUN_COST
        scored = _ask(most, entry.dataset, entry.level, entry.number, answer, entry.kept)
        return rate_answer(scored is True)


def require_dataset(dataset: str) -> None:
    """Raise ValueError if the dataset is unknown or refused."""
    if dataset in REFUSED:
        raise ValueError(f"reasoning_gym:{dataset} is refused: {REFUSED[dataset]}")
    if dataset not in LEVELS:
        near = get_close_matches(dataset, LEVELS, 1)
        hint = f"did you mean {near[0]!r}?" if near else "see `assay env list`"
        raise ValueError(f"reasoning-gym has no dataset {dataset!r}: {hint}")


def is_well_formed(dataset: str, reference: str, answer: str) -> bool:
    """Whether an answer is the reference, or may go to the dataset's scorer.

    The scorer gets text that has the dataset's form, at most `ANSWER_MAX` characters or twice as
    many as the reference, and no more parts than it (`COUNTED`).
    """
    if is_reference(dataset, reference, answer):
        return True
    form, item = FORMS.get(dataset), COUNTED.get(dataset)
    if form is None or len(answer) > max(ANSWER_MAX, 2 * len(reference)):
        return False
    if item is not None and answer.count(item) > reference.count(item):
        return False
    return form.fullmatch(answer) is not None


def is_reference(dataset: str, reference: str, answer: str) -> bool:
    """Whether an answer equals the reference, apart from differences that the dataset ignores
    (`ALIKE`)."""
    return _spell(dataset, answer) == _spell(dataset, reference)


#: The end of a decimal: a point with nothing but zeros after it, or zeros after another digit.
_ZEROS = re.compile(r"(?<=[0-9])\.0+(?![0-9.])|(?<=\.)([0-9]*[1-9])0+(?![0-9])")


def _spell(dataset: str, text: str) -> str:
    """One spelling for all texts that the dataset treats as alike."""
    alike = ALIKE.get(dataset, ())
    if "ends" in alike:
        text = "\n".join(line.rstrip(" ") for line in text.split("\n"))
    if "case" in alike and text.isascii():
        text = text.lower()
    if "zeros" in alike:
        text = _ZEROS.sub(lambda match: match[1] or "", text)
    return text.replace(" ", "") if "blanks" in alike else text


def list_settings(dataset: str) -> dict[str, Param]:
    """The dataset's own settings: where a scorer runs, the millions of instructions that it may
    take."""
    if dataset not in FORMS:
        return {}
    about = "millions of instructions that scoring an answer may take"
    return {UNITS: Param(SCORER_UNITS[dataset], 10, 5_000, about)}


def require_image() -> None:
    """Raises ValueError if the image is not prepared here."""
    try:
        require_prepared(GYM)
    except OperatorError as error:
        raise ValueError(f"environments {NAME}:… cannot run: {error}") from None


def _is_askable(question: object, reference: object) -> bool:
    """Whether a question has a legal length, and it and its answer are plain text. What a character
    is does not depend on the Unicode of this Python."""
    if not isinstance(question, str) or not isinstance(reference, str):
        return False
    return (
        1 <= len(question.strip(BLANKS)) <= len(question) <= QUESTION_MAX
        and reference == reference.strip(BLANKS) != ""
        and _UNPLAIN.search(question + reference) is None
    )


def _ask(instructions: int, *request: Any) -> Any:
    """What the image replies to a request (`inside.assay_gym`); None: an error, or not within its
    instructions.

    Raises:
        WorkerError: the sandbox cannot run.
    """
    budget = Budget(instructions, _REPLY_MAX)
    reply = run(Request(_PROGRAM, json.dumps(request).encode()), budget, GYM)
    return json.loads(reply.output) if reply.end == "exit 0" else None


KIND = Kind(
    NAME,
    VERSION,
    FORM,
    datasets=FromDataset(
        ReasoningGym,
        f"{PACKAGE.distribution} {PACKAGE.version}",
        LEVELS,
        REFUSED,
        list_settings,
        require_dataset,
    ),
    require=require_image,
)
