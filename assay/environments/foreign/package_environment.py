"""`package:SHA256`: an environment from an archive on this machine. The archive's own code makes
and scores its problems in a sandbox.

An answer is the text after the only `#### `, and only that text reaches the package. Assay takes
one thing from the package's reply: that an answer is wholly right. Code that takes too many steps,
raises or dies has not said so. Code that a clock ends has given no verdict, so there is no score.
The digest includes Python's major and minor version, because sums, sorts and texts depend on them.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.environments.answer_form import AnswerForm, FormedEnvironment
from assay.environments.base import (
    BLANKS,
    PART_LEVELS,
    UNREAD,
    Answer,
    Problem,
    RewardParts,
    compute_digest,
    rate_answer,
)
from assay.environments.foreign import package_box, package_text, package_view, python_fence
from assay.environments.foreign.package_file import find_fault
from assay.environments.problem_file import ProblemFileError, find_file
from assay.protocol.prf import Stream
from assay.sandbox import (
    Budget,
    Lost,
    Sandbox,
    WorkerError,
    child,
    file_fence,
    kernel_fence,
    request_copy,
)

NAME = "package"
#: Increases whenever any problem or score would change.
VERSION = 4
#: Most levels of a package.
LEVELS_MAX = 64
#: Bytes of a child's stack. Deeper recursion ends the child.
STACK_BYTES = 8 << 20
#: Hash seed of a package's child. Vetting also uses others.
HASH_SEED = 0
#: Processor seconds of a request, and wall-clock seconds. Both are the last resort for work that
#: steps do not count: ten times the processor time that vetting allows. Tuning: a request over the
#: limit gets no verdict.
SECONDS, _PATIENCE = 20.0, 120.0
#: Processor seconds of a request in vetting: twice what vetting allows.
_VET_SECONDS = 4.0
_REPLY_MAX = 4 << 20
#: Fields of a child's reply, and their types.
_SAID = {"error": str, "prompt": str, "answer": str, "levels": list, "wrong": list}
_ATTEMPTS = 16
FORM, _ANSWER = AnswerForm.HASH, "the answer alone"


@dataclass(frozen=True, slots=True)
class PackageTask(Answer):
    """The data from which the child makes a problem again."""

    digest: str
    level: int
    number: int


class PackageChild:
    """A package in its own sandbox: its replies, or the reason for a missing reply.

    Attributes:
        dearest: most processor seconds that a request took so far.

    Args:
        seed: hash seed of the child's Python. Vetting varies it to find what depends on hashes.
        boot: Python source that serves the archive, if it is not a package's.
        copies: if True, a forked copy answers each request. If False, one process answers all, so
            that vetting finds what a package keeps.
    """

    def __init__(
        self,
        file: Path,
        digest: str,
        seed: int = HASH_SEED,
        boot: str | None = None,
        copies: bool = True,
    ) -> None:
        boot = write_boot(file, digest, seed, copies=copies) if boot is None else boot
        self._sandbox = Sandbox(f"package {file.name}", boot, _PATIENCE)
        self.dearest = 0.0

    @property
    def pid(self) -> int | None:
        return self._sandbox.pid

    def close(self) -> None:
        self._sandbox.close()

    def decide(self, *request: Any) -> dict[str, Any]:
        """The child's reply, or `error`. Counted steps decide which, never a clock.

        Raises:
            WorkerError: no child can be started, or the machine is too slow or busy to tell.
        """
        reply = self._sandbox.ask_patiently(json.dumps(request).encode(), _REPLY_MAX, SECONDS)
        if isinstance(reply, Lost):
            return {"error": reply.cause}
        return read_reply(reply)

    def ask(self, *request: Any) -> dict[str, Any]:
        """The child's reply, or `error`, with `costly` if the request took too much or ended the
        child. Vetting uses this: there CPU time counts against a package.

        Raises:
            WorkerError: no child can be started, or the machine is too busy to tell.
        """
        budget = Budget(_VET_SECONDS)
        try:
            reply = self._sandbox.ask(json.dumps(request).encode(), _REPLY_MAX, budget)
        finally:
            self.dearest = max(self.dearest, _VET_SECONDS - budget.left)
        if not isinstance(reply, Lost):
            return read_reply(reply)
        if reply.slow:
            raise WorkerError(f"a package got no CPU time: {reply.cause}")
        died = f"{reply.cause}: it may use {child.MEMORY_BYTES >> 20} MiB of memory"
        cause = "it takes too much CPU time" if reply.spent else died
        return {"error": cause, "costly": True}


class PackageEnvironment(FormedEnvironment):
    """The environment of an archive, at the levels that it names."""

    family, version = NAME, VERSION
    #: the default form of answers; None: the whole completion is one
    default: AnswerForm | None = FORM
    find_fault = staticmethod(find_fault)

    def __init__(self, digest: str, params: Mapping[str, int]) -> None:
        """Open the archive whose SHA-256 is `digest`, 64 lower-case hex digits.

        Raises:
            ValueError: `digest` is no digest, this machine has no such file, the file is no
                package, or a setting is given: there are none.
        """
        super().__init__(f"{self.family}:{digest}", self.version, {}, params, self.default)
        python = ".".join(map(str, sys.version_info[:2])).encode()
        self.digest = compute_digest(self.name, self.version, self.params, python)
        file, data = find_file(digest, self.family)
        if fault := self.find_fault(data):
            raise ProblemFileError(f"{file}: {fault}")
        self._digest, self._child = digest, self.open_child(file, digest)
        description = self._child.decide("describe")
        if fault := find_levels_fault(description):
            raise ProblemFileError(f"{file}: {fault}")
        self.levels = description["levels"]

    @staticmethod
    def open_child(file: Path, digest: str) -> PackageChild:
        return PackageChild(file, digest)

    def _draw(self, stream: Stream, level: int) -> Problem:
        """The problem of a number below 2^63, drawn again if the package makes no problem of it.

        Raises:
            WorkerError: the package makes a problem of none of the numbers, so nobody vetted it; or
                as for `score`.
        """
        cause = ""
        for _ in range(_ATTEMPTS):
            number = stream.draw_below(2**63)
            made = self._child.decide("make", level, number)
            if "prompt" in made:
                task = PackageTask(self._digest, level, number)
                request = self.write_request(_ANSWER) or "\n"
                return Problem(made["prompt"].rstrip(BLANKS), level, task, request)
            cause = made.get("error", "no prompt")
        raise WorkerError(f"{self.name} makes no problem at level {level}: {cause}")

    def score(self, problem: Problem, completion: str) -> RewardParts:
        """Correctness: the package says that the answer is wholly right.

        Raises:
            WorkerError: the machine is too slow or busy to tell. This is not the answer's fault.
        """
        task = problem.answer
        if not isinstance(task, PackageTask) or task.digest != self._digest:
            raise TypeError(f"not a problem of {self.name}: {type(task).__name__}")
        answer = self.read_answer(completion)
        if answer is None:
            return UNREAD
        reply = self._child.decide("score", task.level, task.number, answer)
        # a package does not say whether it could read a wrong answer
        return rate_answer(1) if reply.get("right") is True else UNREAD


def read_reply(reply: bytes) -> dict[str, Any]:
    """A child's reply, or `error` if no box of ours writes such a reply: a stranger's code may have
    taken over the child."""
    try:
        document = json.loads(reply)
    except (ValueError, RecursionError) as error:
        return {"error": f"its answer is not JSON: {error}"}
    if not isinstance(document, dict) or any(
        type(document.get(name, kind())) is not kind for name, kind in _SAID.items()
    ):
        return {"error": "its answer is not what was asked"}
    return document


def find_levels_fault(description: Mapping[str, Any]) -> str | None:
    """The fault of a package's reply to `describe` or of its levels. None if there is none."""
    if "error" in description:
        return f"it is not an environment: {child.clean(description['error'])}"
    levels = description.get("levels", [])
    whole = all(type(level) is int for level in levels)  # True and 2.0 equal some integers
    legal = whole and 1 <= len(levels) <= LEVELS_MAX and sorted(set(levels)) == levels
    if not legal or not 1 <= levels[0] <= levels[-1] < PART_LEVELS:
        return f"LEVELS are 1 to {LEVELS_MAX} ascending integers of 1 to {PART_LEVELS - 1}"
    return None


