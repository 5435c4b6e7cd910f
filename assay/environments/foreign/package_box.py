"""The program of a package's sandboxed child. Only this program executes a stranger's environment.

The child loads this file by its path, not as part of `assay`, and the file imports only the
standard library, so nothing that can start a process or open a socket is in memory when a package's
code first runs. A forked copy of the process answers each request. The process itself runs none of
that code. In a copy, Python's audit hook refuses all but a few events (`python_fence`), so the code
reaches no file, no network, no process, no native library and no further import. The sandbox limits
time and memory.
"""

import codecs
import gc
import importlib
import io
import json
import sys
import types
from collections.abc import Callable
from functools import partial
from hashlib import sha256, shake_256
from importlib.machinery import ModuleSpec
from typing import Any, NoReturn

#: Most steps to make, solve or score a problem: events of `sys.settrace`, as for other scorers.
STEPS_MAX = 5_000_000
#: Most steps of a taskset to load its tasks, once: 500 for each of twenty thousand tasks.
LOAD_STEPS_MAX = 10_000_000
#: Most characters of a prompt, and most bytes of a package's own answer.
PROMPT_MAX, SOLUTION_MAX = 16_384, 1 << 15
#: Most wrong answers that a package may name for a problem.
WRONG_MAX = 1_000
#: Codecs that are loaded before a package, because none can be loaded later.
_CODECS = "ascii", "latin-1", "utf-8-sig", "utf-16-le", "utf-16-be"
#: Modules that must not be in memory: they start processes, open sockets or call native code
#: without an audit event.
_PERILOUS = "_posixsubprocess", "subprocess", "_ctypes", "ctypes", "_socket", "socket"


#: `json.dumps` in native code alone. Python's own calls functions by names that a package may have
#: changed.
_encode = vars(json.encoder)["c_make_encoder"](
    *(None, None, json.encoder.encode_basestring_ascii, None, ": ", ", ", False, False, True)
)
#: Ends a copy of this process with the given answer.
_EndWith = Callable[[bytes], NoReturn]


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


class StepsSpentError(BaseException):
    """Too many steps. A package must not catch it."""


def serve_package(
    serve: Callable[[Callable[[bytes], bytes]], NoReturn],
    text: Any,
    view: Any,
    fence: Any,
    file: str,
    digest: str,
    work: Any = None,
    in_copy: Any = None,
) -> NoReturn:
    """Run the child until its end.

    Args:
        serve: `sandbox.child.serve`.
        in_copy: see `PackageBox`.
        text, view, fence: the modules `package_text`, `package_view` and `python_fence`.
        file, digest: an archive that `package_file` has checked, and its SHA-256.
        work: replaces `PackageWork` if the archive is not a package.
    """
    with open(file, "rb") as opened:
        data = opened.read()
    if sha256(data).hexdigest() != digest:
        sys.exit(f"{file} has changed: its SHA-256 is no longer {digest}")
    work = PackageWork(text, view) if work is None else work
    for name in work.imports:
        importlib.import_module(name)
    for name in _CODECS:
        codecs.lookup(name)
    if loaded := [name for name in _PERILOUS if name in sys.modules]:
        sys.exit(f"{', '.join(loaded)} must not be loaded here")
    serve(PackageBox(data, work.find_fault, fence, work, in_copy).answer)


class SourceFinder:
    """Finds and loads the modules of a package.

    Args:
        codes: name → (code, whether the module is a package).
        view: the view of Python's modules (`package_view.PackageView`); None: all of Python.
    """

    def __init__(self, codes: dict[str, tuple[Any, bool]], view: Any = None) -> None:
        self._codes, self._view = codes, view
        self._specs = {
            name: ModuleSpec(name, self, is_package=is_package)  # type: ignore[arg-type]
            for name, (_, is_package) in codes.items()
        }
        if view is not None:
            view.load = self.load

    def load(self, name: str) -> None:
        """Load a module of the package, so that its import need not: importlib takes hundreds of
        steps for that."""
        if name in sys.modules or name not in self._specs:
            return
        parent, _, last = name.rpartition(".")
        if parent:
            self.load(parent)
            if name in sys.modules or not hasattr(sys.modules.get(parent), "__path__"):
                return
        spec, module = self._specs[name], types.ModuleType(name)
        vars(module).update(__spec__=spec, __loader__=self, __package__=spec.parent)
        if self._codes[name][1]:
            vars(module)["__path__"] = []
        sys.modules[name] = module
        try:
            self.exec_module(module)
        except BaseException:
            sys.modules.pop(name, None)
            raise
        if parent:
            vars(sys.modules[parent])[last] = module

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        return self._specs.get(name)

    def create_module(self, spec: object) -> None:
        return None

    def exec_module(self, module: Any) -> None:
        if self._view is not None:
            module.__dict__["__builtins__"] = self._view.builtins
        exec(self._codes[module.__name__][0], module.__dict__)


