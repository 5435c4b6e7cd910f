"""Runs inside the interpreter: compiles an archive's modules, and answers one request to them. It
never runs outside.

The modules are ordinary ones, and nothing is forbidden to them: there is nothing to reach. What
they print is not written. The reply ends in its length, so whatever else they write stands before
it. Nothing here has to withstand them: an archive decides its own replies.
"""

import importlib
import io
import json
import marshal
import os
import sys
from collections.abc import Mapping
from hashlib import shake_256
from importlib.machinery import ModuleSpec
from types import TracebackType
from typing import Any, NoReturn

#: First byte of a reply: a result, or the reason for none.
RESULT, ERROR = b"+", b"-"
#: Bytes of a reply's length, and most bytes of a reason.
LENGTH, ERROR_MAX = 4, 300
#: Names that an archive's modules cannot have, besides those of Python's own.
_TAKEN = frozenset({"__main__", "assay", "verifiers", "datasets", "pydantic"})


class Draw:
    """`draw(n)`: the next of a problem's integers, uniform in [0, n), n at most 2^64."""

    def __init__(self, level: int, number: int) -> None:
        self._seed = level.to_bytes(8, "big") + number.to_bytes(8, "big")
        self._count = 0

    def __call__(self, bound: int) -> int:
        if type(bound) is not int or not 1 <= bound <= 1 << 64:
            raise ValueError(f"draw({bound!r}): an integer from 1 to 2^64 is drawn below")
        limit = (1 << 64) - (1 << 64) % bound
        while True:
            text = self._seed + self._count.to_bytes(8, "big")
            self._count += 1
            word = int.from_bytes(shake_256(text).digest(8), "big")
            if word < limit:
                return word % bound


def find_name_fault(name: str) -> str | None:
    """Why an archive's module cannot have this name, or None."""
    taken = name in _TAKEN or name in sys.stdlib_module_names
    return f"{name} is the name of a module of Python or of Assay" if taken else None


def serve() -> NoReturn:
    """Answer one request: a line of JSON, and bytes behind it. The line has what to do, how many
    objects to make first, so that later ones lie elsewhere in memory, and arguments."""
    do, clutter, *rest = json.loads(sys.stdin.buffer.readline())
    data = sys.stdin.buffer.read()
    kept = [(object(), float(n), bytes(n % 480), [n]) for n in range(clutter)]
    try:
        if do == "compile":
            reply = RESULT + compile_archive(data, *rest)
        else:
            reply = RESULT + answer(data, *rest)
    except BaseException as error:  # noqa: BLE001 - a stranger's code may raise anything
        reply = ERROR + _describe(error)
    del kept
    os.write(1, reply + len(reply).to_bytes(LENGTH, "big"))
    os._exit(0)


def compile_archive(data: bytes, wheel: str, ours: Mapping[str, str]) -> bytes:
    """The code of an archive's modules, for `answer`: top module, and name → (whether it is a
    package, code). Runs none of it.

    Args:
        wheel: the archive within `data` that has the modules; empty: it is `data`.
        ours: name → text of further modules, of Assay's own.
    """
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        data = archive.read(wheel) if wheel else data
    codes = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for path in sorted(archive.namelist()):
            if path.endswith(".py"):
                name = path.removesuffix(".py").replace("/", ".")
                is_package = name.endswith(".__init__")
                code = _compile(archive.read(path), path)
                codes[name.removesuffix(".__init__")] = is_package, code
    top = min(codes, key=len)
    if fault := find_name_fault(top):
        raise ImportError(fault)
    for name, text in ours.items():
        codes[name] = not text, _compile(text.encode(), f"{name}.py")
    return marshal.dumps((top, codes))


def _compile(text: bytes, path: str) -> bytes:
    try:
        return marshal.dumps(compile(text, path, "exec", 0, True))
    except SyntaxError as error:
        raise ImportError(f"{path}, line {error.lineno or 1}: {error.msg}") from None


def answer(data: bytes, size: int, work: str, kind: str, *rest: Any) -> bytes:
    """Load an archive, and answer a request to it.

    Args:
        data: the archive's code, `size` bytes, and what the request is about.
        work: module that answers, as `answer_package` does; empty: that.
    """
    top, codes = marshal.loads(data[:size])
    sys.meta_path.insert(0, ArchiveFinder(codes))
    reply = importlib.import_module(work).answer if work else answer_package
    return json.dumps(reply(top, data[size:], kind, *rest)).encode()


class ArchiveFinder:
    """Finds and loads modules of compiled code."""

    def __init__(self, codes: Mapping[str, tuple[bool, bytes]]) -> None:
        self._codes = codes

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        if name not in self._codes:
            return None
        return ModuleSpec(name, self, is_package=self._codes[name][0])  # type: ignore[arg-type]

    def create_module(self, spec: object) -> None:
        return None

    def exec_module(self, module: Any) -> None:
        exec(marshal.loads(self._codes[module.__name__][1]), vars(module))


def answer_package(top: str, _: bytes, kind: str, *rest: Any) -> dict[str, Any]:
    """The reply to `describe`; or to `make`, `solve`, `wrong` with a level and a number; or to
    `score` with these and an answer. Of a package with turns, in place of the last three: to
    `right turns` and `wrong turns`, or to `play` with all turns of an episode so far."""
    module = importlib.import_module(top)
    if kind == "describe":
        return {"levels": list(module.LEVELS), "turns": getattr(module, "TURNS", 1)}
    level, number, *texts = rest
    prompt, task = module.make_problem(Draw(level, number), level)
    if kind == "make":
        return {"prompt": prompt}
    if kind == "solve":
        return {"answer": module.solve(task)}
    if kind == "wrong":
        return {"wrong": list(module.list_wrong(task))}
    if kind == "right turns":
        return {"turns": module.solve(task)}
    if kind == "wrong turns":
        return {"wrong": list(module.list_wrong(task))}
    if kind == "play":
        return _play(module, task, *texts)
    return {"right": module.score(task, texts[0]) is True}


def _play(module: Any, task: Any, turns: list[str]) -> dict[str, Any]:
    """What a world says to the last of an episode's turns, from its start, and whether the episode
    is right if it ends there."""
    state, said = module.begin(task), None
    for turn in turns:
        state, said = module.step(state, turn)
        if said is None:
            break
    return {"reply": said, "right": module.score(state) is True}


def _describe(error: BaseException) -> bytes:
    """An error in one line, with the last place in the archive where it passed."""
    try:
        text = f"{_find_place(error.__traceback__)}{type(error).__name__}: {error}"
        return text.encode("utf-8", "replace")[:ERROR_MAX]
    except BaseException:  # noqa: BLE001 - its text is made by a stranger's code, too
        return b"an error without words"


def _find_place(trace: TracebackType | None) -> str:
    place = ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        # neither Python's own nor Assay's
        if file.endswith(".py") and not file.startswith(("/", "program.", "assay.")):
            place = f"{file}, line {trace.tb_lineno}: "
        trace = trace.tb_next
    return place
