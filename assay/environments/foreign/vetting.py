"""Vetting: whether a stranger's environment is fit to pay by, tried before a network names it.

The environment runs twice, in two processes, under two hash seeds and in opposite order. It is
shown its own right answers, the wrong ones that it names, and hostile ones. The findings are
values: a failed check says why. Vetting cannot know whether some wrong answer that nobody thought
of earns.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from assay.environments.base import ANSWER_BYTES
from assay.environments.foreign.fence_report import probe_fences
from assay.environments.foreign.hostile_answers import (
    CODE,
    list_near_numbers,
    list_parts,
    write_hostile,
    write_long,
)
from assay.environments.foreign.package_box import STEPS_MAX
from assay.environments.foreign.package_environment import SECONDS, PackageChild, find_levels_fault
from assay.environments.foreign.package_file import find_fault
from assay.environments.problem_file import compute_file_digest
from assay.sandbox import WorkerError

#: Problems tried at each level, and at the lowest level for constant answers.
PROBLEMS, CONSTANTS = 4, 40
#: A constant answer may solve one in this many problems of the lowest level.
SHARE = 4
#: A right answer may take one in this many of the steps allowed. Any request may take one in this
#: many of the processor seconds after which a machine gives up: native code takes no steps, and
#: other machines are slower or busier.
STEPS_SHARE = 10
#: Problems that are tried first in a new process.
FRESH = 4
_HASH_SEEDS = 0, 1
#: The check of texts that are close to a right answer. If a problem has several right answers, one
#: of them may be close to another. The check therefore fails only if the same change of an answer
#: earns in more than half of the problems.
_NEARLY = "nearly right"
#: The name of the check that concerns the machine, not the subject.
FENCES = "fences"


class ListHostile(Protocol):
    def __call__(
        self, solved: dict[str, Any], other: dict[str, Any], wrong: list[str], is_first: bool, /
    ) -> Iterable[tuple[str, ...]]:
        """Tuples of a check's name and texts that must not earn: a single text, or both of two.
        Texts for `bounded` may earn, but must not cost too much.

        Args:
            solved, other: the subject's replies to `solve`, for this problem and for another.
            wrong: the answers that the subject calls wrong.
            is_first: whether this is the first problem of a level; some texts are tried only there.
        """


class VetSubject(Protocol):
    """A foreign environment in its own process; see `PackageBox.answer` for the requests.

    Attributes:
        dearest: most processor seconds that a request took so far.
    """

    dearest: float

    def ask(self, *request: Any) -> dict[str, Any]:
        """The reply, or `error`, with `costly` if the request took too much."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class VetCheck:
    """One check and its outcome; `detail` is a line for people."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class VetReport:
    """All checks in order. The first failed one may be the last."""

    subject: str
    checks: tuple[VetCheck, ...]

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the checks that the subject failed. `FENCES` is not among them: it concerns this
        machine."""
        names = tuple(check.name for check in self.checks if not check.passed)
        return tuple(name for name in names if name != FENCES)

    @property
    def is_fit(self) -> bool:
        return not self.failed

    @property
    def is_fenced(self) -> bool:
        """False if a fence of the kernel was missing when the subject was tried."""
        return all(check.passed for check in self.checks if check.name == FENCES)


@dataclass(slots=True)
class _Transcript:
    """The record of one process: for each problem its replies without step counts, its prompt and
    right answer; the faults found; and for each change of a right answer, whether it earned."""

    replies: dict[tuple[int, int], str] = field(default_factory=dict)
    rights: dict[tuple[int, int], tuple[str, str]] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    near: dict[str, list[bool]] = field(default_factory=dict)
    answers: int = 0
    steps: int = 0

    def note(self, check: str, fault: str) -> None:
        self.faults.setdefault(check, []).append(fault)


def vet_package(file: Path, problems: int = PROBLEMS) -> VetReport:
    """Vets the package in `file`. Raises ProblemFileError if the file cannot be read, and
    WorkerError if no child can run."""
    digest = compute_file_digest(file)
    subject = f"package:{digest}"
    fault = find_fault(file.read_bytes())
    listed = VetCheck("archive", fault is None, fault or "one package of Python, within limits")
    if fault is not None:
        return VetReport(subject, (listed,))
    checks = vet_subject(lambda seed: PackageChild(file, digest, seed, copies=False), problems)
    return VetReport(subject, (listed, *checks))


