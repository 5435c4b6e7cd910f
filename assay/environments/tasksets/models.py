"""Models like pydantic's, as far as a taskset has them: fields from annotations, never converted.

It runs inside the interpreter, like `surface`, of which it is a part.
"""

import copy
import functools
import sys
import types
import typing
from typing import Any

_NOTHING = object()
_PLAIN = (str, int, float, bool, type(None))


class VfFieldInfo:
    def __init__(
        self,
        default: Any = _NOTHING,
        *,
        default_factory: Any = None,
        description: Any = None,
        **bounds: Any,
    ) -> None:
        if unknown := set(bounds) - {"ge", "gt", "le", "lt", "min_length", "max_length", "title"}:
            raise TypeError(f"Field({min(unknown)}=) is not offered to a taskset")
        self.default = default
        self.is_plain = default_factory is None and type(default) in _PLAIN
        self.is_needed = default_factory is None and default is _NOTHING
        self.make = default_factory or functools.partial(copy.deepcopy, default)


def make_field(default: Any = _NOTHING, **rest: Any) -> Any:
    return VfFieldInfo(_NOTHING if default is ... else default, **rest)


class VfModel:
    """A value with declared fields. A missing field, or one of another type, is refused. Where
    pydantic would convert a value, the author of the data must do so."""

    _fields: typing.ClassVar[Any]
    _plain: typing.ClassVar[Any]  # name → types whose values need no conversion
    _given: typing.ClassVar[Any]  # name → plain default, in order of fields; None if there is none
    _made: typing.ClassVar[Any]  # name → maker of the default, if it is made
    _needed: typing.ClassVar[Any]  # names of fields without a default
    _frozen = False
    _extra = False  # whether unknown names are ignored

    def __init__(self, **values: Any) -> None:
        # Few steps: they count for each reply, and for each of twenty thousand tasks.
        fields, attributes = type(self).__dict__.get("_fields") or self.get_fields(), self.__dict__
        unknown = values.keys() - fields.keys()
        for name in unknown:
            del values[name]
        attributes.update(self._given)
        attributes.update(values)
        plain = self._plain
        for name in [n for n, value in values.items() if type(value) not in plain[n]]:
            attributes[name] = conform(
                values[name], fields[name][0], f"{type(self).__name__}.{name}"
            )
        if not self._made.keys() <= values.keys():
            for name in [n for n in self._made if n not in values]:
                attributes[name] = self._made[name]()
        if missing := self._needed - values.keys():
            raise ValueError(f"{type(self).__name__}.{min(missing)} is missing")
        if unknown and not self._extra:
            raise ValueError(f"{type(self).__name__} has no {min(unknown)}")

    @classmethod
    def get_fields(cls) -> Any:
        """Name → (type, the field's default or maker)."""
        fields = cls.__dict__.get("_fields")
        if fields is not None:
            return fields
        fields, plain, given = {}, {}, {}
        made: dict[str, Any] = {}
        needed: set[str] = set()
        for base in cls.__mro__[:0:-1]:
            if base is not VfModel and issubclass(base, VfModel):
                fields.update(base.get_fields())
                of_base = vars(base)  # `fields` has them all
                plain.update(of_base["_plain"])
                made = {n: make for n, make in made.items() if n not in of_base["_given"]}
                made.update(of_base["_made"])
                needed = needed.difference(of_base["_given"]) | of_base["_needed"]
                given.update(of_base["_given"])
        hints = vars(cls).get("__annotations__", {})
        space = vars(sys.modules[cls.__module__])
        for name, text in hints.items():
            hint = eval(text, dict(space)) if isinstance(text, str) else text
            if name[0] != "_" and split_hint(hint)[0] is not typing.ClassVar:
                value = cls.__dict__.get(name, _NOTHING)
                field = value if isinstance(value, VfFieldInfo) else VfFieldInfo(value)
                fields[name], plain[name] = (hint, field), list_plain(hint)
                given[name] = field.default if field.is_plain else None
                made.pop(name, None)
                needed.discard(name)
                if field.is_needed:
                    needed.add(name)
                elif not field.is_plain:
                    made[name] = field.make
        cls._fields, cls._plain = fields, plain
        cls._given, cls._made, cls._needed = given, made, needed
        return fields

    def __setattr__(self, name: Any, value: Any) -> None:
        if self._frozen:
            raise ValueError(f"{type(self).__name__} is frozen")
        self.__dict__[name] = value

    def __eq__(self, other: Any) -> Any:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    def __deepcopy__(self, memo: Any) -> Any:
        clone = memo[id(self)] = object.__new__(type(self))
        clone.__dict__.update(self.__dict__)
        for name in [n for n, value in self.__dict__.items() if type(value) not in _PLAIN]:
            clone.__dict__[name] = copy.deepcopy(self.__dict__[name], memo)
        return clone

    def model_copy(self, *, update: Any = None, deep: Any = False) -> Any:
        if [name for name in update or {} if type(name) is not str or name[:2] == "__"]:
            raise ValueError(f"{type(self).__name__} is given a name of Python's own")
        clone = object.__new__(type(self))
        clone.__dict__.update(copy.deepcopy(self.__dict__) if deep else self.__dict__)
        clone.__dict__.update(update or {})
        return clone

    def model_dump(self, *, mode: Any = "python", exclude_none: Any = False) -> Any:
        fields, attributes = self.get_fields(), self.__dict__
        dumped = (
            dict(attributes)
            if attributes.keys() == fields.keys()
            else {n: attributes[n] for n in fields}
        )
        for name in [n for n, value in dumped.items() if type(value) not in _PLAIN]:
            dumped[name] = dump(dumped[name], exclude_none)
        return {n: one for n, one in dumped.items() if one is not None} if exclude_none else dumped