def write_boot(
    file: Path,
    digest: str,
    seed: int,
    more: tuple[str, ...] = (),
    work: str = "None",
    copies: bool = True,
    reads: Iterable[str] = (),
) -> str:
    """Source of a program that becomes a bare Python behind the kernel's fences: without site
    packages, with two environment variables, and with no files but Assay's own.

    Args:
        more: further files to load, as a list named `more`.
        work: Python source of the object that does the work of `PackageWork`.
        copies: see `PackageChild`.
        reads: further files that the program may open.
    """
    shut, in_copy = ("shut_around", "copies.answer_in_copy") if copies else ("shut", "None")
    ours = python_fence, child, package_text, package_view, package_box, request_copy
    files = [*(one.__file__ for one in ours), *more]
    inner = f"""
import functools, sys
from importlib.machinery import SourceFileLoader
def load(file):
    name = "assay_" + file.rpartition("/")[2].removesuffix(".py")
    module = type(sys)(name)
    SourceFileLoader(name, file).exec_module(module)
    return module
fence, *files = {files!r}
child, text = map(load, files[:2])
sys.modules[{package_text.__name__!r}] = text  # where what it finds imports it from
view, box, copies, *more = map(load, files[2:])
serve = functools.partial(child.serve, statm=int(sys.argv[1]))
of_package = {str(file.absolute())!r}, {digest!r}
box.serve_package(serve, text, view, load(fence), *of_package, {work}, {in_copy})
"""
    options = "-P", "-S", "-s", "-B", "-c", inner
    opened = [str(file.absolute()), *files, *reads]
    return f"""
import os, resource, runpy, sys
try:  # how deep native code may go is the same on every machine
    resource.setrlimit(resource.RLIMIT_STACK, ({STACK_BYTES}, {STACK_BYTES}))
except (OSError, ValueError):
    sys.exit("no stack of {STACK_BYTES >> 20} MiB is allowed here: raise its limit (ulimit -Hs)")
files, calls = (runpy.run_path(file) for file in {[file_fence.__file__, kernel_fence.__file__]!r})
statm = os.open({child.STATM!r}, os.O_RDONLY)  # behind the fence nobody opens it
os.set_inheritable(statm, True)
files["shut"]({opened!r})
try:
    calls[{shut!r}]()
except OSError as error:
    sys.exit(error.strerror)
command = [sys.executable, *{options!r}, str(statm)]
# LD_BIND_NOW: what is bound late, each copy would bind again.
os.execve(sys.executable, command, {{"PYTHONHASHSEED": "{seed}", "LD_BIND_NOW": "1"}})
"""
