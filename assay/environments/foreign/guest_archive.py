"""An archive of a stranger's Python modules, and requests to them, each in a fresh copy of the
interpreter (`assay.sandbox.guest`).

The archive's code is compiled once, in a copy that runs none of it. What a request gives depends
on the archive, the request and the instructions that it may take, and on nothing else: not on
earlier requests, the machine or its clock. `inside` runs on the other side.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from json import dumps
from typing import Any

from assay.environments.base import ANSWER_BYTES, BLANKS
from assay.environments.foreign.inside import LENGTH, RESULT
from assay.environments.programs.case_runs import OUTPUT_MAX, CaseRun, compile_program, run_counted
from assay.protocol.encoding import EncodingError, read_json
from assay.protocol.parameters import MILLION, REPLY_BYTES_MAX
from assay.sandbox.child import clean
from assay.sandbox.guest import COMPILED, Request
from assay.sandbox.guest.image import INPUT_MAX
from assay.sandbox.guest.image import OUTPUT_MAX as CODE_MAX

#: Instructions in which `inside` is compiled, and in which an archive's modules are.
_MAKING, COMPILING = 200 * MILLION, 30_000 * MILLION
#: Most characters of a prompt, and most wrong answers that a package may name for a problem.
PROMPT_MAX, WRONG_MAX = 16_384, 1_000
#: Most turns of an episode. A turn has as many bytes as an answer.
TURNS_MAX = 64
#: What a reply to each request has.
_FIELDS = {
    "describe": ("levels", list),
    "make": ("prompt", str),
    "solve": ("answer", str),
    "wrong": ("wrong", list),
    "score": ("right", bool),
    "load": ("rows", str),  # of a taskset
    "right turns": ("turns", list),  # of a package with turns, as the next two
    "wrong turns": ("wrong", list),
    "play": ("right", bool),
}
_ENDS = {
    "instructions": "it takes too many instructions",
    "input": "its code and what is asked are too large",
    "output": "it writes too much",
    "trap": "it takes too much memory or stack",
}


@dataclass(frozen=True, slots=True)
class Chance:
    """What a copy's randomness, time and addresses in memory follow from. A seed other than 0 is
    another one for each request."""

    seed: int = 0
    clock: int = 0
    clutter: int = 0


#: That of a network's copies.
ALIKE = Chance()


class GuestArchive:
    """A package. Its replies are values: what its code did not do well is an `error`.

    Safe to share between threads.

    Attributes:
        fault: why its modules cannot be compiled; None: they are.
        skipped: number of its problems that are not asked.

    Args:
        data: the archive.
        millions: millions of instructions that a request may take.

    Raises:
        WorkerError: no sandbox can run.
        ProblemFileError: there is no sandbox here.
    """

    #: The module inside that answers; empty: `inside` does, for a package.
    work = ""
    #: The archive within the archive that has the modules; empty: it has them itself.
    wheel = ""
    skipped = 0

    def __init__(self, data: bytes, millions: int, chance: Chance = ALIKE) -> None:
        self._instructions, self._chance = millions * MILLION, chance
        self._code = b""
        ours = self.list_ours()
        run = self._run("compile", data, self.wheel, ours, limit=COMPILING, room=CODE_MAX)
        self._code, self.fault = _read_reply(run)

    @property
    def about(self) -> str:
        """What it asks, and what not, in a line; empty: its levels say so."""
        return ""

    @classmethod
    def list_ours(cls) -> Mapping[str, str]:
        """Name → text of further modules that the archive's import."""
        return {}

    @classmethod
    def compute_own_digest(cls) -> bytes:
        """SHA-256 of what is Assay's own inside: instructions are counted there, too."""
        texts = [_read_inside(), *cls.list_ours().values()]
        return sha256("".join(texts).encode()).digest()

    def ask(self, kind: str, *rest: Any, within: int | None = None) -> dict[str, Any]:
        """The reply to `describe`, or to another request of `inside.answer_package`; or `error`.
        `instructions` has what it took, and `costly` is True if that was all.

        Args:
            within: most instructions, in place of the archive's own limit.
        """
        return self._ask(b"", kind, *rest, within=within)

    def find_prompt_fault(self, prompt: str) -> str | None:
        """Why a prompt cannot be asked, or None."""
        if not 1 <= len(prompt.strip(BLANKS)) <= len(prompt) <= PROMPT_MAX:
            return f"make_problem gives a prompt of 1 to {PROMPT_MAX} characters"
        if bad := [c for c in prompt if c != "\n" and not " " <= c <= "~"]:
            return f"its prompt holds U+{ord(bad[0]):04X}: printable ASCII and newlines"
        return None

    def _ask(
        self, more: bytes, kind: str, *rest: Any, within: int | None = None, room: int = OUTPUT_MAX
    ) -> dict[str, Any]:
        if self.fault is not None:
            return {"error": self.fault, "instructions": 0, "costly": False}
        arguments = len(self._code), self.work, kind, *rest
        limit = self._instructions if within is None else within
        run = self._run("ask", self._code + more, *arguments, limit=limit, room=room)
        data, fault = _read_reply(run)
        reply = {} if fault is not None else _read_document(data)
        if fault := fault or self._find_reply_fault(kind, reply):
            reply = {"error": fault}
        return reply | {"instructions": run.instructions, "costly": run.end == "instructions"}

    def _find_reply_fault(self, kind: str, reply: dict[str, Any]) -> str | None:
        """Why a reply is none to this request, whoever wrote it; or None."""
        name, type_ = _FIELDS[kind]
        value: Any = reply.get(name)
        given: type = type(value)
        if given is not type_:
            return f"its reply is no {name}, but {given.__name__}"
        if kind == "make":
            return self.find_prompt_fault(value)
        if kind == "solve" and measure_text(value) > ANSWER_BYTES:
            return f"solve gives text of at most {ANSWER_BYTES} bytes"
        if kind == "wrong" and not (
            len(value) <= WRONG_MAX and all(type(text) is str for text in value)
        ):
            return f"list_wrong gives at most {WRONG_MAX} texts"
        if kind == "right turns" and not _are_turns(value):
            return f"solve gives 1 to {TURNS_MAX} texts of at most {ANSWER_BYTES} bytes: turns"
        if kind == "wrong turns" and not (len(value) <= WRONG_MAX and all(map(_are_turns, value))):
            return f"list_wrong gives at most {WRONG_MAX} lists of turns, as solve"
        if kind == "play" and not _is_reply(reply.get("reply")):
            return f"step replies None, or text of at most {REPLY_BYTES_MAX} bytes"
        return None

    def _run(self, do: str, data: bytes, *rest: Any, limit: int, room: int) -> CaseRun:
        head = dumps([do, self._chance.clutter, *rest]).encode() + b"\n"
        seed, clock = self._chance.seed, self._chance.clock
        if seed:
            seed ^= int.from_bytes(sha256(head).digest()[:8], "big")
        request = Request(_compile_inside(), head + data, COMPILED, seed, clock)
        if len(request.data) > INPUT_MAX:
            return CaseRun(b"", "input", 0)
        return run_counted(request, limit, room)


