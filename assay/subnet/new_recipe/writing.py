"""The text of a new recipe: TOML in which each number says where it is from."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from assay.network.text import make_printable

#: Columns of a line, and of a list that has one line.
_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """A key with its value, and why it has that; empty: the value says it."""

    key: str
    value: Any
    why: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A table. `name` is empty for the head. `about`: paragraphs above it."""

    name: str
    entries: Sequence[Entry]
    about: Sequence[str] = ()


def write_recipe(sections: Iterable[Section]) -> str:
    """The file's text. The same sections give the same text."""
    return "\n".join("\n".join(_write_section(one)) + "\n" for one in sections if one.entries)


def list_settings(values: Mapping[str, Any], whys: Mapping[str, str]) -> list[Entry]:
    """Entries of a mapping, with reasons by key."""
    return [
        Entry(key, value, whys.get(key, "")) for key, value in values.items() if value is not None
    ]


def _write_section(section: Section) -> Iterable[str]:
    for paragraph in section.about:
        yield from _comment(paragraph)
    if section.name:
        yield f"[{section.name}]"
    tables = []
    for entry in section.entries:
        if isinstance(entry.value, Mapping):
            tables.append(entry)
            continue
        line = f"{entry.key} = {_write_value(entry.value)}"
        why = " ".join(make_printable(entry.why).split())
        if why and "\n" not in line and len(line) + len(why) + 5 <= _WIDTH:
            line += f"   # {why}"
        elif why:
            yield from _comment(why)
        yield line
    for table in tables:
        entries = [Entry(key, value) for key, value in table.value.items()]
        yield ""
        yield from _write_section(Section(f"{section.name}.{table.key}", entries))


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in wrap(make_printable(text), _WIDTH - 2, break_long_words=False)]


def _write_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:_}"
    if isinstance(value, float):
        return repr(value).replace("e-0", "e-")
    if isinstance(value, str):  # TOML's basic strings have JSON's escapes, and no DEL
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    items = [_write_value(item) for item in value]
    line = f"[{', '.join(items)}]"
    if len(line) < _WIDTH:
        return line
    return "[\n" + "".join(f"    {item},\n" for item in items) + "]"
