"""Reads a person's settings from a TOML file, within a limit, and reports their faults by file,
line, dotted name, and the right form. A secret's value is never repeated."""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from assay.network.text import mask_endpoint
from assay.protocol.errors import OperatorError

#: Longest file, bytes; most lines of one statement that is searched for; most characters of a value
#: that is repeated.
BYTES_MAX, _LINES_MAX, _SHOWN_MAX = 1 << 20, 500, 60
#: The library's place of a fault at the end.
_END = "end of document"
_PLACE = re.compile(rf" \(at (line \d+, column \d+|{_END})\)$")
_CLEARER = {"Cannot overwrite a value": "a name is set for the second time"}
#: Names of bounds, and their words. Both of a pair are given as a range.
_RANGE = {"ge": "of at least", "gt": "above", "le": "of at most", "lt": "below"}
_LENGTHS = {"min_length": "of at least", "max_length": "of at most"}
_PAIRS = (("ge", "le"), ("min_length", "max_length"))


class TomlError(OperatorError):
    """A file that is not TOML. The message says where."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A setting that cannot be used. `what` follows its name in a sentence."""

    path: tuple[str, ...]
    what: str


def read_toml(file: Path) -> tuple[dict[str, Any], str]:
    """A file's settings, and its text. Raises TomlError: it cannot be read, or is not TOML."""
    try:
        with file.open("rb") as opened:
            data = opened.read(BYTES_MAX + 1)
        if len(data) > BYTES_MAX:
            raise TomlError(f"{file} is larger than {BYTES_MAX >> 20} MiB")
        text = data.decode()
        return tomllib.loads(text), text
    except OSError as error:
        raise TomlError(f"cannot read {file} ({error.strerror})") from None
    except UnicodeDecodeError:
        raise TomlError(f"{file} is not TOML: it is not text in UTF-8") from None
    except RecursionError:
        raise TomlError(f"{file} is not TOML: it has too many brackets") from None
    except tomllib.TOMLDecodeError as error:
        last = f"line {text.rstrip().count(chr(10)) + 1}, at its end"
        message, place = _PLACE.sub("", str(error)), _PLACE.search(str(error))
        where = last if place is None or place[1] == _END else place[1]
        message = _CLEARER.get(message, f"{message[0].lower()}{message[1:]}")
        raise TomlError(f"{file}, {where}: not TOML: {message}") from None


def name_place(file: Path | None, text: str, path: tuple[str, ...]) -> str:
    """A setting's dotted name, after the line where it is written, or the section that it would be
    in. `text` is the file's content, valid TOML. `file` None: it is not from a file."""
    name = ".".join(path)
    if file is None:
        return name
    line = _find_line(_find_lines(text), path)
    return f"{file}: {name}" if line is None else f"{file}, line {line}: {name}"


def _find_line(lines: Mapping[tuple[str, ...], int], path: tuple[str, ...]) -> int | None:
    """The line of a setting, or of the innermost section around it."""
    return next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), None)


def _find_lines(text: str) -> dict[tuple[str, ...], int]:
    """The first line of every name, found by reading one statement after the other."""
    lines_of: dict[tuple[str, ...], int] = {}
    section: tuple[str, ...] = ()
    statement: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        statement.append(line)
        try:
            values = tomllib.loads("\n".join(statement))
        except tomllib.TOMLDecodeError:  # the statement continues
            if len(statement) > _LINES_MAX:
                break
            continue
        first = number + 1 - len(statement)
        is_header = statement[0].lstrip().startswith("[")
        statement = []
        paths = list(_walk(values, () if is_header else section))
        if is_header:
            section = paths[-1]
        for path in paths:
            lines_of.setdefault(path, first)
    return lines_of


