"""Whether a taskset of verifiers is fit to pay by: looked at, then tried as others are.

A reply is prose around an answer, so words beside a right one are no defect. A defect is what earns
without knowing: a prompt said back, an answer between two others, two answers that earn in either
order, an answer that is nearly right.
"""

import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from assay.environments.base import ANSWER_BYTES
from assay.environments.foreign import VetCheck, VetReport, vet_subject
from assay.environments.foreign.hostile_answers import CODE, FILLINGS, SEPARATORS, write_long
from assay.environments.tasksets.taskset_bundle import find_data_fault
from assay.environments.tasksets.taskset_environment import NAME, open_taskset
from assay.environments.tasksets.wheel_file import WheelError, read_wheel

#: Tasks that are tried.
TASKS = 12
_WORD = re.compile(r"[A-Za-z0-9]{1,64}")


def look_at_wheel(wheel: bytes, data: bytes) -> tuple[VetCheck, ...]:
    """What can be said before any of it runs; the last has failed, or none has."""
    try:
        module = read_wheel(wheel)
    except WheelError as error:
        return (VetCheck(error.check, False, error.detail),)
    looked = VetCheck("wheel", True, f"{module}: Python alone, with the digests of its RECORD")
    fault = find_data_fault(data)
    rows = len(data.removesuffix(b"\n").split(b"\n")) if data else 0
    return looked, VetCheck("data", fault is None, fault or f"{rows} rows")


def vet_bundle(file: Path, tasks: int = TASKS) -> VetReport:
    """Raises OSError: the file cannot be read; WorkerError: no child can be run."""
    digest = sha256(file.read_bytes()).hexdigest()
    checks = vet_subject(
        lambda seed: open_taskset(file, digest, seed, copies=False), tasks, list_hostile_replies
    )
    return VetReport(f"{NAME}:{digest}", checks)


def list_hostile_replies(
    solved: dict[str, Any], other: dict[str, Any], wrong: list[str], is_first: bool
) -> Iterator[tuple[str, ...]]:
    """See `vetting.ListHostile`."""
    right, bare = solved["answer"], solved["bare"]
    yield from (("wrong answers", text) for text in wrong if text.strip() != right)
    yield from (("hostile answers", text) for text in CODE if text != bare)
    before, after = solved["form"]
    if _WORD.fullmatch(bare):
        more = "1" if bare[-1].isdigit() else "q"
        for near in (f"{bare}{more}", f"{more}{bare}"):
            yield "hostile answers", f"{before}{near}{after}"
    guess = other.get("bare", "")
    if guess and not _is_alike(guess, bare):
        yield "hostile answers", f"{before}{guess}{after}"
        for separator in SEPARATORS if is_first else SEPARATORS[:6]:
            yield from _list_guesses(before, after, bare, guess, separator)
    if is_first:
        for long in write_long(bare, ANSWER_BYTES):
            yield "bounded", f"{before}{long}{after}"
        for filling in FILLINGS:
            for size in (256, 3_000):
                long = filling * (size // len(filling))
                yield "hostile answers", long
                yield "hostile answers", f"{before}{long}{after}"
                yield "bounded", f"{long} {right}"
                yield "bounded", f"{right} {long}"
                yield "bounded", long * (ANSWER_BYTES // 4 // len(long))


def _list_guesses(
    before: str, after: str, bare: str, guess: str, separator: str
) -> Iterator[tuple[str, ...]]:
    """Two answers at once: whole replies, then within one."""
    right, wrong = f"{before}{bare}{after}", f"{before}{guess}{after}"
    yield "hostile answers", f"{wrong}{separator}{right}{separator}{wrong}"
    yield "hostile answers", f"{right}{separator}{wrong}", f"{wrong}{separator}{right}"
    inner = f"{bare}{separator}{guess}", f"{guess}{separator}{bare}"
    yield "hostile answers", *(f"{before}{one}{after}" for one in inner)
    yield "hostile answers", f"{before}{inner[1]}{separator}{guess}{after}"


def _is_alike(one: str, other: str) -> bool:
    return one.strip().casefold() == other.strip().casefold()
