"""What a package's text may say, and what of Python it finds when it runs.

The text is looked at in the caged child, before any of it runs.

It may import some modules of Python that know no file, no clock and no chance, and itself; it has
none of the words by which Python reaches beyond. That is the fence that tells an author early and
by line; what Python audits and the cage's limits are the ones behind it. Loaded by its path:
imports the standard library alone.
"""

import ast
import builtins
import dataclasses
import functools
import re
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

#: Modules of the standard library that a package may import. Loaded before it is.
ALLOWED = (
    *("__future__", "abc", "base64", "binascii", "bisect", "collections", "collections.abc"),
    *("copy", "dataclasses", "enum", "fractions", "functools", "hashlib", "heapq", "itertools"),
    *("json", "math", "operator", "re", "string", "struct", "textwrap", "types", "typing"),
)
_OURS = frozenset(sys.stdlib_module_names)
#: What `str.format` would read of Python's own: where a machine keeps its files, say.
_FORMAT = re.compile(r"\{[^{}]*\.__")
#: Functions by which text becomes code, or that reach beyond what is imported.
WORDS = {
    *("eval", "exec", "compile", "open", "input", "breakpoint", "globals", "locals", "vars"),
    *("getattr", "setattr", "delattr", "id", "hash", "exit", "quit", "help", "memoryview"),
}
#: What of an allowed module a package does not see: it takes names, types or code as text, reaches
#: into other modules, or draws from the machine.
_WITHHELD = {
    "ast": {"iter_fields"},
    "dataclasses": {"make_dataclass"},
    "enum": {"global_enum", "global_enum_repr", "global_flag_repr", "global_str"},
    "functools": {"singledispatch", "singledispatchmethod"},
    "operator": {"attrgetter", "methodcaller"},
    "random": {"SystemRandom"},
    "string": {"Formatter"},
    "types": {"CodeType", "FunctionType", "LambdaType", "coroutine"},
    "typing": {"ForwardRef", "get_type_hints"},
}
#: What dataclasses write into the text of their methods.
_WRITTEN = "__class__", "__create_fn__", "__delattr__", "__qualname__", "__setattr__"
#: Ways from a generator or an error to whoever runs it, and to what that has.
_WAYS_OUT = {
    *("gi_frame", "gi_code", "cr_frame", "cr_code", "ag_frame", "ag_code", "tb_frame", "tb_next"),
    *("f_back", "f_builtins", "f_code", "f_globals", "f_locals", "f_trace"),
}
#: What a class may define and be asked by.
_DUNDERS = {
    *("__init__", "__post_init__", "__slots__", "__eq__", "__lt__", "__hash__", "__len__"),
    *("__iter__", "__next__", "__getitem__", "__contains__", "__call__", "__repr__", "__str__"),
    *("__all__", "__name__", "__add__", "__sub__", "__mul__", "__neg__"),
}
#: What a class may define besides. Not `__del__`: it runs when nothing is counted.
_METHODS = {
    *("__bool__", "__ne__", "__le__", "__gt__", "__ge__", "__getattr__", "__setattr__", "__new__"),
    *("__setitem__", "__delitem__", "__reversed__", "__missing__", "__enter__", "__exit__"),
    *("__int__", "__float__", "__index__", "__abs__", "__pos__", "__invert__", "__format__"),
    *("__truediv__", "__floordiv__", "__mod__", "__divmod__", "__pow__", "__and__", "__or__"),
    *("__xor__", "__lshift__", "__rshift__", "__matmul__", "__radd__", "__rsub__", "__rmul__"),
    *("__iadd__", "__isub__", "__imul__", "__init_subclass__", "__class_getitem__", "__round__"),
}


def find_text_fault(text: str, top: str, allowed: Sequence[str] = ALLOWED) -> str | None:
    """The first thing in a module's text that a package may not have, with its line; `allowed` are
    the modules that it may import."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"not Python of this version: {str(error)[:100]}"
    taken = set(_list_taken(tree, allowed))
    for node in ast.walk(tree):
        word = _find_word(node, top, allowed) or _find_change(node, taken)
        if word is not None:
            return f"line {getattr(node, 'lineno', 0)}: {word} is not for a package"
    return None


def _find_word(node: ast.AST, top: str, allowed: Sequence[str]) -> str | None:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return _find_import(node, top, allowed)
    if isinstance(node, ast.While) and node.body[0].lineno <= (node.test.end_lineno or 0):
        return "a while whose body stands on its line"  # what does nothing there is not counted
    if isinstance(node, ast.Attribute):
        own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        hidden = is_hidden(node.attr) or (node.attr.startswith("_") and not own)
        return f".{node.attr}" if hidden and node.attr not in _DUNDERS else None
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in _METHODS:
        return None
    if isinstance(node, ast.Name) and node.id in WORDS:
        return node.id
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return "a format of .__" if _FORMAT.search(node.value) else None
    return next((name for name in _list_names(node) if is_hidden(name)), None)


def _find_import(node: ast.Import | ast.ImportFrom, top: str, allowed: Sequence[str]) -> str | None:
    """A module that is not offered; of one that is, a name that it keeps to itself."""
    named = {alias.asname or "" for alias in node.names}
    if hidden := sorted(name for name in named if is_hidden(name)):
        return f"as {hidden[0]}"
    if isinstance(node, ast.Import):
        names = (alias.name for alias in node.names)
        return next((f"import {one}" for one in names if not _may_import(one, top, allowed)), None)
    module = node.module or ""
    if not node.level and not _may_import(module, top, allowed):
        return f"import {module}"
    parts = [alias.name for alias in node.names]
    if not node.level and module in allowed:
        kept = [part for part in parts if part == "*" or part.startswith("_")]
        return f"import {kept[0]} from {module}" if kept else None
    return next((f"import {part}" for part in parts if is_hidden(part)), None)


def _list_taken(tree: ast.AST, allowed: Sequence[str]) -> Iterator[str]:
    """Names under which a module has what is Python's own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else None
            for alias in node.names:
                if (alias.name if module is None else module) in _OURS.intersection(allowed):
                    yield alias.asname or alias.name.partition(".")[0]