class PackageWork:
    """Loads a package and answers requests to it. Other kinds of archives have their own class.

    Args:
        text, view: the modules `package_text` and `package_view`; None: the maker of the box checks
            the text, and the package sees all of Python.
    """

    def __init__(self, text: Any = None, view: Any = None) -> None:
        self.imports: tuple[str, ...] = text.ALLOWED if text else ()
        self._view = view
        self.text, self.find_fault = text, text.find_text_fault if text else None

    def make_view(self, own_names: frozenset[str]) -> Any:
        """The view of Python that the modules named `own_names` have; None: all of Python."""
        return self._view.PackageView(self.text.ALLOWED, own_names) if self._view else None

    def unpack(self, data: bytes) -> Any:
        """The archive's content as JSON values. The first is the result of `read_sources`."""
        return [read_sources(data)]

    def take(self, unpacked: Any) -> tuple[dict[str, tuple[str, bool]], str]:
        """The modules and the top module's name, from the result of `unpack`."""
        sources, top = unpacked[0]
        return sources, top

    def renew(self) -> None:
        """Called before the archive's modules are loaded again."""

    def fix_chance(self) -> None:
        """Called before any copy, and first in each copy, so that draws without a seed are the same
        everywhere."""

    def begin(self, load: Callable[[], Any]) -> Any:
        """Called once in a copy, before the first request, with a limit of steps of its own.
        Returns JSON values for `go_on`."""

    def go_on(self, known: Any) -> None:
        """Called with the result of `begin`, in the process that makes copies."""

    def say(self, module: Any, kind: str, rest: list[Any]) -> dict[str, Any]:
        """Answer `["describe"]`, `["make", level, number]`, `["solve", …]`, `["wrong", …]` or
        `["score", …, text]`."""
        if kind == "describe":
            levels = list(module.LEVELS)
            if not all(type(level) is int and 0 < level < 1 << 31 for level in levels):
                raise ValueError("LEVELS are integers of 1 to 2^31")
            return {"levels": levels}
        prompt, task = _make_task(module, rest[0], rest[1])
        if kind == "make":
            return {"prompt": prompt}
        if kind == "solve":
            solution = module.solve(task)
            if type(solution) is not str or len(solution.encode()) > SOLUTION_MAX:
                raise ValueError(f"solve gives text of at most {SOLUTION_MAX} bytes")
            return {"answer": solution}
        if kind == "wrong":
            wrong = list(module.list_wrong(task))
            if len(wrong) > WRONG_MAX or not all(type(text) is str for text in wrong):
                raise ValueError(f"list_wrong gives at most {WRONG_MAX} texts")
            return {"wrong": wrong}
        return {"right": module.score(task, rest[2]) is True}


