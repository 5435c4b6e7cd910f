"""What a package's text may say. Looked at in the caged child, before any of it runs.

It may import some modules of Python that know no file, no clock and no chance, and itself; it has
none of the words by which Python reaches beyond. That is the fence that tells an author early and
by line; what Python audits and the cage's limits are the ones behind it. Loaded by its path:
imports the standard library alone.
"""

import ast
from collections.abc import Sequence

#: Modules of the standard library that a package may import. Loaded before it is.
ALLOWED = (
    *("__future__", "abc", "base64", "binascii", "bisect", "collections", "collections.abc"),
    *("copy", "dataclasses", "enum", "fractions", "functools", "hashlib", "heapq", "itertools"),
    *("json", "math", "operator", "re", "string", "struct", "textwrap", "types", "typing"),
)
#: Functions by which text becomes code, or that reach beyond what is imported.
_WORDS = {
    *("eval", "exec", "compile", "open", "input", "breakpoint", "globals", "locals", "vars"),
    *("getattr", "setattr", "delattr", "id", "hash", "exit", "quit", "help", "memoryview"),
}
#: What a class may define and be asked by.
_DUNDERS = {
    *("__init__", "__post_init__", "__slots__", "__eq__", "__lt__", "__hash__", "__len__"),
    *("__iter__", "__next__", "__getitem__", "__contains__", "__call__", "__repr__", "__str__"),
    *("__all__", "__name__", "__add__", "__sub__", "__mul__", "__neg__"),
}


def find_text_fault(text: str, top: str, allowed: Sequence[str] = ALLOWED) -> str | None:
    """The first thing in a module's text that a package may not have, with its line; `allowed` are
    the modules that it may import."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"not Python of this version: {str(error)[:100]}"
    for node in ast.walk(tree):
        word = _find_word(node, top, allowed)
        if word is not None:
            return f"line {getattr(node, 'lineno', 0)}: {word} is not for a package"
    return None


def _find_word(node: ast.AST, top: str, allowed: Sequence[str]) -> str | None:
    if isinstance(node, ast.Import):
        names = (alias.name for alias in node.names)
        return next((f"import {one}" for one in names if not _may_import(one, top, allowed)), None)
    if isinstance(node, ast.ImportFrom) and not node.level:
        name = node.module or ""
        return None if _may_import(name, top, allowed) else f"import {name}"
    if isinstance(node, ast.Name) and (node.id in _WORDS or _is_hidden(node.id)):
        return node.id
    if isinstance(node, ast.Attribute):
        own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        hidden = _is_hidden(node.attr) or (node.attr.startswith("_") and not own)
        return f".{node.attr}" if hidden and node.attr not in _DUNDERS else None
    return None


def _may_import(name: str, top: str, allowed: Sequence[str]) -> bool:
    return name in allowed or name == top or name.startswith(f"{top}.")


def _is_hidden(name: str) -> bool:
    return name.startswith("__") and name not in _DUNDERS
