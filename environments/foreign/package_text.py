"""What a package's text may say, and what of Python it finds when it runs.

The text is looked at in the caged child, before any of it runs.

It may import some modules of Python that know no file, no clock and no chance, and itself; it has
none of the words by which Python reaches beyond. That is the fence that tells an author early and
by line; what Python audits and the cage's limits are the ones behind it. Loaded by its path:
imports the standard library alone.
"""

import abc
import ast
import builtins
import copy
import dataclasses
import enum
import functools
import hashlib
import re
import string
import sys
import types
import typing
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
    "collections": {"UserString"},
    "hashlib": {"algorithms_available", "file_digest"},
    "dataclasses": {"Field", "make_dataclass"},
    "enum": {
        *("global_enum", "global_enum_repr", "global_flag_repr", "global_str"),
        *("EnumMeta", "EnumType", "property"),
    },
    "functools": {"singledispatch", "singledispatchmethod"},
    "operator": {"attrgetter", "methodcaller"},
    "random": {"SystemRandom"},
    "string": {"Formatter"},
    "types": {
        *("CodeType", "FunctionType", "LambdaType", "coroutine"),
        *("DynamicClassAttribute", "new_class", "prepare_class"),
    },
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
#: What a class may define besides. Not `__del__`: it runs when nothing is counted. Not
#: `__getattr__`: Python's library asks it for names of Python's own, and sets what it gives.
_METHODS = {
    *("__bool__", "__ne__", "__le__", "__gt__", "__ge__", "__new__"),
    *("__setitem__", "__delitem__", "__reversed__", "__missing__", "__enter__", "__exit__"),
    *("__int__", "__float__", "__index__", "__abs__", "__pos__", "__invert__", "__format__"),
    *("__truediv__", "__floordiv__", "__mod__", "__divmod__", "__pow__", "__and__", "__or__"),
    *("__xor__", "__lshift__", "__rshift__", "__matmul__", "__radd__", "__rsub__", "__rmul__"),
    *("__iadd__", "__isub__", "__imul__", "__init_subclass__", "__class_getitem__", "__round__"),
}
#: As they are before anything of them is replaced.
_FIELDS, _BUILD, _RECONSTRUCT = (
    dataclasses.fields,
    builtins.__build_class__,
    vars(copy)["_reconstruct"],
)
#: Of Python's own names, those that are handed on with a function and to a copy.
_HANDED_ON = {*functools.WRAPPER_ASSIGNMENTS, "__wrapped__", "__orig_class__"}
#: What a class statement itself writes into a class.
_OF_CLASSES = {
    *(
        "__module__",
        "__qualname__",
        "__annotations__",
        "__classcell__",
        "__doc__",
        "__orig_bases__",
    ),
    *("__firstlineno__", "__static_attributes__", "__annotate__", "__type_params__"),
}
#: Names that only look private: of enumerations' members and of named tuples.
_PUBLIC = {"_value_", "_name_", "_replace", "_asdict", "_make", "_fields"}
#: Methods of text that read attributes by names in it, and the builtin that gives them guarded.
_FORMATS, _GUARD = frozenset({"format", "format_map"}), "__assay_format__"


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
        own = own and node.attr[-1] != "_"  # enum's _convert_, say
        private = node.attr.startswith("_") and not own and node.attr not in _PUBLIC
        hidden = is_hidden(node.attr) or private
        return f".{node.attr}" if hidden and node.attr not in _DUNDERS else None
    if isinstance(node, ast.MatchClass | ast.MatchValue | ast.MatchMapping):
        return _find_pattern(node)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in _METHODS:
        return None
    if isinstance(node, ast.Name) and node.id in WORDS:
        return node.id
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return "a format of .__" if _FORMAT.search(node.value) else None
    return next((name for name in _list_names(node) if is_hidden(name)), None)


def _find_pattern(node: ast.MatchClass | ast.MatchValue | ast.MatchMapping) -> str | None:
    """Patterns read attributes, too: by place, those that `__match_args__` names, which may come
    from anywhere."""
    if isinstance(node, ast.MatchClass):
        named = [one for one in node.kwd_attrs if one in _FORMATS or one[0] == "_"]
        if node.patterns:
            return "a class pattern without names"
        return f"a pattern of {named[0]}" if named else None
    values = [node.value] if isinstance(node, ast.MatchValue) else node.keys
    read = any(isinstance(one, ast.Attribute) and one.attr in _FORMATS for one in values)
    return "a pattern of format" if read else None


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
    tuples = (part for part in code.co_consts if isinstance(part, tuple))  # names in patterns
    named = (name for part in tuples for name in part if isinstance(name, str))
    of_dataclass = "__create_fn__" in code.co_names or code.co_name != "<module>"
    for name in (*code.co_names, *named):
        if name in WORDS - {"hash"} or (not of_dataclass and (name in _FORMATS or name[0] == "_")):
            return name
        if is_hidden(name) and name not in _WRITTEN and not name.startswith("__dataclass_"):
            return name
    inner = (part for part in code.co_consts if isinstance(part, types.CodeType))
    return next((word for word in map(find_written_word, inner) if word is not None), None)