class PackageBox:
    """Answers requests. It loads the package again for each, so no request sees another's traces.

    Args:
        fence: the module `python_fence`, for this box alone. Once the fence is shut, the box
            empties and drops the module, so that nothing of it can be found.
        in_copy: calls a function on a request in a forked copy of this process, like
            `request_copy.answer_in_copy`; None: requests are answered here.
    """

    def __init__(
        self,
        data: bytes,
        find_fault: Callable[[str, str], str | None],
        fence: Any,
        work: Any = None,
        in_copy: Callable[[Callable[[bytes, _EndWith], bytes], bytes], bytes] | None = None,
    ) -> None:
        self._data, self._find_fault, self._fence = data, find_fault, fence
        self._work = PackageWork() if work is None else work
        self._in_copy = in_copy
        self._codes: dict[str, tuple[Any, bool]] = {}
        self._top = ""
        self._view: Any = None
        self._finder: Any = None
        self._own: frozenset[str] = frozenset()
        self._fault: str | None = None
        self._counter = StepCounter()
        self._of_machine: list[tuple[dict[str, Any], str]] = []

    def answer(self, request: bytes) -> bytes:
        """Answer a request that the box's work knows, both in JSON."""
        if not self._codes and self._fault is None:
            self._fault = self._prepare() or self._begin()
            gc.collect()
            gc.freeze()  # no collection in a copy visits these objects
            gc.disable()
        if self._fault is not None:
            return _pack({"error": self._fault})
        return self._run(self._answer_one, request)

    def _run(self, answer: Callable[[bytes, _EndWith | None], bytes], request: bytes) -> bytes:
        return answer(request, None) if self._in_copy is None else self._in_copy(answer, request)

    def _answer_one(self, request: bytes, end_with: _EndWith | None) -> bytes:
        gc.freeze()  # the collector counts from zero, whatever came before
        gc.enable()
        kind, *rest = json.loads(request)
        self._shut()
        reply, steps = self._count(lambda: self._work.say(self._load(), kind, rest), end_with)
        return reply[:-1] + f', "steps": {steps}}}'.encode() if steps else reply

    def _count(
        self, do: Callable[[], Any], end_with: _EndWith | None, most: int = STEPS_MAX
    ) -> tuple[bytes, int]:
        """The packed result and its steps; or the packed reason for no result, and 0."""
        spent = _pack({"error": f"more than {most:,} steps", "costly": True})
        if end_with is not None:
            self._counter.end = partial(end_with, spent)
        try:
            if self._in_copy is None:  # in a copy nobody can have changed anything
                self._work.renew()
            reply, has_failed = self._counter.count(lambda: say_or_fail(do), most)
            return reply, 0 if has_failed else self._counter.steps
        except StepsSpentError:
            return spent, 0

    def _begin(self) -> str | None:
        reply = json.loads(self._run(self._begin_once, b""))
        if "error" in reply:
            return str(reply["error"])
        self._work.go_on(reply["known"])
        return None

    def _begin_once(self, _: bytes, end_with: _EndWith | None) -> bytes:
        self._shut()
        begin = partial(self._work.begin, self._load)
        return self._count(lambda: {"known": begin()}, end_with, LOAD_STEPS_MAX)[0]

    def _prepare(self) -> str | None:
        """Read and compile the archive. Returns the fault of its text, or None."""
        unpacked = json.loads(self._run(self._unpack, b""))
        if isinstance(unpacked, str):
            return f"the archive cannot be read: {unpacked}"
        sources, self._top = self._work.take(unpacked)
        if self._in_copy is not None:
            self._work.fix_chance()
        for name, (source, is_package) in sources.items():
            if fault := self._find_fault(source, self._top):
                return f"{name}, {fault}"
            try:
                code = self._compile(source, f"<{name}>")
            except SyntaxError as error:  # parsing alone does not find these
                self._codes.clear()
                return f"{name}, line {error.lineno}: {error.msg}"
            except (ValueError, RecursionError, MemoryError) as error:
                self._codes.clear()
                return f"{name}: {type(error).__name__}: {error}"
            self._codes[name] = code, is_package
        self._own = frozenset(sources)
        self._view = self._work.make_view(self._own)
        if self._view is not None and self._in_copy is not None:
            self._view.make_all()
        self._finder = SourceFinder(self._codes, self._view)
        sys.meta_path.insert(0, self._finder)
        if self._in_copy is not None:
            self._of_machine = self._fence.hide_machine()
        return None

    def _compile(self, source: str, file: str) -> Any:
        if self._work.text:
            return self._work.text.compile_guarded(source, file)
        return compile(source, file, "exec", dont_inherit=True)

    def _unpack(self, _: bytes, __: _EndWith | None) -> bytes:
        """Read the archive, also in a copy: the modules that do so would slow each later copy."""
        import zipfile
        import zlib

        try:
            return json.dumps(self._work.unpack(self._data)).encode()
        except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError) as error:
            return json.dumps(str(error)).encode()

    def _shut(self) -> None:
        """Shut the fence in this process."""
        if self._fence is not None:
            if self._in_copy is not None:
                self._work.fix_chance()
            find_word = self._work.text.find_written_word if self._work.text else None
            hook, self._counter.allow_trace = self._fence.make_hook(self._own, find_word)
            sys.addaudithook(hook)
            self._fence.hide_sys()
            vars(self._fence).clear()  # the hook holds what it needs
            self._fence = None
            for names, name in self._of_machine:
                names.pop(name, None)

    def _load(self) -> Any:
        if self._in_copy is None:
            for name in self._codes:
                sys.modules.pop(name, None)
            if self._view is not None:
                self._view.renew()
        self._finder.load(self._top)
        return sys.modules[self._top]


