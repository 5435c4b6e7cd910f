"""`verifiers:SHA256`: the taskset of a wheel, and its data, made and scored in a sandbox.

A whole completion is the reply. Assay takes one thing from the rewards: that all of them are full.
No sum of floats and no partial reward counts. Code that takes too many instructions, raises, waits
or ends has not said so. Where the taskset has a scripted user, its tasks are worlds, played as
those of a package.
"""

import binascii
import zlib
from base64 import b64decode
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, TypeGuard

from assay.environments.foreign.guest_archive import ALIKE, TURNS_MAX, Chance, GuestArchive
from assay.environments.foreign.package_environment import PARAMS, PackageEnvironment
from assay.environments.kind import FromFile, Kind
from assay.environments.problem_file import FILE_MAX
from assay.environments.programs.case_runs import require_sandbox
from assay.environments.tasksets.bundle import MANIFEST, WHEEL, find_bundle_fault
from assay.environments.tasksets.inside import PROMPT_MAX, ROW_MAX, TASKS_MAX, is_prompt
from assay.protocol.parameters import MILLION
from assay.sandbox.guest.image import OUTPUT_MAX

NAME = "verifiers"
#: Increases whenever any problem or score would change.
VERSION = 7
#: Most bytes of a completion in UTF-8, thoughts included.
REPLY_BYTES = 1 << 17
#: Instructions in which all tasks are loaded. They come in several replies, and each loads them.
LOADING = 100_000 * MILLION
_PLACE = "assay.environments.tasksets"


class TasksetArchive(GuestArchive):
    """A bundle. A request's number names one of its tasks, modulo their count.

    Attributes:
        tasks: each task's data, as text of JSON.
        turns: the most of an episode: 1 without a scripted user.
    """

    work, wheel = f"{_PLACE}.inside", WHEEL

    def __init__(self, data: bytes, millions: int, chance: Chance = ALIKE) -> None:
        """See `GuestArchive`."""
        super().__init__(data, millions, chance)
        self.tasks: list[str] = []
        self.turns = 1
        if self.fault is None:
            self.fault = self._load(data)

    @classmethod
    def list_ours(cls) -> Mapping[str, str]:
        return _read_ours()

    @property
    def about(self) -> str:
        asked = f"{len(self.tasks):,} tasks"
        why = f"without a prompt of 1 to {PROMPT_MAX:,} characters of text"
        asked += f", in episodes of up to {self.turns} turns" if self.turns > 1 else ""
        return f"{asked}, {self.skipped:,} more filtered out: {why}" if self.skipped else asked

    def find_prompt_fault(self, prompt: str) -> str | None:
        if is_prompt(prompt):
            return None
        return f"a task's prompt is text of 1 to {PROMPT_MAX} characters"

    def ask(self, kind: str, *rest: Any, within: int | None = None) -> dict[str, Any]:
        if self.fault is not None or kind == "describe":
            error = {} if self.fault is None else {"error": self.fault}
            return {"levels": [1], "turns": self.turns, **error}
        _, number, *texts = rest
        task = self.tasks[number % len(self.tasks)]
        return self._ask(b"", kind, task, *texts, within=within)

    def _find_reply_fault(self, kind: str, reply: dict[str, Any]) -> str | None:
        if kind in ("solve", "right turns") and not _is_formed(reply):
            return "its reply has no answer in a form"
        return super()._find_reply_fault(kind, reply)

    def _load(self, bundle: bytes) -> str | None:
        """Load the tasks. Returns why they cannot be."""
        left, count, room = LOADING, 1, FILE_MAX
        while len(self.tasks) < count:
            reply = self._ask(bundle, "load", len(self.tasks), within=left, room=OUTPUT_MAX)
            if "error" in reply:
                return str(reply["error"])
            tasks, skipped = reply.get("tasks"), reply.get("skipped")
            if tasks == 0:
                return f"it has no task whose prompt is text of 1 to {PROMPT_MAX} characters"
            if not (_is_count(tasks) and _is_count(skipped)):
                return "it does not say how many tasks it has"
            rows = _unpack(reply["rows"], room)
            if not 1 <= len(rows) <= TASKS_MAX - len(self.tasks):
                return f"what it loads is no list of tasks, or has more than {FILE_MAX >> 20} MiB"
            if type(reply.get("turns")) is not int or not 1 <= reply["turns"] <= TURNS_MAX:
                return f"its episodes have more than {TURNS_MAX} turns"
            count, self.skipped, self.turns = tasks, skipped, reply["turns"]
            self.tasks += rows
            left, room = left - reply["instructions"], room - sum(map(len, rows))
        return None


def _is_count(number: object) -> TypeGuard[int]:
    return type(number) is int and 0 <= number <= TASKS_MAX


def _is_formed(reply: dict[str, Any]) -> bool:
    """Whether a reply says what it answers, and the text before and after that."""
    form = reply.get("form")
    texts = [reply.get("bare"), *form] if isinstance(form, list) else []
    return len(texts) == 3 and all(isinstance(text, str) for text in texts)


def _unpack(text: str, room: int) -> list[str]:
    """A reply's tasks; none if they are packed in another way, or are too many or too large. What
    packs to a megabyte may be a gigabyte, and its lines take many times that."""
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(b64decode(text), room + 1)
        if len(data) > room or data.count(b"\n") > TASKS_MAX:
            return []
        rows = data.decode("ascii").removesuffix("\n").split("\n")
        return rows if max(map(len, rows)) <= ROW_MAX else []
    except (binascii.Error, zlib.error, ValueError):
        return []


@cache
def _read_ours() -> Mapping[str, str]:
    """The modules of ours that a taskset's import: the names of their packages, which are empty,
    and their texts."""
    folder = files(__package__)
    names = "models", "surface", "conversation", "modules", "inside"
    parents = _PLACE.split(".")
    empty = {".".join(parents[: count + 1]): "" for count in range(len(parents))}
    texts = {f"{_PLACE}.{name}": folder.joinpath(f"{name}.py").read_text() for name in names}
    return empty | texts


class TasksetEnvironment(PackageEnvironment):
    """The tasks of a bundle, each equally likely. It has one level."""

    family, version = NAME, VERSION
    default = None
    find_fault = staticmethod(find_bundle_fault)
    archive = TasksetArchive

    def read_answer(self, completion: str) -> str | None:
        short = len(completion.encode("utf-8", "surrogatepass")) <= REPLY_BYTES
        return completion if short else None


KIND = Kind(
    NAME,
    VERSION,
    file=FromFile(TasksetEnvironment, PARAMS, archive=lambda first: first == MANIFEST),
    require=require_sandbox,
)