def _find_change(node: ast.AST, taken: set[str]) -> str | None:
    """What of Python's own would be another for whoever is asked next."""
    if not isinstance(node, ast.Attribute) or isinstance(node.ctx, ast.Load):
        return None
    root: ast.AST = node
    while isinstance(root, ast.Attribute):
        root = root.value
    changed = isinstance(root, ast.Name) and root.id in taken
    return f"setting .{node.attr} of what it imports" if changed else None


def _list_names(node: ast.AST) -> Iterator[str]:
    """Every name that a part of the syntax reads or gives, but for imports and attributes."""
    for field, value in ast.iter_fields(node):
        if field in ("id", "name", "arg", "rest") and isinstance(value, str):
            yield value
        elif field in ("names", "kwd_attrs"):  # of global, of nonlocal, of a pattern
            yield from value


def _may_import(name: str, top: str, allowed: Sequence[str]) -> bool:
    return name in allowed or name == top or name.startswith(f"{top}.")


def is_hidden(name: str) -> bool:
    """Whether a name is Python's own, or a way out."""
    return (name.startswith("__") and name not in _DUNDERS) or name in _WAYS_OUT


def find_written_word(code: types.CodeType) -> str | None:
    """The first name in code that was text a moment ago which no package may have; dataclasses and
    annotations come this way."""
    for name in code.co_names:
        if is_hidden(name) and name not in _WRITTEN and not name.startswith("__dataclass_"):
            return name
    inner = (part for part in code.co_consts if isinstance(part, types.CodeType))
    return next((word for word in map(find_written_word, inner) if word is not None), None)


class PackageView:
    """What of Python's own a package finds: builtins, and of each module that it may import what is
    public there and no module itself. What one request has set in a module no other finds: it is
    answered by a copy, or after `renew`.

    Args:
        allowed: modules of the standard library that it may import; in memory by now.
        own: names of its own modules, and of others that are made for it.
    """

    def __init__(self, allowed: Sequence[str], own: frozenset[str]) -> None:
        self._own = own
        self._public = {name: _list_public(name) for name in allowed}
        self._made: dict[str, types.ModuleType] = {}
        self._import = builtins.__import__
        hidden = {*WORDS, "__loader__", "__spec__", "__doc__"}
        kept = {name: one for name, one in vars(builtins).items() if name not in hidden}
        self._builtins = {**kept, "__import__": self._find}
        self.builtins = dict(self._builtins)

    def renew(self) -> None:
        """All of it is made anew, a module when it is first imported."""
        self._made.clear()
        self.builtins = dict(self._builtins)

    def make_all(self) -> None:
        """Every module now, for copies of this process: what they need not make costs them nothing,
        and to make a module is to touch every name in it."""
        for name in self._public:
            self._make(name)

    def _find(
        self, name: str, space: Any = None, places: Any = None, parts: Any = (), level: int = 0
    ) -> types.ModuleType:
        """As `__import__`."""
        if level or name in self._own:
            return self._import(name, space, places, parts, level)
        if name not in self._public:
            raise ImportError(f"import {name} is not for a package")
        module = self._make(name)
        return module if parts or "." not in name else self._make(name.partition(".")[0])

    def _make(self, name: str) -> types.ModuleType:
        module = self._made.get(name)
        if module is None:
            module = self._made[name] = types.ModuleType(name)
            vars(module).update(self._public[name], __getattr__=_write_refusal(name))
            for inner in self._public:
                if inner.startswith(f"{name}."):
                    vars(module)[inner.rpartition(".")[2]] = self._make(inner)
        return module


def _list_public(name: str) -> dict[str, Any]:
    """What a module says that it offers; where it says nothing, all its names but those of others'
    modules. `dataclasses` has types.FunctionType, too, and offers it to nobody."""
    module = sys.modules[name]
    names = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
    hidden = _WITHHELD.get(name, set())
    found = {key: getattr(module, key) for key in names if key not in hidden}
    return {
        key: _INSTEAD.get((name, key), one)
        for key, one in found.items()
        if not isinstance(one, types.ModuleType)
    }


def _write_refusal(module: str) -> Callable[[str], Any]:
    def refuse(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise ImportError(f"{module}.{name} is not for a package")

    return refuse


def _wraps(wrapped: Any) -> Any:
    return lambda wrapper: functools.update_wrapper(wrapper, wrapped)


def _update_wrapper(wrapper: Any, wrapped: Any) -> Any:
    return functools.update_wrapper(wrapper, wrapped)


def _dataclass(kind: Any = None, /, **options: Any) -> Any:
    """As `dataclasses.dataclass`, which writes the names of fields into text that it runs."""

    def make(one: Any) -> Any:
        names = vars(one).get("__annotations__", {})
        if not all(type(name) is str and name.isidentifier() for name in names):
            raise TypeError("names of fields are words")
        if not one.__doc__:  # no package can read it, and to write its signature takes long
            one.__doc__ = one.__name__
        return dataclasses.dataclass(one, **options)

    return make if kind is None else make(kind)


#: What stands in place of a function that takes names as text.
_INSTEAD = {
    ("dataclasses", "dataclass"): _dataclass,
    ("functools", "update_wrapper"): _update_wrapper,
    ("functools", "wraps"): _wraps,
}