def _make_task(module: Any, level: int, number: int) -> tuple[str, Any]:
    prompt, task = module.make_problem(Draw(level, number), level)
    if type(prompt) is not str or not 1 <= len(prompt.strip()) <= len(prompt) <= PROMPT_MAX:
        raise ValueError(f"make_problem gives a prompt of 1 to {PROMPT_MAX} characters")
    if bad := [c for c in prompt if c != "\n" and not " " <= c <= "~"]:
        raise ValueError(f"its prompt holds U+{ord(bad[0]):04X}: printable ASCII and newlines")
    return prompt, task


def say_or_fail(do: Callable[[], dict[str, Any]]) -> tuple[bytes, bool]:
    """The packed result of `do` or the packed reason for none, and whether there is none.

    Steps are counted meanwhile: a stranger's code may make an error's text, and may run when the
    error's frames end. For the same reason nothing here calls `_pack`, which would be steps.
    """
    try:
        return "".join(_encode(do(), 0)).encode(), False
    except (MemoryError, StepsSpentError):
        raise
    except BaseException as error:  # noqa: BLE001 - a stranger's code may raise anything
        name = type(error).__name__
        try:
            return "".join(_encode({"error": f"{name}: {error}"[:300]}, 0)).encode(), True
        except (MemoryError, StepsSpentError):
            raise
        except BaseException:  # noqa: BLE001
            return "".join(_encode({"error": name}, 0)).encode(), True


class StepCounter:
    """Counts steps: a line begun, a function entered or left, an exception passing.

    Attributes:
        steps: steps of the last work, whether it finished or not.
        allow_trace: called before each call of `sys.settrace`; see `python_fence`.
        end: ends this process once the steps are spent. None: the counter raises, but code that
            catches everything in a loop then runs on uncounted.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.end: Callable[[], NoReturn] | None = None
        self.allow_trace: Callable[[object], object] = id
        self._set_trace, self._get_trace = sys.settrace, sys.gettrace

    def count(self, work: Callable[[], Any], most: int = STEPS_MAX) -> Any:
        """Return the result of `work`.

        Raises:
            StepsSpentError: it took more than `most` steps, or caught this error and ran on
                uncounted.
        """
        steps = 0
        # Local names: code that finds this module's names changes nothing here.
        spent, allow, end = StepsSpentError, self.allow_trace, self.end
        set_trace, get_trace = self._set_trace, self._get_trace

        def trace(frame: object, event: str, argument: object) -> Any:
            nonlocal steps
            steps += 1
            if steps > most:
                if end is not None:
                    end()
                allow(True)  # Python ends a trace that raises
                raise spent
            return trace

        allow(True)
        set_trace(trace)
        try:
            result = work()
            if get_trace() is not trace:
                raise spent
            return result
        finally:
            allow(True)
            set_trace(None)
            self.steps = steps


def read_sources(data: bytes) -> tuple[dict[str, tuple[str, bool]], str]:
    """Module → (text, whether it is a package) of a checked archive, and the top module's name."""
    import zipfile

    sources = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in sorted(archive.namelist()):
            if not name.endswith(".py"):
                continue
            module = name.removesuffix(".py").replace("/", ".")
            package = module.endswith(".__init__")
            sources[module.removesuffix(".__init__")] = archive.read(name).decode(), package
    return sources, min(sources, key=len)


def _pack(reply: dict[str, Any]) -> bytes:
    return "".join(_encode(reply, 0)).encode()
