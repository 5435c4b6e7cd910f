"""The Python that a package sees when it runs: builtins and modules, without functions that take
names or code as text.

This is the fence behind the check of the text: if no text could write a name, no field, format,
copy or class can read it either. The file is loaded by its path in the sandboxed child, after
`package_text`, and imports only that and the standard library.
"""

import abc
import builtins
import collections
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
from collections.abc import Callable, Sequence
from typing import Any

from assay.environments.foreign.package_text import GUARD, METHODS, WORDS, is_hidden

#: Names of allowed modules that a package does not see: they take names, types or code as text,
#: reach into other modules, or draw randomness from the machine.
_WITHHELD = {
    "ast": {"iter_fields", "NodeTransformer"},
    "collections": {"ChainMap", "UserList", "UserString"},  # they call the class of a class
    "hashlib": {"algorithms_available", "file_digest"},
    "dataclasses": {"Field", "make_dataclass"},
    "enum": {
        *("global_enum", "global_enum_repr", "global_flag_repr", "global_str"),
        *("EnumMeta", "EnumType", "pickle_by_enum_name", "pickle_by_global_name", "property"),
    },
    "functools": {"singledispatch", "singledispatchmethod"},
    "operator": {"attrgetter", "methodcaller"},
    "random": {"SystemRandom"},
    "string": {"Formatter"},
    "types": {
        *("CodeType", "FunctionType", "LambdaType", "coroutine"),
        *("DynamicClassAttribute", "new_class", "prepare_class"),
    },
    "typing": {"ChainMap", "ForwardRef", "get_type_hints"},
}
#: The originals, taken before any of them is replaced.
_FIELDS, _BUILD, _RECONSTRUCT = (
    dataclasses.fields,
    builtins.__build_class__,
    vars(copy)["_reconstruct"],
)
#: Special names that are handed on with a function and to a copy.
_HANDED_ON = {*functools.WRAPPER_ASSIGNMENTS, "__wrapped__", "__orig_class__"}
#: Names that a class statement itself writes into a class.
_OF_CLASSES = {
    *("__module__", "__qualname__", "__annotations__", "__classcell__", "__doc__"),
    *("__orig_bases__", "__firstlineno__", "__static_attributes__", "__annotate__"),
    "__type_params__",
}


def _read_format(one: Any, name: str) -> Any:
    """`getattr` for the names in `FORMATS`. For text, the result checks the format's fields."""
    value = _read_obj(one) if name == "obj" else getattr(one, name)
    text = getattr(value, "__self__", None)
    if value is getattr(str, name, None):
        return lambda text, /, *given, **named: _read_format(text, name)(*given, **named)
    if isinstance(value, types.BuiltinMethodType) and isinstance(text, str):
        return functools.partial(_format_guarded, name, str.__str__(text))
    return value


def _read_obj(one: Any) -> Any:
    """The attribute `obj`, but not an error's: the object that lacked an attribute can be any of
    Python's library."""
    owner = one.obj
    if owner is vars(AttributeError)["obj"] or isinstance(one, AttributeError):
        raise PermissionError("an error's obj is not for a package")
    return owner


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
        kind = type(one)
        if issubclass(kind, type | dataclasses.Field):
            raise TypeError(f"the type of a {kind.__name__} is not for a package")
        return kind

    def __instancecheck__(cls, one: Any) -> bool:
        return isinstance(one, type)

    def __subclasscheck__(cls, one: Any) -> bool:
        return issubclass(one, type)


class _Type(metaclass=_TypeKind):
    """The `type` that a package sees. It returns an object's class, but not a metaclass. It makes
    no class, because nothing would check the names in it."""

    def __init_subclass__(cls, **_: Any) -> None:
        raise TypeError("a package has no metaclass of its own")

    def __class_getitem__(cls, parts: Any) -> Any:
        return types.GenericAlias(cls, parts)


_Type.__name__ = _Type.__qualname__ = "type"
_Type.__module__ = "builtins"


def _make_abstract(name: str, bases: Any, space: Any, **options: Any) -> Any:
    """`abc.ABCMeta` as a class statement calls it, with a check of the names in the class."""
    allowed = METHODS | _OF_CLASSES
    made_up = [
        one for one in space if type(one) is not str or (is_hidden(one) and one not in allowed)
    ]
    if type(space) is not dict or made_up:
        raise TypeError(f"{made_up!a} is not for a package")
    return abc.ABCMeta(name, bases, space, **options)


def _narrow_library() -> None:
    """Replaces functions of Python's library that would take names as text, permanently in this
    process. Only a class statement can make an enumeration: the functional forms read any module,
    and make a class with any name in it."""
    kind: Any = enum.EnumType
    kind._create_ = kind._convert_ = _refuse_enumeration
    vars(dataclasses)["fields"] = _fields  # where `asdict` finds it
    type.__setattr__(typing.ForwardRef, "_evaluate", _refuse)
    vars(functools)["RLock"] = _NoLock
    vars(copy)["_reconstruct"] = _reconstruct
    counter: Any = collections.Counter
    counter.copy = lambda self: (_refuse if isinstance(self, type) else self.__class__)(self)


