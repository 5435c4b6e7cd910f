"""The rules for a package's text, checked in the sandboxed child before any of it runs.

A package may import itself and some modules of Python that know no file, no clock and no chance. It
has none of the words by which Python reaches further. This fence tells an author early, with a line
number. Behind it are the view of Python that a package gets (`package_view`), Python's audit events
and the sandbox's limits. This file is loaded by its path and imports only the standard library.
"""

import ast
import re
import sys
import types
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

#: Modules of the standard library that a package may import. They are loaded before the package.
ALLOWED = (
    *("__future__", "abc", "base64", "binascii", "bisect", "collections", "collections.abc"),
    *("copy", "dataclasses", "enum", "fractions", "functools", "hashlib", "heapq", "itertools"),
    *("json", "math", "operator", "re", "string", "struct", "textwrap", "types", "typing"),
)
_OURS = frozenset(sys.stdlib_module_names)
#: Other names that a package's modules cannot have: Assay's, and those that a taskset imports.
_TAKEN = _OURS | {"__main__", "assay", "verifiers", "datasets", "pydantic"}
#: A field with which `str.format` would read Python's own attributes, such as the path of a file.
_FORMAT = re.compile(r"\{[^{}]*\.__")
#: Functions that turn text into code, or that reach further than imports.
WORDS = {
    *("eval", "exec", "compile", "open", "input", "breakpoint", "globals", "locals", "vars"),
    *("getattr", "setattr", "delattr", "id", "hash", "exit", "quit", "help", "memoryview"),
}
#: Names that dataclasses write into the text of their methods.
_WRITTEN = "__class__", "__create_fn__", "__delattr__", "__qualname__", "__setattr__"
#: Attributes that lead from a generator or an error to its caller, and to the caller's objects.
_WAYS_OUT = {
    *("gi_frame", "gi_code", "cr_frame", "cr_code", "ag_frame", "ag_code", "tb_frame", "tb_next"),
    *("f_back", "f_builtins", "f_code", "f_globals", "f_locals", "f_trace"),
}
#: Special names that a class may define and code may read.
_DUNDERS = {
    *("__init__", "__post_init__", "__slots__", "__eq__", "__lt__", "__hash__", "__len__"),
    *("__iter__", "__next__", "__getitem__", "__contains__", "__call__", "__repr__", "__str__"),
    *("__all__", "__name__", "__add__", "__sub__", "__mul__", "__neg__"),
}
#: Special methods that a class may define as well. `__del__` is not among them: it runs when
#: nothing is counted. `__getattr__` is not either: Python's library asks it for Python's own names,
#: and sets what it returns.
METHODS = {
    *("__bool__", "__ne__", "__le__", "__gt__", "__ge__", "__new__"),
    *("__setitem__", "__delitem__", "__reversed__", "__missing__", "__enter__", "__exit__"),
    *("__int__", "__float__", "__index__", "__abs__", "__pos__", "__invert__", "__format__"),
    *("__truediv__", "__floordiv__", "__mod__", "__divmod__", "__pow__", "__and__", "__or__"),
    *("__xor__", "__lshift__", "__rshift__", "__matmul__", "__radd__", "__rsub__", "__rmul__"),
    *("__iadd__", "__isub__", "__imul__", "__init_subclass__", "__class_getitem__", "__round__"),
}
#: Names that only look private: of members of enumerations and of named tuples.
_PUBLIC = {"_value_", "_name_", "_replace", "_asdict", "_make", "_fields"}
#: Methods of text that read attributes named in the text, the attribute of an error that holds the
#: object in hand, and the builtin that guards them.
FORMATS, GUARD = frozenset({"format", "format_map", "obj"}), "__assay_format__"


def find_name_fault(paths: Iterable[str]) -> str | None:
    """The fault of the files' names, or None: a name that shadows another module, or an attribute
    that each module has."""
    for path in paths:
        names = path.removesuffix(".py").split("/")
        if names[0] in _TAKEN:
            return f"{names[0]} is the name of a module of Python or of Assay"
        if hidden := [one for one in names if is_hidden(one) and one != "__main__"]:
            return f"{path[:80]!r} is in it: {hidden[0]} is a name of Python's own"
    return None


def find_text_fault(text: str, top: str, allowed: Sequence[str] = ALLOWED) -> str | None:
    """The first thing in a module's text that a package may not have, with its line, or None.
    `allowed` lists the modules that it may import."""
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
        return "a while whose body stands on its line"  # such a body may go uncounted
    if isinstance(node, ast.Attribute):
        is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        is_own = is_own and node.attr[-1] != "_"  # such as enum's _convert_
        private = node.attr.startswith("_") and not is_own and node.attr not in _PUBLIC
        hidden = is_hidden(node.attr) or private
        return f".{node.attr}" if hidden and node.attr not in _DUNDERS else None
    if isinstance(node, ast.MatchClass | ast.MatchValue | ast.MatchMapping):
        return _find_pattern(node)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in METHODS:
        return None
    if isinstance(node, ast.Name) and node.id in WORDS:
        return node.id
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return "a format of .__" if _FORMAT.search(node.value) else None
    return next((name for name in _list_names(node) if is_hidden(name)), None)


