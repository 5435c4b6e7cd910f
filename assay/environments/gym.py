"""`reasoning_gym:NAME`: the datasets of reasoning-gym, made and scored by its own code, in a
sandbox.

Foreign code makes the problems, so it runs in a child process under limits. Most questions have one
right answer. There an answer must equal the reference as text, and no scorer runs. Where a question
has several right answers, an answer must have the whole of a form (`FORMS`), and only then the
dataset's scorer sees it: foreign scorers take junk beside a right answer, hedges and code. Assay
takes one thing from a scorer: that an answer is wholly right. Partial credit depends on a machine's
arithmetic and pays for hedging. A scorer that takes too many steps gives no credit.

This package cannot know whether another build of Python, numpy or sympy makes the same problems. So
their versions are part of the digest, and so is Python's, whose sum of floats changed in 3.12.
Datasets that depended on more than their seed in trials are refused.
"""

import decimal
import json
import random
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, lru_cache, partial
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any, NoReturn

from assay.environments.answer_form import AnswerForm, FormedEnvironment
from assay.environments.base import (
    ANSWER_BYTES,
    BLANKS,
    UNREAD,
    Answer,
    Problem,
    RewardParts,
    compute_digest,
    rate_answer,
)
from assay.environments.gym_datasets import ALIKE, ANSWER_MAX, COUNTED, FORMS, LEVELS, REFUSED
from assay.environments.step_counter import StepCounter
from assay.protocol.prf import Stream
from assay.sandbox import Lost, Sandbox, WorkerError, child

NAME = "reasoning_gym"
#: Increases whenever any problem or score would change.
VERSION = 5
#: The version with which the tables of `gym_datasets` were made.
PACKAGE, PACKAGE_VERSION = "reasoning-gym", "0.1.25"

#: Most characters of a question.
QUESTION_MAX = 16_384
#: Seeds that are tried until a dataset makes a problem of one.
_ATTEMPTS = 16
#: Processor seconds for making a problem or scoring an answer: ten times the most costly known,
#: many times what `STEPS_MAX` takes. Tuning: work over the limit gets no verdict.
SECONDS = 20.0
#: Wall-clock seconds for either. Tuning.
_PATIENCE = 120.0
_REPLY_MAX = 1 << 20
_BOOT = "from assay.environments.gym import serve_gym; serve_gym()"
FORM, _ANSWER = AnswerForm.HASH, "the answer alone"


@dataclass(frozen=True, slots=True)
class Entry(Answer):
    """An entry of a dataset: the numbers from which the child makes it again, and the entry's own
    answer."""

    dataset: str
    level: int
    number: int
    reference: str


class ReasoningGym(FormedEnvironment):
    """One dataset of reasoning-gym. Its levels are those of its curriculum, or 1 without a
    curriculum."""

    def __init__(self, dataset: str, params: Mapping[str, int]) -> None:
        """Raises ValueError if the dataset is unknown or refused, a setting is none of its own, or
        reasoning-gym is not installed in the version with which the tables were made."""
        require_dataset(dataset)
        super().__init__(f"{NAME}:{dataset}", VERSION, {}, params, FORM)
        self.levels = LEVELS[dataset]
        self.digest = compute_digest(self.name, VERSION, self.params, get_versions())
        self._dataset = dataset

    def _draw(self, stream: Stream, level: int) -> Problem:
        """Draw the entry of a number below 2^31, and another if that makes none. Raises WorkerError
        if the child cannot run, is too slow to tell, or makes none of any: this is not the miner's
        fault."""
        for _ in range(_ATTEMPTS):
            number = stream.draw_below(2**31)
            made = _ask("make", self._dataset, level, number)
            if isinstance(made, Lost) or not _is_askable(made):
                continue
            entry = Entry(self._dataset, level, number, made["answer"])
            request = self.write_request(_ANSWER)
            return Problem(made["question"].rstrip(BLANKS), level, entry, request)
        raise WorkerError(f"{self.name} makes no problem at level {level}")

    def score(self, problem: Problem, completion: str) -> RewardParts:
        """Correctness: the answer is the reference (`is_reference`), or has the dataset's form and
        its scorer gives it the full mark within `step_counter.STEPS_MAX`.

        An answer that crashes the scorer earns nothing.

        Raises:
            WorkerError: the machine is too slow or busy to tell, or ends the scorer. This is not
                the answer's fault.
        """
        entry = problem.answer
        if not isinstance(entry, Entry) or entry.dataset != self._dataset:
            raise TypeError(f"not a problem of {self.name}: {type(entry).__name__}")
        answer = self.read_answer(completion)
        if answer is None or not is_well_formed(entry.dataset, entry.reference, answer):
            return UNREAD
        if is_reference(entry.dataset, entry.reference, answer):
            return rate_answer(1)
        scored = _ask("score", entry.dataset, entry.level, entry.number, answer)
        return rate_answer(not isinstance(scored, Lost) and scored["right"])


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