def vet_subject(
    open_subject: Callable[[int], VetSubject],
    problems: int = PROBLEMS,
    list_hostile: ListHostile | None = None,
) -> tuple[VetCheck, ...]:
    """The checks that every foreign environment must pass, and the fences around it.

    Args:
        open_subject: starts a new process with the given hash seed.
        problems: number tried at each level.
        list_hostile: lists texts that are no answers, if they differ from a package's.
    """
    opened: list[VetSubject] = []

    def open_one(seed: int) -> VetSubject:
        opened.append(open_subject(seed))
        return opened[-1]

    subjects = [open_one(seed) for seed in _HASH_SEEDS]
    try:
        description = subjects[0].ask("describe")
        fault = find_levels_fault(description)
        loaded = VetCheck("loads", fault is None, fault or f"levels {description.get('levels')}")
        if fault is not None:
            return (loaded,)
        levels = description["levels"]
        asked = [(level, _draw_number(level, i)) for level in levels for i in range(problems)]
        first, second = _Transcript(), _Transcript()
        for entry in asked:
            _examine(subjects[0], entry, asked, first, list_hostile or _list_hostile)
        for entry in reversed(asked):
            _examine(subjects[1], entry, asked, second, list_hostile or _list_hostile)
        concluded = [loaded, *_conclude(first, second)]
        if all(check.passed for check in (*concluded, _look_at_time(opened, first, second))):
            concluded.append(_try_constants(subjects[0], levels[0]))
            concluded.append(_try_memory(open_one, subjects[0], first))
        return *concluded, _look_at_time(opened, first, second), look_at_fences()
    finally:
        for subject in opened:
            subject.close()


def look_at_fences() -> VetCheck:
    """Whether this machine has all the kernel's fences. If one is missing, nothing shows what a
    subject does that this fence would refuse.

    Raises:
        WorkerError: the fences cannot be tried.
    """
    try:
        fences = probe_fences()
    except OSError as error:
        raise WorkerError(str(error)) from error
    return VetCheck(FENCES, fences.is_whole, f"this machine: {fences.describe()}")


def _examine(
    subject: VetSubject,
    entry: tuple[int, int],
    asked: list[tuple[int, int]],
    transcript: _Transcript,
    list_hostile: ListHostile,
) -> None:
    """Try one problem: its prompt, its right answer, and the texts that must not earn. After the
    scorer has once cost too much, ask nothing more."""
    if {"bounded", "CPU time"} & transcript.faults.keys():
        transcript.replies[entry] = ""
        return
    level, number = entry
    where = f"level {level}, number {number}"
    answers = [subject.ask(kind, *entry) for kind in ("make", "solve", "wrong")]
    _, solved, wrong = answers
    for kind, reply in zip(("problems", "right answers", "wrong answers"), answers, strict=True):
        if "error" in reply:
            transcript.note(kind, f"{where}: {reply['error']}")
        if "costly" in reply:
            transcript.note("bounded", f"{where}: {reply['error']}")
    verdicts: list[bool] = []
    if not any("error" in reply for reply in answers):
        right = solved["answer"]
        transcript.rights[entry] = answers[0]["prompt"], right
        scored = subject.ask("score", *entry, right)
        transcript.steps = max(transcript.steps, scored.get("steps", STEPS_MAX))
        if scored.get("right") is not True:
            what = scored.get("error", "its score is not True")
            transcript.note("right answers", f"{where}: {right[:60]!r}: {what}")
        marked = "####" in right and "form" not in solved  # the package's answers follow a ####
        if len(right.encode()) > ANSWER_BYTES or marked:
            transcript.note("right answers", f"{where}: it is too long, or holds ####")
        if not wrong["wrong"]:
            transcript.note("wrong answers", f"{where}: list_wrong names none")
        other = subject.ask("solve", *asked[0 if entry != asked[0] else -1])
        is_first = number == _draw_number(level, 0)
        for check, *texts in list_hostile(solved, other, wrong["wrong"], is_first):
            replies = [subject.ask("score", *entry, text) for text in texts]
            verdicts.append(all(reply.get("right") is True for reply in replies))
            transcript.answers += 1
            if check.startswith(_NEARLY):
                transcript.near.setdefault(check, []).append(verdicts[-1])
            elif verdicts[-1] and check != "bounded":
                quoted = " and ".join(repr(text[:60]) for text in texts)
                transcript.note(check, f"{where}: {quoted} earns")
            for reply, text in zip(replies, texts, strict=True):
                if "fault" in reply:
                    transcript.note("right answers", f"{where}: {text[:60]!r}: {reply['fault']}")
            dear = [reply["error"] for reply in replies if "costly" in reply]
            if dear:
                transcript.note("bounded", f"{where}: {texts[0][:60]!r}: {dear[0]}")
            if _is_dear(subject):
                transcript.note("CPU time", f"{where}: {texts[0][:60]!r}")
            if dear or _is_dear(subject):
                break  # each is costly, and one is enough
    contents = [{k: v for k, v in reply.items() if k != "steps"} for reply in answers]
    transcript.replies[entry] = json.dumps([contents, verdicts])


def _list_hostile(
    solved: dict[str, Any], other_solved: dict[str, Any], wrong: list[str], is_first: bool
) -> Iterator[tuple[str, str]]:
    """Pairs of a check's name and a text: the answers that the package calls wrong, and those that
    no package may take."""
    right, other = solved["answer"], other_solved.get("answer", "")
    for name, text in (*list_near_numbers(right), *list_parts(right)):
        if text not in (right, other, ""):
            yield f"{_NEARLY}: {name}", text
    yield from (("wrong answers", text) for text in wrong)
    general = ["", " ", *CODE, f"{right}\n", f" {right}", f"{right}\x00", f"{right}\u200b"]
    if is_first:
        general += list(write_hostile(right, other))
        yield from (("bounded", text) for text in write_long(right, ANSWER_BYTES))
    for text in general:
        if text not in (right, other) and len(text.encode("utf-8", "replace")) <= ANSWER_BYTES:
            yield "hostile answers", text


