"""The work of a taskset's sandboxed child: it loads the tasks once, and scores replies to them.

It runs within `foreign/package_box.py`, which provides the fence, the steps and the audit. This
file is loaded by its path and imports only the standard library.
"""

import ast
import decimal
import io
import itertools
import json
import random
import re
import sys
import types
from collections.abc import Callable, Iterator, Set
from hashlib import sha256
from typing import Any

#: Modules that a taskset may import in addition to a package's: the standard library's, and
#: Assay's.
MORE = ("ast", "decimal", "difflib", "inspect", "random", "statistics", "unicodedata")
OFFERED = (
    *("verifiers.v1", "verifiers.v1.utils", "verifiers.v1.utils.score", "datasets", "pydantic"),
    *("random", "difflib", "decimal", "statistics", "unicodedata", "ast"),
)
_PLACE = "assay.environments.tasksets."
#: Tasks that are asked, from the first on; and if the taskset says that it has no end.
TASKS_MAX, ENDLESS_MAX = 20_000, 1_000
#: Most characters of a prompt; most replies tried in search of a right one.
PROMPT_MAX, TRIES_MAX = 16_384, 96
#: As `assay.environments.base.BLANKS`.
_BLANKS = " \t\r\n"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_TAG = re.compile(r"<([A-Za-z][A-Za-z0-9_-]{0,40})>")
#: Fields that every task has. None holds its answer.
_COMMON = {
    *("idx", "id", "name", "description", "prompt", "system_prompt", "image", "workdir"),
    *("network_allow", "network_block", "artifacts", "timeout", "resources", "agent_user"),
    *("skills", "artifact_max_bytes"),
}
_SEED: Any = vars(random.Random.__mro__[1])["seed"]
#: Methods that verifiers calls outside of a reply → what each needs.
_HOOKS = {
    "setup": "a runtime",
    "finalize": "a runtime",
    "stage_verifier": "a runtime",
    "runtime_env": "a runtime",
    "toolsets": "tools",
    "score": "a scorer of its own",
    "plugged_judges": "a judge",
    "hooks": "a scorer of its own",
    "__init__": "what is not in its data",
}


#: Part of verifiers → what it provides.
_PARTS = {
    "tasksets": "several turns or a runtime",
    "harnesses": "a harness",
    "runtimes": "a runtime",
    "mcp": "tools",
    "judges": "a judge",
}


