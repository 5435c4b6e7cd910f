"""Vetting: whether a stranger's environment is fit to pay by, tried before a network names it.

The environment is asked twice. The second time the copies of the interpreter have other randomness,
another time and other addresses in memory: an environment whose problems or scores follow from
these is no function of its problem. It is shown its own right answers, the wrong ones that it
names, and hostile ones. The findings are values: a failed check says why. Vetting cannot know
whether some wrong answer that nobody thought of earns.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from assay.environments.base import ANSWER_BYTES
from assay.environments.foreign.guest_archive import GuestArchive
from assay.environments.foreign.hostile_answers import (
    CODE,
    list_near_numbers,
    list_parts,
    write_hostile,
    write_long,
)
from assay.environments.foreign.making import SECONDS, TRIED, check_making
from assay.environments.foreign.package_environment import NAME, PARAMS, find_levels_fault
from assay.environments.foreign.package_file import find_fault
from assay.environments.foreign.thoughts import check_thoughts, write_thought
from assay.environments.foreign.vet_report import (
    CONSTANTS,
    OTHER,
    PROBLEMS,
    VetCheck,
    VetReport,
    check_constant,
    check_cost,
    check_faults,
    draw_number,
)
from assay.environments.foreign.world_vetting import PackageWorlds, attack_worlds
from assay.environments.problem_file import read_problem_file
from assay.protocol.parameters import UNITS
from assay.sandbox import count_cores

#: Millions of instructions that a request may take, unless an author says otherwise: the default
#: of a network.
MILLIONS = PARAMS[UNITS].default
#: Characters of a long text that is no answer.
_SIZES = (3_000,)
#: The check of texts that are close to a right answer. If a problem has several right answers, one
#: of them may be close to another. The check therefore fails only if the same change of an answer
#: earns in more than half of the problems.
_NEARLY = "nearly right"


class ListHostile(Protocol):
    def __call__(
        self, solved: dict[str, Any], other: dict[str, Any], wrong: list[str], is_first: bool, /
    ) -> Iterable[tuple[str, ...]]:
        """Tuples of a check's name and texts that must not earn: a single text, or both of two.
        Texts for `bounded` may earn, but must not cost too much.

        Args:
            solved, other: the subject's replies to `solve`, for this problem and for another.
            wrong: the answers that the subject calls wrong.
            is_first: whether this is the first problem of the lowest or highest level; some texts
                are tried only there.
        """


@dataclass(slots=True)
class _Transcript:
    """The record of one asking: for each problem its replies, and whether each answer earned; the
    faults found; for each change of a right answer, whether it earned; whether right ones earned
    behind thoughts; and the most instructions that a right answer took."""

    replies: dict[tuple[int, int], list[Any]] = field(default_factory=dict)
    verdicts: dict[tuple[tuple[int, int], str], bool] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    near: dict[str, list[bool]] = field(default_factory=dict)
    thoughts: list[bool] = field(default_factory=list)
    answers: int = 0
    instructions: int = 0

    def note(self, check: str, fault: str) -> None:
        self.faults.setdefault(check, []).append(fault)


def vet_package(
    file: Path, problems: int = PROBLEMS, millions: int = MILLIONS, tried: int = TRIED
) -> VetReport:
    """Vets the package in `file`.

    Args:
        problems: see `vet_subject`.
        millions: millions of instructions that a request may take.
        tried: problems that it tries to make.

    Raises:
        ProblemFileError: the file cannot be read, or there is no sandbox.
        WorkerError: no sandbox can run.
    """
    data = read_problem_file(file)
    subject = name_subject(NAME, data, millions)
    fault = find_fault(data)
    listed = VetCheck("archive", fault is None, fault or "one package of Python, within limits")
    if fault is not None:
        return VetReport(subject, (listed,))
    checks = vet_subject(GuestArchive, data, problems, millions, tried)
    return VetReport(subject, (listed, *checks))


def name_subject(family: str, data: bytes, millions: int) -> str:
    """The name by which a network chooses what is vetted."""
    units = "" if millions == MILLIONS else f",{UNITS}={millions}"
    return f"{family}:{sha256(data).hexdigest()}{units}"


def vet_subject(
    archive: type[GuestArchive],
    data: bytes,
    problems: int,
    millions: int,
    tried: int,
    list_hostile: ListHostile | None = None,
    kind: type[PackageWorlds] = PackageWorlds,
) -> tuple[VetCheck, ...]:
    """The checks that every foreign environment must pass.

    Args:
        archive, data: its kind and its bytes.
        problems: number tried at each level.
        millions: millions of instructions that a request may take.
        tried: problems that it tries to make, as far as `SECONDS` suffice.
        list_hostile: lists texts that are no answers, if they differ from a package's.
        kind: of its worlds, if it has some.
    """
    subject = archive(data, millions)
    description = subject.ask("describe")
    fault = find_levels_fault(description)
    loaded = VetCheck(
        "loads", fault is None, fault or subject.about or f"levels {description['levels']}"
    )
    if fault is not None:
        return (loaded,)
    levels, turns = description["levels"], description["turns"]
    if turns > 1:
        first, second = (
            kind(one, levels, turns, millions) for one in (subject, archive(data, millions, OTHER))
        )
        concluded = (loaded, *attack_worlds(first, second, problems))
    else:
        concluded = (
            loaded,
            *_vet_turn(archive, data, subject, levels, problems, millions, list_hostile),
        )
    if not all(check.passed for check in concluded):
        return concluded
    end = time.monotonic() + SECONDS
    return *concluded, check_making(
        subject, levels, millions, tried, lambda: time.monotonic() > end
    )


def _vet_turn(
    archive: type[GuestArchive],
    data: bytes,
    subject: GuestArchive,
    levels: Sequence[int],
    problems: int,
    millions: int,
    list_hostile: ListHostile | None,
) -> Iterator[VetCheck]:
    """The checks of a package whose problems have one turn."""
    asked = [(level, draw_number(level, i)) for level in levels for i in range(problems)]
    transcripts: list[_Transcript] = []
    for one in (subject, archive(data, millions, OTHER)):
        transcript = _Transcript()
        for entry in asked:
            listing = list_hostile or _list_hostile
            _examine(one, entry, asked, transcript, listing, thorough=not transcripts)
        transcripts.append(transcript)
    concluded = tuple(_conclude(millions, *transcripts))
    yield from concluded
    if all(check.passed for check in concluded):
        yield _try_constants(subject, levels[0])


def _examine(
    subject: GuestArchive,
    entry: tuple[int, int],
    asked: list[tuple[int, int]],
    transcript: _Transcript,
    list_hostile: ListHostile,
    thorough: bool,
) -> None:
    """Try one problem: its prompt, its right answer, and the texts that must not earn; if
    `thorough`, all of them for the first problem of two levels. After the scorer has once cost too
    much, ask nothing more."""
    if "bounded" in transcript.faults:
        return
    level, number = entry
    where = f"level {level}, number {number}"
    answers = [subject.ask(kind, *entry) for kind in ("make", "solve", "wrong")]
    made, solved, wrong = answers
    for kind, reply in zip(("problems", "right answers", "wrong answers"), answers, strict=True):
        if "error" in reply:
            transcript.note(kind, f"{where}: {reply['error']}")
        if reply.get("costly"):
            transcript.note("bounded", f"{where}: {reply['error']}")
    contents = [made.get("prompt"), solved.get("answer"), wrong.get("wrong")]
    transcript.replies[entry] = contents
    if not any("error" in reply for reply in answers):
        right = solved["answer"]
        scored = subject.ask("score", *entry, right)
        transcript.instructions = max(transcript.instructions, scored["instructions"])
        if scored.get("right") is not True:
            what = scored.get("error") or scored.get("fault", "its score is not True")
            transcript.note("right answers", f"{where}: {right[:60]!r}: {what}")
        marked = "####" in right and "form" not in solved  # the package's answers follow a ####
        if len(right.encode("utf-8", "surrogatepass")) > ANSWER_BYTES or marked:
            transcript.note("right answers", f"{where}: it is too long, or holds ####")
        if not wrong["wrong"]:
            transcript.note("wrong answers", f"{where}: list_wrong names none")
        other = subject.ask("solve", *asked[0 if entry != asked[0] else -1])
        if (
            "form" in solved and scored.get("right") is True
        ):  # of others nothing but answers is seen
            thought = write_thought(other.get("answer", ""), right)
            transcript.thoughts.append(subject.ask("score", *entry, thought).get("right") is True)
        is_first = number == draw_number(level, 0) and level in (asked[0][0], asked[-1][0])
        tried = list(list_hostile(solved, other, wrong["wrong"], is_first and thorough))
        _try_hostile(subject, entry, tried, transcript)


def _try_hostile(
    subject: GuestArchive,
    entry: tuple[int, int],
    tried: list[tuple[str, ...]],
    transcript: _Transcript,
) -> None:
    """Note whether each of some texts earns, and what follows from that."""
    where = f"level {entry[0]}, number {entry[1]}"
    texts = [text for _, *some in tried for text in some]
    scored = iter(_score_all(subject, [(entry, text) for text in texts]))
    for check, *some in tried:
        replies = [next(scored) for _ in some]
        rights = [reply.get("right") is True for reply in replies]
        transcript.verdicts |= zip(((entry, text) for text in some), rights, strict=True)
        transcript.answers += 1
        if check.startswith(_NEARLY):
            transcript.near.setdefault(check, []).append(all(rights))
        elif all(rights) and check != "bounded":
            shown = " and ".join(repr(text[:60]) for text in some)
            transcript.note(check, f"{where}: {shown} earns")
        for text, reply in zip(some, replies, strict=True):
            if "fault" in reply:
                transcript.note("right answers", f"{where}: {text[:60]!r}: {reply['fault']}")
            if reply["costly"]:
                transcript.note("bounded", f"{where}: {text[:60]!r}: {reply['error']}")


def _score_all(
    subject: GuestArchive, pairs: Iterable[tuple[tuple[int, int], str]]
) -> list[dict[str, Any]]:
    """The replies to answers, each to a problem of a level and a number."""
    with ThreadPoolExecutor(count_cores()) as executor:
        return list(executor.map(lambda pair: subject.ask("score", *pair[0], pair[1]), pairs))


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
        general += list(write_hostile(right, other, _SIZES))
        yield from (("bounded", text) for text in write_long(right, ANSWER_BYTES))
    for text in general:
        if text not in (right, other) and len(text.encode("utf-8", "replace")) <= ANSWER_BYTES:
            yield "hostile answers", text


def _conclude(millions: int, first: _Transcript, second: _Transcript) -> Iterator[VetCheck]:
    good = {
        "problems": f"{len(first.replies)} of all levels",
        "right answers": "the package's own earn",
        "wrong answers": "none of the package's own earns",
        "hostile answers": f"none of {first.answers} earns",
        "bounded": "no answer took too many instructions",
    }
    for name, detail in good.items():
        yield check_faults(name, first.faults.get(name, []) or second.faults.get(name, []), detail)
    nearly = [
        f"{name.removeprefix(f'{_NEARLY}: ')} earns in {sum(earned)} of {len(earned)} problems"
        for name, earned in first.near.items()
        if sum(earned) * 2 > len(earned)
    ]
    detail = nearly[0] if nearly else "no part of an answer earns, and no number close to one"
    yield VetCheck(_NEARLY, not nearly, detail)
    both = first.replies.keys() & second.replies.keys()
    parted = [entry for entry in both if first.replies[entry] != second.replies[entry]]
    for entry, text in first.verdicts.keys() & second.verdicts.keys():
        if first.verdicts[entry, text] != second.verdicts[entry, text]:
            parted.append(entry)
    parted.sort()
    detail = "other randomness, time and addresses in memory: the same"
    if parted:
        level, number = parted[0]
        detail = f"level {level}, number {number} is another with other randomness, time or memory"
    yield VetCheck("same twice", not parted, detail)
    if first.thoughts:
        yield check_thoughts(first.thoughts)
    yield check_cost("a right answer", first.instructions, millions)


def _try_constants(subject: GuestArchive, level: int) -> VetCheck:
    """Whether a constant answer earns too often: gives the right answers of some problems to
    all."""
    entries = [(level, draw_number(level, i)) for i in range(CONSTANTS)]
    answers = {subject.ask("solve", *entry).get("answer", "") for entry in entries[::2]}
    best, count = "", 0
    for answer in sorted(answers):
        replies = _score_all(subject, [(entry, answer) for entry in entries])
        solved = sum(reply.get("right") is True for reply in replies)
        best, count = max((best, count), (answer, solved), key=lambda pair: pair[1])
    return check_constant("constant answers", best, count, CONSTANTS, level)