@cache
def get_versions() -> bytes:
    """reasoning-gym, its dependencies and Python, with their versions, as the digest names them.
    Raises ValueError if reasoning-gym is not installed in the version with which the tables were
    made."""
    try:
        installed = version(PACKAGE)
    except PackageNotFoundError:
        installed = "none"
    if installed != PACKAGE_VERSION:
        raise ValueError(
            f"environments reasoning_gym:… need {PACKAGE} {PACKAGE_VERSION}, and {installed} is "
            "here: install the extra `envs`, as in pip install 'assay[envs]'"
        )
    needed = [line for line in requires(PACKAGE) or () if "extra ==" not in line]
    names = sorted(re.split(r"[^A-Za-z0-9_.-]", line, maxsplit=1)[0] for line in needed)
    lines = [f"{name} {version(name)}" for name in (PACKAGE, *names, "numpy")]
    return "\n".join([*lines, f"python {sys.version_info[0]}.{sys.version_info[1]}"]).encode()


def _is_askable(made: Mapping[str, Any]) -> bool:
    """Whether a child's reply has a question of legal length and an answer that fits the answer
    form."""
    question, reference = made.get("question"), made.get("answer")
    if not isinstance(question, str) or not isinstance(reference, str):
        return False
    return (
        1 <= len(question.strip(BLANKS)) <= len(question) <= QUESTION_MAX
        and reference == reference.strip(BLANKS) != ""
        and "####" not in reference
        and all(c.isprintable() or c in "\n\t" for c in question + reference)
        and len(reference.encode()) <= ANSWER_BYTES
    )


def _ask(*request: Any) -> dict[str, Any] | Lost:
    reply = _get_sandbox().ask_patiently(json.dumps(request).encode(), _REPLY_MAX, SECONDS)
    return reply if isinstance(reply, Lost) else json.loads(reply)


@cache
def _get_sandbox() -> Sandbox:
    """One child of this process for all datasets. Its replies depend on the request alone."""
    return Sandbox("scorer of reasoning_gym", _BOOT, _PATIENCE)


# --- the sandboxed child, which alone imports reasoning_gym. A request is a JSON list, an answer a
# JSON object. Every source of randomness is seeded before each dataset, since some datasets use the
# global one. `gym_datasets` refuses those that still depend on the process

#: Bytes of address space beyond what the imports take. Tuning.
MEMORY_BYTES = 1 << 30
#: Entries kept, so that the rollouts of a group are scored without making the entry again. Tuning.
_ENTRIES = 256
#: Fields with a right answer, in entries without an answer of their own.
_EXAMPLES = "example_answer", "example_correct_answer", "possible_answer"
#: Events that no dataset needs and no scorer may cause: no stranger's answer can reach them.
_FORBIDDEN = (
    "socket.",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "os.kill",
    "ctypes.",
)


def serve_gym() -> NoReturn:
    import numpy
    import reasoning_gym
    import sympy

    del numpy, reasoning_gym, sympy  # their memory counts as the imports'
    sys.addaudithook(_refuse)
    child.serve(answer_request, MEMORY_BYTES)


def answer_request(request: bytes) -> bytes:
    """`["levels", name]`, `["make", name, level, number]` or `["score", …, text]`."""
    kind, name, *rest = json.loads(request)
    if kind == "levels":
        return _pack({"levels": count_levels(name)})
    try:
        dataset, entry = _make_entry(name, rest[0], rest[1])
        reference = _get_reference(entry)
    except Exception as error:  # noqa: BLE001 - a foreign generator may raise anything
        return _pack({"error": f"{type(error).__name__}: {error}"[:300]})
    if kind == "make":
        return _pack({"question": entry["question"], "answer": reference})
    right, steps = _score(dataset, entry, rest[2])
    return _pack({"right": right, "steps": steps})


def _score(dataset: Any, entry: Any, text: str) -> tuple[bool, int]:
    """Whether an answer has the full mark, and the steps that scoring took."""
    counter = StepCounter()
    try:
        return float(
            counter.count(partial(dataset.score_answer, text, entry))
        ) >= 1.0, counter.steps
    except BaseException:  # noqa: BLE001 - an answer that breaks a foreign scorer is wrong
        return False, counter.steps


def count_levels(name: str) -> int:
    """Number of levels of a dataset: as many as its curriculum's longest attribute has, or 1."""
    from reasoning_gym.factory import CURRICULA, create_curriculum

    if name not in CURRICULA:
        return 1
    return max(len(a.levels) for a in create_curriculum(name).attributes.values())


@lru_cache(_ENTRIES)
def _make_entry(name: str, level: int, number: int) -> tuple[Any, Any]:
    import numpy as np
    from reasoning_gym.factory import CURRICULA, DATASETS, create_curriculum

    random.seed(number)
    np.random.seed(number)
    decimal.setcontext(decimal.DefaultContext.copy())  # some leave theirs behind
    made, config = DATASETS[name]
    sizes = {"seed": number, "size": 1}
    if name in CURRICULA:
        curriculum = create_curriculum(name)
        curriculum.set_global_level(level - 1)
        dataset = made(config=curriculum.generate_configuration(sizes))
    else:
        dataset = made(config=config(**sizes))
    return dataset, dataset[0]


def _get_reference(entry: dict[str, Any]) -> str:
    """The entry's own answer, or an example of one."""
    known = entry["answer"], *(entry["metadata"].get(name) for name in _EXAMPLES)
    reference_answer = next(reference for reference in known if reference is not None)
    return reference_answer if isinstance(reference_answer, str) else json.dumps(reference_answer)


def _pack(reply: dict[str, Any]) -> bytes:
    return json.dumps(reply).encode()


def _refuse(event: str, arguments: object) -> None:
    if event.startswith(_FORBIDDEN):
        raise PermissionError(f"{event} is not for a sandboxed child")