def dump(value: Any, exclude_none: Any = False) -> Any:
    if isinstance(value, VfModel):
        return value.model_dump(exclude_none=exclude_none)
    if isinstance(value, dict):
        return {key: dump(one, exclude_none) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [dump(one, exclude_none) for one in value]
    return value


def split_hint(hint: Any) -> Any:
    """`typing.get_origin` and `typing.get_args` in one call, because they take a dozen steps
    each."""
    kind = type(hint)
    if kind is type:
        return None, ()
    if kind is types.GenericAlias:
        return hint.__origin__, hint.__args__
    if kind is types.UnionType:
        return kind, hint.__args__
    return typing.get_origin(hint), typing.get_args(hint)


def list_plain(hint: Any) -> Any:
    """The types whose values `conform` returns unchanged for `hint`, so that most values need no
    call."""
    origin, parts = split_hint(hint)
    parts = parts if origin in (typing.Union, types.UnionType) else (hint,)
    plain = {type(None) if part is None else part for part in parts if part in (*_PLAIN, None)}
    return plain - {int} if float in plain else plain  # an int becomes a float


def conform(value: Any, hint: Any, where: Any) -> Any:
    """`value` as a field of type `hint`. Raises ValueError if it is of another type."""
    if hint is type(value) and hint in _PLAIN:
        return value
    origin, parts = split_hint(hint)
    if hint is typing.Any or isinstance(hint, typing.TypeVar) or hint is object:
        return value
    if origin is typing.Annotated:
        return conform(value, parts[0], where)
    if origin in (typing.Union, types.UnionType):
        for part in parts:
            try:
                return conform(value, part, where)
            except ValueError:
                continue
    elif origin is typing.Literal:
        if any(value == part and type(value) is type(part) for part in parts):
            return value
    elif hint is None or hint is type(None):
        if value is None:
            return value
    elif hint is float and type(value) is int:
        return float(value)
    elif origin in (list, set, frozenset, tuple) and isinstance(value, list | origin):
        if origin is tuple and parts[-1:] != (...,):
            if len(parts) == len(value):
                return tuple(map(conform, value, parts, [where] * len(parts)))
        else:
            return origin(conform(one, parts[0], where) for one in value)
    elif origin is dict and isinstance(value, dict):
        return {conform(k, parts[0], where): conform(v, parts[1], where) for k, v in value.items()}
    elif isinstance(hint, type) and issubclass(hint, VfModel) and isinstance(value, dict):
        return hint(**value)
    elif (
        isinstance(origin or hint, type)
        and isinstance(value, origin or hint)
        and (type(value) is not bool or hint is bool)
    ):
        return value
    raise ValueError(f"{where} is {type(value).__name__}, not {getattr(hint, '__name__', hint)}")


class VfGeneric:
    def __class_getitem__(cls, params: Any) -> Any:
        return types.GenericAlias(cls, params)


def find_parameter(cls: Any, bound: Any, origin: Any = None) -> Any:
    """verifiers' `concrete_type`: a type parameter of `cls`'s bases that is a subclass of
    `bound`."""
    for one in cls.__mro__:
        for base in getattr(one, "__orig_bases__", ()):
            if origin is not None and typing.get_origin(base) is not origin:
                continue
            for part in typing.get_args(base):
                if isinstance(part, type) and issubclass(part, bound):
                    return part
    return None
