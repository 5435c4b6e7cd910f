"""The gauntlet's last table."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from assay.explorer.reader import Reader
from assay.explorer.views.common import Query, View

_ROWS_MAX = 512
#: Figures of a row of the gauntlet, with what they are.
_FIGURES = (
    "differs", "caught_given_differs", "detected_per_rollout", "detected_per_group",
    "detected_per_window", "tokens_to_9999", "income_per_compute", "income_error",
)  # fmt: skip


def view_gauntlet(reader: Reader, query: Query) -> View:
    """What every known way to cheat earned, as it was measured last."""
    document = reader.around.read_gauntlet()
    rows = [] if document is None else [r for r in document.get("rows", []) if type(r) is dict]
    return {
        "title": "Gauntlet",
        "known": document is not None,
        "windows": None if document is None else _get_number(document, "windows"),
        "seconds": None if document is None else _get_number(document, "seconds"),
        "rows": [_describe_row(row) for row in rows[:_ROWS_MAX]],
        "command": None if document is None else reader.around.commands.gauntlet(document),
    }


def _get_number(row: Mapping[str, Any], name: str) -> float | int | None:
    value = row.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
        return None
    return value


def _describe_row(row: Mapping[str, Any]) -> View:
    reasons = row.get("reasons")
    return {
        "attack": str(row.get("attack", "")),
        "model": str(row.get("model", "")),
        "legal": row.get("legal") is True,
        "pays": row.get("pays") is True,
        **{name: _get_number(row, name) for name in _FIGURES},
        "reasons": {
            str(reason): count
            for reason, count in (reasons.items() if type(reasons) is dict else ())
            if type(count) is int
        },
    }
