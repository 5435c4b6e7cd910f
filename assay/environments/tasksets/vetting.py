"""Vetting of a taskset of verifiers: whether it is fit to pay by. It is inspected, then tried like
other environments.

A reply is prose around an answer, so words beside a right one are no defect. A defect is a reply
that earns without knowledge: a repeated prompt, an answer between two others, two answers that earn
in either order, an answer that is nearly right.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from assay.environments.base import ANSWER_BYTES
from assay.environments.foreign.hostile_answers import (
    CODE,
    FILLINGS,
    SEPARATORS,
    list_near_numbers,
    write_long,
)
from assay.environments.foreign.making import TRIED
from assay.environments.foreign.vet_report import VetCheck, VetReport
from assay.environments.foreign.vetting import MILLIONS, name_subject, vet_subject
from assay.environments.foreign.world_vetting import PackageWorlds
from assay.environments.problem_file import read_problem_file
from assay.environments.tasksets.bundle import find_bundle_fault, find_data_fault
from assay.environments.tasksets.environment import NAME, TasksetArchive
from assay.environments.tasksets.wheel_file import WheelError, read_wheel

#: Tasks that are tried.
TASKS = 12
#: Length from which the order of a word's characters matters: ACD may be choices, in any order.
_WORD = 8
#: The digits of a number after the point, which a tolerance may ignore.
_FRACTION = re.compile(r"(?<=\.)[0-9]+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,3}(?:,[0-9]{3}){1,21}|[0-9]{1,64})(?:\.[0-9]{0,64})?")


def look_at_wheel(wheel: bytes, data: bytes) -> tuple[VetCheck, ...]:
    """The checks that need no code of the taskset to run. Only the last one can have failed."""
    try:
        module = read_wheel(wheel)
    except WheelError as error:
        return (VetCheck(error.check, False, error.detail),)
    looked = VetCheck("wheel", True, f"{module}: Python alone, with the digests of its RECORD")
    fault = find_data_fault(data)
    rows = len(data.removesuffix(b"\n").split(b"\n")) if data else 0
    return looked, VetCheck("data", fault is None, fault or f"{rows} rows")


def vet_bundle(
    file: Path, tasks: int = TASKS, millions: int = MILLIONS, tried: int = TRIED
) -> VetReport:
    """Vets the bundle in `file`; see `vet_package`."""
    data = read_problem_file(file)
    subject = name_subject(NAME, data, millions)
    fault = find_bundle_fault(data)
    looked = VetCheck("bundle", fault is None, fault or "one wheel and its data, within limits")
    if fault is not None:
        return VetReport(subject, (looked,))
    how = list_hostile_replies, TasksetWorlds
    checks = vet_subject(TasksetArchive, data, tasks, millions, tried, *how)
    return VetReport(subject, (looked, *checks))


class TasksetWorlds(PackageWorlds):
    """Those of a taskset with a scripted user."""

    def ask(self, kind: str, level: int, number: int) -> dict[str, Any]:
        """See `Worlds.ask`. Wrong turns are right ones of which the last has another answer."""
        if kind != "wrong turns":
            return self.archive.ask(kind, level, number)
        solved = self.archive.ask("right turns", level, number)
        if "error" in solved:
            return {"wrong": []}  # noted as what it is
        *first, _ = solved["turns"]
        bare, (before, after) = solved["bare"], solved["form"]
        numbers = [text for _, text in list_near_numbers(bare)]
        texts = ["", "true", "null", *CODE, *list_near(bare), *numbers]
        near = [f"{before}{text}{after}" for text in texts if not _is_alike(text, bare)]
        return {"wrong": [[*first, text] for text in near]}


def list_hostile_replies(
    solved: dict[str, Any], other: dict[str, Any], wrong: list[str], is_first: bool
) -> Iterator[tuple[str, ...]]:
    """See `vetting.ListHostile`."""
    right, bare = solved["answer"], solved["bare"]
    yield from (("wrong answers", text) for text in wrong if text.strip() != right)
    yield from (("hostile answers", text) for text in CODE if text != bare)
    before, after = solved["form"]
    numbers = [text for _, text in list_near_numbers(bare)]
    for text in ("", "true", "null", *wrong, *CODE, *list_near(bare), *numbers):
        if not _is_alike(text, bare):
            yield "hostile answers", f"{before}{text}{after}"
    guess = other.get("bare", "")
    if guess and not _is_alike(guess, bare):
        yield "hostile answers", f"{before}{guess}{after}"
        for separator in SEPARATORS if is_first else SEPARATORS[:6]:
            yield from _list_guesses(before, after, bare, guess, separator)
    if is_first:
        for long in write_long(bare, ANSWER_BYTES):
            yield "bounded", f"{before}{long}{after}"
        for filling in FILLINGS:
            for size in (3_000,):
                long = filling * (size // len(filling))
                yield "hostile answers", long
                yield "hostile answers", f"{before}{long}{after}"
                yield "bounded", f"{long} {right}"
                yield "bounded", f"{right} {long}"
                yield "bounded", long * (ANSWER_BYTES // 4 // len(long))


def _list_guesses(
    before: str, after: str, bare: str, guess: str, separator: str
) -> Iterator[tuple[str, ...]]:
    """Replies with two answers: two whole replies, then two answers within one."""
    right, wrong = f"{before}{bare}{after}", f"{before}{guess}{after}"
    yield "hostile answers", f"{wrong}{separator}{right}{separator}{wrong}"
    yield "hostile answers", f"{right}{separator}{wrong}", f"{wrong}{separator}{right}"
    inner = f"{bare}{separator}{guess}", f"{guess}{separator}{bare}"
    yield "hostile answers", *(f"{before}{one}{after}" for one in inner)
    yield "hostile answers", f"{before}{inner[1]}{separator}{guess}{after}"


def list_near(bare: str) -> Iterator[str]:
    """Near answers: one character more at the start, one more at the end, one changed, the first
    half only, and the reverse. Those that mean the same are left out: differences in case and white
    space, or 5 and 05."""
    spared = {place for match in _FRACTION.finditer(bare) for place in range(*match.span())}
    signs = str.isalnum if any(map(str.isalnum, bare)) else lambda sign: not sign.isspace()
    places = [n for n, sign in enumerate(bare) if signs(sign) and n not in spared]
    if not places:
        return
    first, changed, last = places[0], places[len(places) // 2], places[-1]
    while changed and bare[changed].isdecimal() and bare[changed - 1].isdecimal():
        changed -= 1  # the most significant digit
    for near in (
        bare[:first] + _draw_sign(bare[first]) + bare[first:],
        bare[: last + 1] + _draw_sign(bare[last]) + bare[last + 1 :],
        bare[:changed] + _change_sign(bare[changed]) + bare[changed + 1 :],
        bare[: places[len(places) // 2]],
        bare[::-1] if len(bare) >= _WORD and bare.isalnum() else "",  # not a list of choices
    ):
        if near and not _is_alike(near, bare):
            yield near


def _draw_sign(neighbour: str) -> str:
    if neighbour.isdecimal():
        return "1"
    return "q" if neighbour.isalnum() else neighbour


def _change_sign(sign: str) -> str:
    if sign.isdecimal():
        return str(int(sign) % 9 + 1)
    return "x" if sign.casefold() == "q" else "q"


def _is_alike(one: str, other: str) -> bool:
    """Whether two answers mean the same to a scorer that ignores case and white space, or that
    reads numbers."""
    texts = ["".join(text.casefold().split()) for text in (one, other)]
    if texts[0] == texts[1]:
        return True
    return all(map(_NUMBER.fullmatch, texts)) and Fraction(texts[0].replace(",", "")) == Fraction(
        texts[1].replace(",", "")
    )