def _read_inside() -> str:
    return files(__package__).joinpath("inside.py").read_text("utf-8")


@cache
def _compile_inside() -> bytes:
    run = compile_program(f"{_read_inside()}\nserve()\n", _MAKING)
    assert run.end == "exit 0", run.end
    return run.output


def _read_reply(run: CaseRun) -> tuple[bytes, str | None]:
    """What a run has replied, and the reason for no reply. The length stands last."""
    if run.end != "exit 0":
        return b"", _ENDS.get(run.end, f"it ended by itself: {run.end}")
    size = int.from_bytes(run.output[-LENGTH:], "big")
    reply = run.output[:-LENGTH][-size:] if size else b""
    if len(reply) != size or not reply:
        return b"", "it ended by itself"
    if reply[:1] == RESULT:
        return reply[1:], None
    return b"", clean(reply[1:].decode("utf-8", "replace")) or "an error without words"


def measure_text(text: str) -> int:
    """Bytes of a text in UTF-8, in which a lone surrogate has three."""
    return len(text.encode("utf-8", "surrogatepass"))


def _are_turns(value: Any) -> bool:
    return (
        type(value) is list
        and 1 <= len(value) <= TURNS_MAX
        and all(type(turn) is str and measure_text(turn) <= ANSWER_BYTES for turn in value)
    )


def _is_reply(value: Any) -> bool:
    return value is None or (type(value) is str and measure_text(value) <= REPLY_BYTES_MAX)


def _read_document(data: bytes) -> dict[str, Any]:
    """A reply of values as `inside` writes them. Modules may have written it themselves: they name
    no error in it, and a `fault` is a line for people."""
    try:
        document = read_json(data)
    except EncodingError:
        return {}
    if not isinstance(document, dict):
        return {}
    document.pop("error", None)
    if "fault" in document:
        document["fault"] = clean(str(document["fault"]))
    return document
