"""What views share: pages of lists, heat strips, shares, the command that derives it again."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assay.explorer.labels import get_mark
from assay.explorer.page_reader import PageReader
from assay.explorer.troubles import find_trouble

View = dict[str, Any]

#: Longest number in an address, digits.
_DIGITS_MAX = 12


@dataclass(frozen=True, slots=True)
class Query:
    """What an address asks for beside its path: each value at most `LIMIT` characters."""

    values: dict[str, str]

    LIMIT = 64

    def get(self, name: str, default: str = "") -> str:
        """A value, cut."""
        return self.values.get(name, default)[: self.LIMIT].strip()

    def get_page(self) -> int:
        """Which page of a list, from 1."""
        text = self.get("page", "1")
        plain = text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX
        return max(1, int(text)) if plain else 1


def pick(row: Mapping[str, Any], *names: str) -> View:
    """Some of a row's columns, as they are."""
    return {name: row[name] for name in names}


def make_paging(query: Query, count: int, size: int, **kept: str) -> View:
    """Which part of a list is shown.

    Args:
        kept: what the addresses of other pages keep of this one's query.
    """
    pages = max(1, -(-count // size))
    page = min(query.get_page(), pages)
    return {
        "page": page,
        "pages": pages,
        "count": count,
        "first": min(count, (page - 1) * size + 1),
        "last": min(count, page * size),
        "offset": (page - 1) * size,
        "size": size,
        "kept": {name: value for name, value in kept.items() if value},
    }


def make_strip(verdicts: Iterable[tuple[int, str | None]]) -> View:
    """A heat strip: (window, reason) in order; its words say it without colour or shape."""
    cells = [{"window": window, "reason": reason} for window, reason in verdicts]
    counts: dict[str, int] = {}
    for cell in cells:
        name = str(cell["reason"] or "no verdict")
        counts[name] = counts.get(name, 0) + 1
    words = ", ".join(f"{count} × {name}" for name, count in counts.items())
    said = "no window"
    if cells:
        said = f"windows {cells[0]['window']} to {cells[-1]['window']}: {words}"
    return {"cells": cells, "words": said}


def divide(part: int, whole: int, digits: int = 6) -> float | None:
    """A share, None of nothing."""
    return round(part / whole, digits) if whole else None


def describe_audit(reader: PageReader, first: int | None, last: int | None) -> View:
    """The command that derives windows again, and which of those wanted it covers: None of both
    where there is none, or no window."""
    nothing: View = {"command": None, "covers": None}
    if first is None or last is None:
        return nothing
    found = reader.sources.commands.audit(first, last)
    if found is None:
        return nothing
    covers = {
        "first": found.first,
        "last": found.last,
        "whole": (found.first, found.last) == (first, last),
        "runs_model": found.runs_model,
    }
    return {"command": found.text, "covers": covers}


def describe_trouble(sentence: str | None) -> View | None:
    """What may be said of a program's trouble: the sentence itself is its operator's."""
    found = find_trouble(sentence)
    return None if found is None else {"kind": found.kind, "about": found.about}


def describe_origin(reader: PageReader, checkpoint: bytes) -> View:
    """Where a checkpoint comes from: nothing of one whose manifest is not at hand."""
    found = reader.sources.read_manifest(checkpoint)
    return {name: getattr(found, name, None) for name in ("number", "parent", "step")}


def name_hotkey(reader: PageReader, address: str) -> str | None:
    """What a run calls a hotkey, where it has a name for it."""
    return reader.sources.get_names().get(address)


def count_reasons(reasons: Sequence[str | None]) -> list[View]:
    """Reasons and how often each was given, the most frequent first."""
    counts: dict[str, int] = {}
    for reason in reasons:
        counts[reason or "no verdict"] = counts.get(reason or "no verdict", 0) + 1
    return [
        {"reason": reason, "count": count, "word": get_mark(reason).word}
        for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