class _NoLock:
    """A lock that does nothing: a copy has only one thread."""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def _refuse_enumeration(*_: Any, **__: Any) -> Any:
    raise TypeError("an enumeration of a package is written as a class")


def _refuse(*_: Any, **__: Any) -> Any:
    raise TypeError("neither text nor a class is what Python's library takes here")


def _is_made_up(name: object) -> bool:
    """Whether no text can have given an attribute that name. A subclass of str may claim to be any
    name."""
    return type(name) is not str or (is_hidden(name) and name not in _HANDED_ON)


def _reconstruct(x: Any, memo: Any, make: Any, parts: Any, state: Any = None, *more: Any) -> Any:
    """copy's own function, but it checks the names of an object's state when it sets them."""
    made = _RECONSTRUCT(x, memo, make, parts)
    if state is not None:
        _set_state(made, state if memo is None else copy.deepcopy(state, memo))
    return _RECONSTRUCT(x, memo, lambda: made, (), None, *more) if more else made


def _set_state(made: Any, state: Any) -> None:
    if hasattr(made, "__setstate__"):
        made.__setstate__(_read_names(state) if isinstance(made, BaseException) else state)
        return
    attributes, slots = state if type(state) is tuple and len(state) == 2 else (state, None)
    if attributes is not None:
        made.__dict__.update(_read_names(attributes))
    if slots is not None:
        for name, value in _read_names(slots).items():
            setattr(made, name, value)


def _read_names(given: Any) -> dict[str, Any]:
    """The attributes in a plain dict, as they are now.

    Raises:
        TypeError: it is another kind of dict, or no text can have given an attribute one of the
            names.
    """
    if type(given) is not dict:
        raise TypeError(f"attributes of a {type(given).__name__} are not for a package")
    names = dict(given)
    if made_up := [name for name in names if _is_made_up(name)]:
        raise TypeError(f"{made_up[0]!a} is not for a package")
    return names


def _build_class(body: Any, name: str, /, *bases: Any, metaclass: Any = None, **more: Any) -> Any:
    """`__build_class__`, which runs a class statement, without metaclasses."""
    if metaclass is None:
        made = _BUILD(body, name, *bases, **more)
    elif metaclass is _make_abstract:
        made = _BUILD(body, name, *bases, metaclass=metaclass, **more)
    else:
        made = type
    if issubclass(made, type):
        raise TypeError("a package has no metaclass of its own")
    return made


class PackageView:
    """The part of Python that a package sees: builtins, and the public names, except modules, of
    each module that it may import. No request sees what an earlier one has set in a module: a copy
    answers it, or `renew` comes first.

    Args:
        allowed: modules of the standard library that the package may import; already in memory.
        own_names: names of the package's own modules, and of others that are made for it.
    """

    def __init__(self, allowed: Sequence[str], own_names: frozenset[str]) -> None:
        _narrow_library()
        self._own = own_names
        self._public = {name: _list_public(name) for name in allowed}
        self._made: dict[str, types.ModuleType] = {}
        self._import = builtins.__import__
        self.load: Callable[[str], object] = id  # loads a module of these before its import
        hidden = {*WORDS, "__loader__", "__spec__", "__doc__"}
        visible = {name: one for name, one in vars(builtins).items() if name not in hidden}
        self._builtins = {
            **visible,
            "__import__": self._find,
            GUARD: _read_format,
            "type": _Type,
            "hash": hash,
            "__build_class__": _build_class,
        }
        self.builtins = dict(self._builtins)

    def renew(self) -> None:
        """Forgets all modules. Each is made again when it is next imported."""
        self._made.clear()
        self.builtins = dict(self._builtins)

    def make_all(self) -> None:
        """Makes every module now, before this process is copied. Making one touches every name in
        it, so copies save that work."""
        for name in self._public:
            self._make(name)

    def _find(
        self, name: str, space: Any = None, places: Any = None, parts: Any = (), level: int = 0
    ) -> types.ModuleType:
        """`__import__` as a package calls it."""
        base: Any = (space or {}).get("__package__") if level else ""
        if level and (base not in self._own or base.count(".") < level - 1):
            raise ImportError("a package imports of itself alone")
        if level or not self._own.isdisjoint((name, name.partition(".")[0])):
            whole = f"{base.rsplit('.', level - 1)[0]}.{name}".strip(".") if level else name
            self.load(whole)
            loaded = self._import(name, space, places, parts, level)
            _require_names(whole, parts)
            return loaded
        if name not in self._public:
            raise ImportError(f"import {name} is not for a package")
        top, _, inner = name.partition(".")
        module = self._make(name if parts else top)
        for part in parts or (inner and (inner,)):  # Python looks elsewhere for missing names
            if part not in vars(module):
                raise ImportError(f"{name if parts else top}.{part} is not for a package")
        return module

    def _make(self, name: str) -> types.ModuleType:
        module = self._made.get(name)
        if module is None:
            module = self._made[name] = types.ModuleType(name)
            vars(module).update(self._public[name], __getattr__=_write_refusal(name))
            for inner in self._public:
                if inner.startswith(f"{name}."):
                    vars(module)[inner.rpartition(".")[2]] = self._make(inner)
        return module