class TasksetWork:
    """The work of `PackageWork` for a bundle: a wheel and its data.

    Args:
        text, view, box: the modules `package_text`, `package_view` and `package_box`.
        files: paths of `models`, `surface` and `modules`.
    """

    def __init__(self, text: Any, view: Any, box: Any, files: list[str]) -> None:
        self.imports = (*text.ALLOWED, *MORE)
        self.text, self._view, self._box = text, view, box
        self._codes: dict[str, Any] = {}
        for file in files:
            with open(file) as opened:
                code = compile(opened.read(), file, "exec", dont_inherit=True)
            self._codes[_PLACE + file.rpartition("/")[2].removesuffix(".py")] = code
        self._surface: Any = None
        self._decimals = decimal.DefaultContext.copy()
        self._lacking: dict[str, str] = {}
        self._data = ""
        self._rows: list[str] = []
        self._skipped = 0

    def find_fault(self, source: str, top: str) -> str | None:
        """The first thing that needs more than a reply, else the first that a fence refuses, or
        None."""
        allowed = (*self.text.ALLOWED, *OFFERED)
        fault: str | None = self.text.find_text_fault(source, top, allowed)
        return fault and (_find_need(source, self._lacking) or fault)

    def make_view(self, own_names: frozenset[str]) -> Any:
        """The Python that a taskset sees. The parts of verifiers in it are made for it."""
        here = [name for name in OFFERED if name not in sys.stdlib_module_names]
        public = [name for name in OFFERED if name not in here]
        return self._view.PackageView((*self.text.ALLOWED, *public), own_names | set(here))

    def unpack(self, data: bytes) -> Any:
        import zipfile

        with zipfile.ZipFile(io.BytesIO(data)) as bundle:
            digests = json.loads(bundle.read("verifiers.json"))
            wheel, rows = bundle.read("taskset.whl"), bundle.read("data.jsonl")
        for name, one in (("wheel", wheel), ("data", rows)):
            if sha256(one).hexdigest() != digests[name]:
                raise ValueError(f"its {name} has not the digest that it names")
        return [self._box.read_sources(wheel), rows.decode()]

    def take(self, unpacked: Any) -> tuple[dict[str, tuple[str, bool]], str]:
        (sources, top), self._data = unpacked
        self.renew()
        return sources, top

    def renew(self) -> None:
        """Makes anew the modules that tasksets import, so that no change in them stays. Without a
        seed, randomness differs each time, so vetting finds it; see `fix_chance`."""
        random.seed()
        decimal.setcontext(self._decimals.copy())
        for name, code in self._codes.items():
            module: Any = types.ModuleType(name)
            sys.modules[name] = module  # where the next of them finds it
            exec(code, vars(module))
        self._surface = sys.modules[f"{_PLACE}surface"]
        self._lacking = module.LACKING
        module.install(self._data)

    def fix_chance(self) -> None:
        """Fixes randomness that vetting did not find, so that every machine of a network decides
        alike."""
        kind: Any = random.Random.__mro__[1]  # whose native part asks the machine for a seed
        if kind.seed is not _seed_alike:  # once, and not in each copy: a changed type is dear
            kind.seed, kind.__init__ = _seed_alike, _init_alike
        random.seed()  # in each copy, too: Python seeds it anew in a child

    def begin(self, load: Callable[[], Any]) -> Any:
        """Loads the tasks and gives their data alone. Each task is made again from its data when
        asked."""
        taskset, kind = self._open(load())
        most = ENDLESS_MAX if taskset.INFINITE else TASKS_MAX
        for index, task in enumerate(itertools.islice(taskset.load(), most)):
            if type(task) is not kind:
                raise TypeError(f"a task is a {type(task).__name__}, not a {kind.__name__}")
            data = task.with_data(idx=index).data
            _require_bare(data)
            if not _is_prompt(self._write_prompt(data)):
                self._skipped += 1
                continue
            self._rows.append(json.dumps(data.model_dump()))
        if not self._rows:
            raise ValueError(f"it has no task whose prompt is text of 1 to {PROMPT_MAX} characters")
        return [self._skipped, *self._rows]

    def go_on(self, known: Any) -> None:
        self._skipped, *self._rows = known

    def say(self, module: Any, kind: str, rest: list[Any]) -> dict[str, Any]:
        """The reply to a request, as in `PackageWork`. A number names a task, modulo their
        count."""
        if kind == "describe":
            return {"levels": [1], "tasks": len(self._rows), "skipped": self._skipped}
        taskset, task_type = self._open(module)
        row = json.loads(self._rows[rest[1] % len(self._rows)])
        data = task_type.data_type()(**row)
        config = taskset.config.task
        if not isinstance(config, task_type.config_type()):
            config = None
        task = task_type(data, config)
        if kind == "make":
            return {"prompt": self._write_prompt(data)}
        if kind == "solve":
            return self._solve(task)
        if kind == "wrong":
            texts = ["", data.prompt_text, data.system_prompt or "", self._write_prompt(data)]
            return {"wrong": sorted(set(texts))}
        rewards = self._surface.score_reply(task, rest[2])
        fault = self._surface.find_range_fault(rewards)
        if fault is not None:
            return {"right": False, "fault": fault}
        return {"right": self._surface.is_full(rewards), "rewards": rewards}

    def _open(self, module: Any) -> tuple[Any, Any]:
        """The taskset that a module exports, with its defaults, and the type of its tasks."""
        surface = self._surface
        names = vars(module).get("__all__")
        if names is None:
            raise ValueError("the package names no __all__: verifiers finds no taskset in it")
        offered = [vars(module).get(name) for name in names]
        kinds: list[Any] = [
            one for one in offered if isinstance(one, type) and issubclass(one, surface.VfTaskset)
        ]
        if len(kinds) != 1:
            raise ValueError(f"its __all__ names {len(kinds)} tasksets: one is asked")
        task_type = kinds[0].task_type()
        overrides = [
            (kinds[0], name) for name in _find_own(kinds[0], surface.VfTaskset, {"toolsets"})
        ]
        overrides += [
            (task_type, name) for name in _find_own(task_type, surface.VfTask, _HOOKS.keys())
        ]
        if overrides:
            one, name = overrides[0]
            raise PermissionError(f"{one.__name__}.{name}: it needs {_HOOKS[name]}")
        if task_type.NEEDS_CONTAINER:
            raise PermissionError(f"{task_type.__name__} needs a container")
        return kinds[0](kinds[0].config_type()()), task_type

    def _write_prompt(self, data: Any) -> str:
        """The system prompt and the messages as one text."""
        if data.prompt is None:
            raise PermissionError("a task has no prompt: somebody else opens, in several turns")
        parts = [data.system_prompt, data.prompt_text]
        return "\n\n".join(part for part in parts if part).rstrip(_BLANKS)

    def _solve(self, task: Any) -> dict[str, Any]:
        """A reply that earns in full, made from the task's data.

        Raises:
            LookupError: no reply does.
        """
        best, tried = "", 0
        for bare, before, after in itertools.islice(_list_replies(task.data), TRIES_MAX):
            rewards = self._surface.score_reply(task, f"{before}{bare}{after}")
            if fault := self._surface.find_range_fault(rewards):
                raise ValueError(fault)
            if self._surface.is_full(rewards):
                form = [before, after]
                return {"answer": f"{before}{bare}{after}", "bare": bare, "form": form}
            summary = ", ".join(
                f"{name} {score:.3g}" for name, (score, _) in sorted(rewards.items())
            )
            tried, best = tried + 1, max(best, summary)
        raise LookupError(f"no reply made of its data earns in full, of {tried}; at best {best}")