def _guard(tree: ast.Module) -> ast.Module:
    """The same tree, by no recursion: `x.format` asks the guard, and each round of a `while` takes
    a step, even where Python would make nothing of its body."""
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
    if not isinstance(node, ast.Attribute) or node.attr not in _FORMATS:
        return node
    if not isinstance(node.ctx, ast.Load):
        return node
    guard, name = ast.Name(_GUARD, ast.Load()), ast.Constant(node.attr)
    call = ast.Call(guard, [node.value, name], [])
    for new in (guard, name, call):
        ast.copy_location(new, node)
    return call


def compile_guarded(text: str, file: str) -> types.CodeType:
    """Code of a module's text, in which `x.format` reads no attribute that the text could not.

    Raises:
        SyntaxError: what a look at its syntax does not see.
    """
    return compile(_guard(ast.parse(text)), file, "exec", dont_inherit=True)


def _read_format(one: Any, name: str) -> Any:
    """As `getattr`, of `_FORMATS`; of text, a function that looks at its fields first."""
    found = getattr(one, name)
    text = getattr(found, "__self__", None)
    if found is getattr(str, name):
        return lambda text, /, *given, **named: _read_format(text, name)(*given, **named)
    if isinstance(found, types.BuiltinMethodType) and isinstance(text, str):
        return functools.partial(_format_guarded, name, str.__str__(text))
    return found


def _format_guarded(method_name: str, text: str, /, *given: Any, **named: Any) -> str:
    for _, field, spec, _ in string.Formatter().parse(text):
        for part in (
            field or "",
            *(inner[1] or "" for inner in string.Formatter().parse(spec or "")),
        ):
            if any(
                name.startswith("_") or is_hidden(name) for name in re.findall(r"\.(\w*)", part)
            ):
                raise PermissionError(f"a format of {part[:40]} is not for a package")
    return str(getattr(str, method_name)(text, *given, **named))


class _TypeKind(type):
    def __call__(cls, one: Any, /, *more: Any, **options: Any) -> Any:
        if more or options:
            raise TypeError("a class of a package is written as one: type makes none")
        found = type(one)
        if issubclass(found, type | dataclasses.Field):
            raise TypeError(f"the type of a {found.__name__} is not for a package")
        return found

    def __instancecheck__(cls, one: Any) -> bool:
        return isinstance(one, type)

    def __subclasscheck__(cls, one: Any) -> bool:
        return issubclass(one, type)


class _Type(metaclass=_TypeKind):
    """`type` as a package finds it: tells the class of what is none itself. It makes no class,
    since nobody could look at the names in it."""

    def __init_subclass__(cls, **_: Any) -> None:
        raise TypeError("a package has no metaclass of its own")

    def __class_getitem__(cls, parts: Any) -> Any:
        return types.GenericAlias(cls, parts)


_Type.__name__ = _Type.__qualname__ = "type"
_Type.__module__ = "builtins"


def _make_abstract(name: str, bases: Any, space: Any, **options: Any) -> Any:
    """As `abc.ABCMeta`, which a class statement calls."""
    own = _METHODS | _OF_CLASSES
    made_up = [one for one in space if type(one) is not str or (is_hidden(one) and one not in own)]
    if type(space) is not dict or made_up:
        raise TypeError(f"{made_up!a} is not for a package")
    return abc.ABCMeta(name, bases, space, **options)


def narrow_library() -> None:
    """What of Python's library would take names as text, in this process for good. An enumeration
    comes from a class statement alone: what makes one of texts reads any module, and makes a class
    with any name in it."""
    kind: Any = enum.EnumType
    kind._create_ = kind._convert_ = _refuse_enumeration
    vars(dataclasses)["fields"] = _fields  # where `asdict` finds it
    type.__setattr__(typing.ForwardRef, "_evaluate", _refuse_text)
    vars(functools)["RLock"] = _NoLock
    vars(copy)["_reconstruct"] = _reconstruct


class _NoLock:
    """A copy has one thread, and waits for nobody."""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def _refuse_enumeration(*_: Any, **__: Any) -> Any:
    raise TypeError("an enumeration of a package is written as a class")


def _refuse_text(*_: Any, **__: Any) -> Any:
    raise TypeError("text is no type for a package")


def _is_made_up(name: object) -> bool:
    """Whether no text can have given an attribute that name: a str of another class may say of
    itself whatever it likes."""
    return type(name) is not str or (is_hidden(name) and name not in _HANDED_ON)


def _reconstruct(x: Any, memo: Any, make: Any, parts: Any, state: Any = None, *more: Any) -> Any:
    """As copy's, which sets what an object says of itself."""
    for part in state if isinstance(state, tuple) else (state,):
        set_here = isinstance(part, dict) and not hasattr(type(x), "__setstate__")
        if made_up := [name for name in part if _is_made_up(name)] if set_here else []:
            raise TypeError(f"{made_up[0]!a} is not for a package")
    return _RECONSTRUCT(x, memo, make, parts, state, *more)