def _find_pattern(node: ast.MatchClass | ast.MatchValue | ast.MatchMapping) -> str | None:
    """The fault of a pattern, or None. Patterns read attributes, too. By position, they read those
    in `__match_args__`, which may come from anywhere."""
    if isinstance(node, ast.MatchClass):
        named = [one for one in node.kwd_attrs if one in FORMATS or one[0] == "_"]
        if node.patterns:
            return "a class pattern without names"
        return f"a pattern of {named[0]}" if named else None
    values = [node.value] if isinstance(node, ast.MatchValue) else node.keys
    read = any(isinstance(one, ast.Attribute) and one.attr in FORMATS for one in values)
    return "a pattern of format" if read else None


def _find_import(node: ast.Import | ast.ImportFrom, top: str, allowed: Sequence[str]) -> str | None:
    """An import of a module that is not offered, or of a private name of an offered one; or
    None."""
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
        private = [part for part in parts if part == "*" or part.startswith("_")]
        return f"import {private[0]} from {module}" if private else None
    return next((f"import {part}" for part in parts if is_hidden(part)), None)


def _list_taken(tree: ast.AST, allowed: Sequence[str]) -> Iterator[str]:
    """Names that a module binds to Python's own modules or to objects from them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else None
            for alias in node.names:
                if (alias.name if module is None else module) in _OURS.intersection(allowed):
                    yield alias.asname or alias.name.partition(".")[0]


def _find_change(node: ast.AST, taken: set[str]) -> str | None:
    """A change of one of Python's own objects, which the next request would see; or None."""
    if not isinstance(node, ast.Attribute) or isinstance(node.ctx, ast.Load):
        return None
    root: ast.AST = node
    while isinstance(root, ast.Attribute):
        root = root.value
    changed = isinstance(root, ast.Name) and root.id in taken
    return f"setting .{node.attr} of what it imports" if changed else None


def _list_names(node: ast.AST) -> Iterator[str]:
    """Every name that a node of the syntax reads or binds, except in imports and attributes."""
    for field, value in ast.iter_fields(node):
        if field in ("id", "name", "arg", "rest") and isinstance(value, str):
            yield value
        elif field in ("names", "kwd_attrs"):  # of global, of nonlocal, of a pattern
            yield from value


def _may_import(name: str, top: str, allowed: Sequence[str]) -> bool:
    return name in allowed or name == top or name.startswith(f"{top}.")


def is_hidden(name: str) -> bool:
    """Whether a name is Python's own, or leads to a caller."""
    return (name.startswith("__") and name not in _DUNDERS) or name in _WAYS_OUT


def find_written_word(code: types.CodeType) -> str | None:
    """The first forbidden name in code that was compiled from text at run time, or None.
    Dataclasses and annotations produce such code."""
    tuples = (part for part in code.co_consts if isinstance(part, tuple))  # names in patterns
    named = (name for part in tuples for name in part if isinstance(name, str))
    of_dataclass = "__create_fn__" in code.co_names or code.co_name != "<module>"
    for name in (*code.co_names, *named):
        if name in WORDS - {"hash"} or (not of_dataclass and (name in FORMATS or name[0] == "_")):
            return name
        if is_hidden(name) and name not in _WRITTEN and not name.startswith("__dataclass_"):
            return name
    inner = (part for part in code.co_consts if isinstance(part, types.CodeType))
    return next((word for word in map(find_written_word, inner) if word is not None), None)


def _guard(tree: ast.Module) -> ast.Module:
    """Rewrite the tree in place, without recursion. `x.format` calls the guard. Each round of a
    `while` takes a step, even where Python would optimize its body away."""
    for node in ast.walk(tree):
        if isinstance(node, ast.While):
            node.body.insert(0, ast.copy_location(ast.Pass(), node.body[0]))
        for field, value in ast.iter_fields(node):
            if isinstance(value, list):
                value[:] = map(_guard_format, value)
            elif isinstance(value, ast.AST):
                setattr(node, field, _guard_format(value))
    return tree


def _guard_format(node: Any) -> Any:
    if not isinstance(node, ast.Attribute) or node.attr not in FORMATS:
        return node
    if not isinstance(node.ctx, ast.Load):
        return node
    guard, name = ast.Name(GUARD, ast.Load()), ast.Constant(node.attr)
    call = ast.Call(guard, [node.value, name], [])
    for new in (guard, name, call):
        ast.copy_location(new, node)
    return call


def compile_guarded(text: str, file: str) -> types.CodeType:
    """The code of a module's text, in which `x.format` reads no attribute that the text could not
    read.

    Raises:
        SyntaxError: the text has a fault that `ast.parse` does not find.
    """
    return compile(_guard(ast.parse(text)), file, "exec", dont_inherit=True)