def _seed_alike(self: Any, a: Any = None) -> None:
    _SEED(self, 0 if a is None else a)


def _init_alike(self: Any, a: Any = None) -> None:
    _SEED(self, 0 if a is None else a)


def _find_need(source: str, lacking: dict[str, str]) -> str | None:
    """A part of verifiers that is missing here and that a module uses or its rewards take; or
    None."""
    try:
        nodes: list[Any] = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for node in nodes:
        name = getattr(node, "attr", None)
        if name in lacking and isinstance(getattr(node, "value", None), ast.Name):
            return f"line {node.lineno}: {node.value.id}.{name} needs {lacking[name]}"
        if isinstance(node, ast.AsyncFunctionDef):
            asked = node.args.args[: len(node.args.args) - len(node.args.defaults)]
            if any(one.arg == "runtime" for one in asked):
                return f"line {node.lineno}: {node.name} needs a runtime"
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("verifiers.v1."):
            what = (node.module or "").split(".")[2]
            if what in _PARTS:
                return f"line {node.lineno}: {node.module} needs {_PARTS[what]}"
    return None


def _find_own(kind: Any, base: Any, names: Set[str]) -> list[str]:
    """Those of `names` that a class, or a base of it, defines in place of `base`."""
    defined: set[str] = set()
    for one in kind.__mro__:
        if one is base:
            names = names - vars(base).keys()
        defined |= vars(one).keys() & names
    return sorted(defined)


def _require_bare(data: Any) -> None:
    """Raises PermissionError if the task needs more than a question and a reply."""
    for name in ("image", "workdir", "agent_user", "skills", "artifacts"):
        if getattr(data, name):
            raise PermissionError(f"a task has {name}: it needs a runtime")


def _is_prompt(text: str) -> bool:
    return 1 <= len(text.strip(_BLANKS)) <= len(text) <= PROMPT_MAX and not _CONTROL.search(text)


def _list_replies(data: Any) -> Iterator[tuple[str, str, str]]:
    """Possible answers in the task's data, each with a text before and a text after it in a
    reply."""
    tags = dict.fromkeys(_TAG.findall(f"{data.system_prompt or ''}\n{data.prompt_text}"))
    tagged = [(f"<{tag}>", f"</{tag}>") for tag in ("answer", *tags)]
    forms = [("", ""), ("\\boxed{", "}"), ("#### ", ""), *tagged, ("Answer: ", "")]
    forms += [("The answer is ", ""), ("Final answer: ", ""), ("**", "**"), ("[", "]"), ("$", "$")]
    forms += [("```\n", "\n```"), ("```json\n", "\n```"), ('{"answer": "', '"}')]
    forms += [('{"answer": ', "}"), ("<think>\n</think>\n<answer>", "</answer>")]
    values = [v for name, v in data.model_dump().items() if name not in _COMMON]
    texts = dict.fromkeys(text for value in values for text in _list_texts(value))
    yield from ((text, *form) for form in forms for text in texts)


def _list_texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for one in value.values():
            yield from _list_texts(one)
        yield json.dumps(value)
    elif isinstance(value, list):
        if all(isinstance(one, str | int | float) for one in value):
            yield ", ".join(map(str, value))
            yield "\n".join(map(str, value))
            yield from map(str, value[:2])
        yield json.dumps(value)
    elif isinstance(value, str | int | float):
        yield str(value)