def _build_class(body: Any, name: str, /, *bases: Any, metaclass: Any = None, **more: Any) -> Any:
    """As `__build_class__`, of which a class statement is made."""
    if metaclass is None:
        kinds = types.resolve_bases(bases)
        if not all(isinstance(kind, type) and not issubclass(kind, type) for kind in kinds):
            raise TypeError("a package has no metaclass of its own")
        return _BUILD(body, name, *bases, **more)
    if metaclass is not _make_abstract:
        raise TypeError("a package has no metaclass of its own")
    return _BUILD(body, name, *bases, metaclass=metaclass, **more)


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
        self._builtins = {
            **kept,
            "__import__": self._find,
            _GUARD: _read_format,
            "type": _Type,
            "hash": hash,
            "__build_class__": _build_class,
        }
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
        if level and (space or {}).get("__package__") not in self._own:
            raise ImportError("a package imports of itself alone")
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
    return lambda wrapper: _update_wrapper(wrapper, wrapped)


def _update_wrapper(wrapper: Any, wrapped: Any) -> Any:
    """As `functools.update_wrapper`, which hands on whatever `wrapped` has been given."""
    given = () if isinstance(wrapped, type) else getattr(wrapped, "__dict__", ())
    if made_up := [name for name in given if _is_made_up(name)]:
        raise TypeError(f"{made_up[0]!a} is not for a package")
    return functools.update_wrapper(wrapper, wrapped)


def _make_hash(name: str, data: Any = b"", **options: Any) -> Any:
    """As `hashlib.new`, of what every Python has."""
    if str(name).lower() not in hashlib.algorithms_guaranteed:
        raise ValueError(f"{name!a} is not on every machine")
    return hashlib.new(name, data, **options)


def _get_origin(one: Any) -> Any:
    found = typing.get_origin(one)
    return _Type if found is type else found


def _dataclass(kind: Any = None, /, **options: Any) -> Any:
    """As `dataclasses.dataclass`, which writes the names of fields into text that it runs."""

    def make(one: Any) -> Any:
        for base in one.__mro__:
            _list_fields(base)
        if not _is_own_module(one.__module__):  # the text would run with all of Python
            raise TypeError(f"there is no module {one.__module__!r} of the package")
        names = vars(one).get("__annotations__", {})
        if type(names) is not dict or not all(map(_is_field_name, names)):
            raise TypeError("names of fields are words")
        if not all(_is_still(vars(one).get(name)) for name in names):
            raise TypeError("a field's default is no property")
        if not one.__doc__:  # no package can read it, and to write its signature takes long
            one.__doc__ = one.__name__
        made = dataclasses.dataclass(one, **options)
        # whoever holds a field that it was made with could give that another name
        made.__dataclass_fields__ = {f.name: copy.copy(f) for f in _list_fields(made)}
        return made

    return make if kind is None else make(kind)


def _is_own_module(name: object) -> bool:
    space = vars(sys.modules[name]) if type(name) is str and name in sys.modules else {}
    found = space.get("__builtins__")
    return isinstance(found, dict) and _GUARD in found


def _is_still(default: object) -> bool:
    """Whether to read a class's attribute runs nothing of the package."""
    return isinstance(default, types.FunctionType | staticmethod) or not hasattr(default, "__get__")


def _is_field_name(name: object) -> bool:
    return type(name) is str and name.isidentifier() and not is_hidden(name)


def _list_fields(one: Any) -> list[Any]:
    """Those of a class or of its instance, by names that no text can have made up."""
    found = getattr(one, "__dataclass_fields__", {})
    kept = list(found.values()) if type(found) is dict else [None]
    if not all(type(field) is dataclasses.Field and _is_field_name(field.name) for field in kept):
        raise TypeError("names of fields are words")
    return kept


def _fields(one: Any) -> Any:
    """As `dataclasses.fields`, of copies: what is set in one changes no class."""
    _list_fields(one)
    return tuple(map(copy.copy, _FIELDS(one)))


def _replace(one: Any, /, **changes: Any) -> Any:
    """As `dataclasses.replace`."""
    if isinstance(one, type):
        raise TypeError("replace is of an instance of a dataclass")
    for field in _fields(one):
        if not field.init and field.name in changes:
            raise ValueError(f"field {field.name} is made by its class: init=False")
        if field.init and field.name not in changes:
            changes[field.name] = getattr(one, field.name)
    return type(one)(**changes)


#: What stands in place of a function that takes names as text.
_INSTEAD = {
    ("typing", "Type"): vars(typing)["_alias"](_Type, 1, inst=False, name="Type"),
    ("abc", "ABCMeta"): _make_abstract,
    ("dataclasses", "dataclass"): _dataclass,
    ("dataclasses", "fields"): _fields,
    ("dataclasses", "replace"): _replace,
    ("hashlib", "new"): _make_hash,
    ("typing", "get_origin"): _get_origin,
    ("functools", "update_wrapper"): _update_wrapper,
    ("functools", "wraps"): _wraps,
}