def _require_names(whole: str, parts: Any) -> None:
    """Check the modules from which an import statement will read names. If one lacks a name, Python
    searches all modules under the `__name__` of the first, and `import a.b.c as d` reads whatever
    `a.b` is.

    Raises:
        ImportError: the statement would find something other than the package's module.
    """
    names = whole.split(".")
    parent: Any = None
    for count in (len(names),) if parts else range(1, len(names)):
        place = ".".join(names[:count])
        module = sys.modules.get(place)
        if parent is not None and vars(parent).get(names[count - 1], module) is not module:
            raise ImportError(f"{place} is not the module of that name")
        if module is None:
            return
        stated = vars(module).get("__name__")
        if type(stated) is not str or stated != place:
            raise ImportError(f"{place} has another name by now")
        parent = module
    if parts and "*" in parts and "__all__" in vars(parent):
        offered = vars(parent)["__all__"]
        if type(offered) not in (list, tuple) or [
            name for name in offered if type(name) is not str or is_hidden(name)
        ]:
            raise ImportError(f"{whole}.__all__ is a list of names of its own")


def _list_public(name: str) -> dict[str, Any]:
    """The names that a module offers, with their values. Without `__all__`, these are all its
    public names except other modules. `dataclasses` also contains types.FunctionType, but does not
    offer it."""
    module = sys.modules[name]
    names = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
    hidden = _WITHHELD.get(name, set())
    public = {key: getattr(module, key) for key in names if key not in hidden}
    return {
        key: _INSTEAD.get((name, key), one)
        for key, one in public.items()
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
    """`functools.update_wrapper`, which hands on all attributes of `wrapped`, with a check of their
    names."""
    given = getattr(wrapped, "__dict__", {})
    wrapper.__dict__.update(dict(given) if isinstance(wrapped, type) else _read_names(given))
    return functools.update_wrapper(wrapper, wrapped, updated=())


def _make_hash(name: str, data: Any = b"", **options: Any) -> Any:
    """`hashlib.new` for the algorithms that every Python has."""
    if str(name).lower() not in hashlib.algorithms_guaranteed:
        raise ValueError(f"{name!a} is not on every machine")
    return hashlib.new(name, data, **options)


def _get_origin(one: Any) -> Any:
    origin = typing.get_origin(one)
    return _Type if origin is type else origin


def _dataclass(kind: Any = None, /, **options: Any) -> Any:
    """`dataclasses.dataclass`, which writes the names of fields into text that it runs, with a
    check of these names."""

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
        if not one.__doc__:  # no package can read it, and its signature is slow to write
            one.__doc__ = one.__name__
        return dataclasses.dataclass(one, **options)

    return make if kind is None else make(kind)


def _is_own_module(name: object) -> bool:
    space = vars(sys.modules[name]) if type(name) is str and name in sys.modules else {}
    space_builtins = space.get("__builtins__")
    return isinstance(space_builtins, dict) and GUARD in space_builtins


def _is_still(default: object) -> bool:
    """Whether reading this class attribute runs no code of the package."""
    return isinstance(default, types.FunctionType | staticmethod) or not hasattr(default, "__get__")


def _is_field_name(name: object) -> bool:
    return type(name) is str and name.isidentifier() and not is_hidden(name)


def _list_fields(one: Any) -> list[Any]:
    """The fields of a class or instance. Raises TypeError if no text can have given one its name.
    The check is repeated at each use, because a package may keep a field and rename it."""
    fields = getattr(one, "__dataclass_fields__", {})
    listed = list(fields.values()) if type(fields) is dict else [None]
    if not all(type(field) is dataclasses.Field and _is_field_name(field.name) for field in listed):
        raise TypeError("names of fields are words")
    return listed


def _fields(one: Any) -> Any:
    """`dataclasses.fields`, but of copies. The checked name is the one that is read, even if the
    package changes the field in between."""
    _list_fields(one)
    return tuple(map(copy.copy, _FIELDS(one)))


def _replace(one: Any, /, **changes: Any) -> Any:
    """`dataclasses.replace` with the checks of `_fields`."""
    if isinstance(one, type):
        raise TypeError("replace is of an instance of a dataclass")
    for field in _fields(one):
        if not field.init and field.name in changes:
            raise ValueError(f"field {field.name} is made by its class: init=False")
        if field.init and field.name not in changes:
            changes[field.name] = getattr(one, field.name)
    return type(one)(**changes)


#: Replacements that a package sees for functions that take names as text.
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
