"""Tables of a view's document by themselves: rows, and CSV of them.

A spreadsheet could take a stranger's text for a formula. Such a text begins with an apostrophe
here, so that a spreadsheet takes it for text.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from typing import Any

#: With these a spreadsheet begins a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def pick_rows(document: Mapping[str, Any], place: str) -> list[dict[str, Any]]:
    """A table's rows. Empty if the document has nothing at that place."""
    value: Any = document
    for name in place.split("."):
        value = None if value is None else value.get(name)
    return list(value or ())


def write_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """CSV with a header line. Nested names have a dot between them, lists are JSON, and a missing
    value is empty."""
    flat = [dict(_flatten(row)) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\r\n")  # as RFC 4180 has it
    if names:
        lines.writerow(names)
    lines.writerows([_write(row.get(name)) for name in names] for row in flat)
    return out.getvalue()


def _flatten(row: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{before}{name}.")
        else:
            yield before + name, value


def _write(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return json.dumps(value)