def _walk(node: Any, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for below in node if isinstance(node, list) else [node]:
        if isinstance(below, Mapping):
            for name, value in below.items():
                yield (*above, name)
                yield from _walk(value, (*above, name))


def list_mistakes(error: ValidationError, model: type[BaseModel], text: str) -> list[Mistake]:
    """All mistakes that pydantic found, in the order of the file's lines, without names that are
    missing because of a typing mistake. `text` is the file's content, valid TOML."""
    errors = error.errors(include_url=False)
    strange = {each["loc"][:-1] for each in errors if each["type"] == "extra_forbidden"}
    mistakes = [
        _describe(each["type"], each["loc"], each["input"], model)
        for each in errors
        if each["type"] != "missing" or each["loc"][:-1] not in strange
    ]
    lines = _find_lines(text)
    return sorted(mistakes, key=lambda mistake: _find_line(lines, mistake.path) or len(text))


def _describe(
    kind: str, place: tuple[int | str, ...], value: Any, model: type[BaseModel]
) -> Mistake:
    path, known, field, form = _find_field(tuple(map(str, place)), model)
    if field is None:
        return Mistake(path, f"is not a setting{form}: {_suggest_place(path, known, value)}")
    allowed = describe_allowed(field, path[-1])
    if kind.startswith("union_tag") and isinstance(value, Mapping):
        path, kind, value = (
            (*path, "type"),
            "missing" if "type" not in value else kind,
            value.get("type"),
        )
    if kind == "missing":
        return Mistake(path, f"is missing; write {allowed}")
    if _is_secret(field.annotation):
        return Mistake(path, f"has a value that is not shown here; use {allowed}")
    return Mistake(path, f"is {_show(value)}; use {allowed}")


def _find_field(
    place: tuple[str, ...], model: type[BaseModel]
) -> tuple[tuple[str, ...], type[BaseModel], FieldInfo | None, str]:
    """Where pydantic found a mistake: the setting's path, its section, the setting itself if there
    is one, and in a table of several forms the words for its own."""
    path, known, form = list[str](), model, ""
    field, parts = None, list(place)
    while parts:
        path.append(parts.pop(0))
        field = known.model_fields.get(path[-1])
        if field is None:
            break
        tables = list_tables(field)
        if tables and parts:  # pydantic names the form in between
            named = parts.pop(0)
            if named not in tables:
                break
            known, form = tables[named], f" of {named}"
        elif _is_model(field.annotation):
            known = field.annotation  # type: ignore[assignment] # it is a model
        else:
            break
    return (*path, *parts), known, field, form


def list_tables(field: FieldInfo) -> dict[str, type[BaseModel]]:
    """Of a setting that may be one of several tables, each by its `type`."""
    kinds = (
        get_args(kind)[0] if get_origin(kind) is Annotated else kind
        for kind in get_args(field.annotation)
    )
    models = [kind for kind in kinds if _is_model(kind) and "type" in kind.model_fields]
    return {get_args(kind.model_fields["type"].annotation)[0]: kind for kind in models}


def suggest(name: str, known: Iterable[str]) -> str:
    """The name that was probably meant, or all names there are."""
    names = sorted(known)
    near = get_close_matches(name, names, 1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"there are {', '.join(names)}" if len(names) > 1 else f"there is only {names[0]!r}"


def _suggest_place(path: tuple[str, ...], known: type[BaseModel], value: Any) -> str:
    """The sections that have a setting of this name, if it was written above all of them."""
    name = path[-1]
    sections = [
        f"[{section}]"
        for section, field in known.model_fields.items()
        if len(path) == 1
        and not isinstance(value, Mapping)
        and name in getattr(field.annotation, "model_fields", ())
    ]
    if not sections:
        return suggest(name, known.model_fields)
    return f"write it under {' or '.join(sections)}"


def describe_allowed(field: FieldInfo, name: str = "") -> str:
    """The values that a setting may have, as text to follow "use". `name` is the notation of its
    section."""
    return _say_kind(field.annotation, field.metadata, name)


def _say_kind(kind: Any, rules: Sequence[Any], name: str) -> str:
    origin, inner = get_origin(kind), [each for each in get_args(kind) if each is not NoneType]
    if origin is Annotated:
        return _say_kind(inner[0], [*rules, *_flatten(inner[1:])], name)
    if origin is Literal:
        *words, last = [json.dumps(word) for word in inner]
        return f"{', '.join(words)} or {last}" if words else last
    if origin is tuple:
        length = _say_bounds(rules, _LENGTHS, " items")
        return f"a list in brackets{length}, each item {_say_kind(inner[0], (), name)}"
    if inner and origin is not dict:  # X | None
        return _say_kind(inner[0], rules, name)
    if origin is dict or _is_model(kind):
        return f"a section: [{name}], and its settings below"
    if kind is bool:
        return "true or false"
    if kind in (int, float):
        finite = any(getattr(rule, "allow_inf_nan", None) is False for rule in rules)
        number = "a whole number" if kind is int else "a finite number" if finite else "a number"
        return number + _say_bounds(rules, _RANGE)
    text = "a path in quotes" if kind is Path else "text in quotes"
    patterns = [pattern for rule in rules if (pattern := getattr(rule, "pattern", None))]
    length = _say_bounds(rules, _LENGTHS, " characters")
    return text + length + (f" that fits {patterns[0]}" if patterns else "")


def _flatten(rules: Iterable[Any]) -> Iterator[Any]:
    """Bounds within an annotation, where a field has several of them."""
    for rule in rules:
        yield from rule.metadata if isinstance(rule, FieldInfo) else [rule]


def _say_bounds(rules: Sequence[Any], words: Mapping[str, str], unit: str = "") -> str:
    bounds = {
        name: bound
        for name in words
        for rule in rules
        if (bound := getattr(rule, name, None)) is not None
    }
    if tuple(bounds) in _PAIRS:
        low, high = bounds.values()
        return f" from {low} to {high}{unit}"
    return " and".join(f" {words[name]} {bound}{unit}" for name, bound in bounds.items())


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _is_secret(kind: Any) -> bool:
    return kind is SecretStr or any(map(_is_secret, get_args(kind)))


def _show(value: Any) -> str:
    """A value as TOML writes it, without possible keys in an address."""
    if isinstance(value, str):
        text = json.dumps(mask_endpoint(value), ensure_ascii=False)
        return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"
    if isinstance(value, bool | int | float):
        return json.dumps(value)[:_SHOWN_MAX]
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    return "a section" if isinstance(value, Mapping) else f"of the kind {type(value).__name__}"