def _is_dear(subject: VetSubject) -> bool:
    return subject.dearest * STEPS_SHARE > SECONDS


def _look_at_time(
    subjects: Iterable[VetSubject], first: _Transcript, second: _Transcript
) -> VetCheck:
    """Whether all requests of all processes, the start included, stayed well below the clock's
    limit. Near that limit a slower machine would give no verdict."""
    subjects = list(subjects)
    faults = [one.faults.get("CPU time", []) for one in (first, second)]
    where = next((f"{fault[0]}: " for fault in faults if fault), "")
    detail = f"{where}the dearest request took {max(one.dearest for one in subjects):.2f} s"
    passed = not any(map(_is_dear, subjects))
    return VetCheck("CPU time", passed, f"{detail} of {SECONDS / STEPS_SHARE:g} that it may")


def _conclude(first: _Transcript, second: _Transcript) -> Iterator[VetCheck]:
    good = {
        "problems": f"{len(first.replies)} of all levels",
        "right answers": "the package's own earn",
        "wrong answers": "none of the package's own earns",
        "hostile answers": f"none of {first.answers} earns",
        "bounded": "no answer took too many steps",
    }
    for name, detail in good.items():
        faults = first.faults.get(name, []) or second.faults.get(name, [])
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        yield VetCheck(name, not faults, faults[0] + more if faults else detail)
    nearly = [
        f"{name.removeprefix(f'{_NEARLY}: ')} earns in {sum(earned)} of {len(earned)} problems"
        for name, earned in first.near.items()
        if sum(earned) * 2 > len(earned)
    ]
    detail = nearly[0] if nearly else "no part of an answer earns, and no number close to one"
    yield VetCheck(_NEARLY, not nearly, detail)
    # an answer that cost too much ended the questions, and the two orders have asked different ones
    compared = [entry for entry, reply in first.replies.items() if reply and second.replies[entry]]
    parted = [entry for entry in compared if second.replies[entry] != first.replies[entry]]
    detail = "two processes, two hash seeds, opposite order: the same"
    if not compared:
        detail = "not looked at: an answer cost too much before"
    elif parted:
        level, number = parted[0]
        detail = f"level {level}, number {number} is another in another process"
    yield VetCheck("same twice", bool(compared) and not parted, detail)
    cheap = 0 < first.steps * STEPS_SHARE <= STEPS_MAX
    detail = f"a right answer takes {first.steps:,} of {STEPS_MAX:,} steps"
    yield VetCheck("cost", cheap, detail if first.steps else "no right answer was scored")


def _try_constants(subject: VetSubject, level: int) -> VetCheck:
    """Whether a constant answer earns too often: gives the right answers of some problems to
    all."""
    entries = [(level, _draw_number(level, i)) for i in range(CONSTANTS)]
    answers = {subject.ask("solve", *entry).get("answer", "") for entry in entries[::2]}
    best, count = "", 0
    for answer in sorted(answers):
        solved = sum(subject.ask("score", *e, answer).get("right") is True for e in entries)
        best, count = max((best, count), (answer, solved), key=lambda pair: pair[1])
    detail = f"{best[:40]!r} solves {count} of {CONSTANTS} problems of level {level}"
    return VetCheck("constant answers", count * SHARE <= CONSTANTS, detail)


def _try_memory(
    open_subject: Callable[[int], VetSubject], subject: VetSubject, transcript: _Transcript
) -> VetCheck:
    """Whether a problem is the same when a new process is asked it first, and when an old one is
    asked it last."""
    entries = list(transcript.rights)
    parted = [
        f"level {entry[0]}, number {entry[1]} is another after {transcript.answers} answers"
        for entry in entries
        if not _is_alike(subject, entry, *transcript.rights[entry])
    ]
    for entry in entries[:: max(1, len(entries) // FRESH)]:
        fresh = open_subject(_HASH_SEEDS[0])
        try:
            if not _is_alike(fresh, entry, *transcript.rights[entry]):
                parted.append(f"level {entry[0]}, number {entry[1]} is another if asked first")
        finally:
            fresh.close()
    detail = "asked first of a process of its own, and last of all: the same"
    return VetCheck("keeps nothing", not parted, parted[0] if parted else detail)


def _is_alike(subject: VetSubject, entry: tuple[int, int], prompt: str, right: str) -> bool:
    """Whether the right answer earns and the problem is unchanged. Scoring comes first."""
    earns = subject.ask("score", *entry, right).get("right") is True
    return earns and subject.ask("make", *entry).get("prompt") == prompt


def _draw_number(level: int, index: int) -> int:
    return int.from_bytes(sha256(f"vet {level} {index}".encode()).digest()[:8], "big") >> 1
