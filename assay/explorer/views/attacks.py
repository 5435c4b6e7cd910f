"""The gauntlet's last table."""

from collections.abc import Mapping
from itertools import islice
from typing import Any, get_type_hints

from assay.explorer.documents.training import GauntletDocument, StrategyRow
from assay.explorer.page_reader import PageReader
from assay.explorer.views.common import Query, describe_trouble
from assay.protocol.errors import Trouble, TroubleKind

#: Most rows, reasons of a row and characters of a name; size of the largest number.
_ROWS_MAX, _REASONS, _NAME, _NUMBER_MAX = 512, 32, 200, 10**15
_BROKEN = Trouble(TroubleKind.GAUNTLET, "the gauntlet's table is not as `assay gauntlet` writes it")
#: The columns of a row that hold a figure.
_FIGURES = [name for name, kind in get_type_hints(StrategyRow).items() if kind == float | None]


def view_gauntlet(reader: PageReader, query: Query) -> GauntletDocument:
    """Show the pay of every known attack in the last measurement. If the table is not as `assay
    gauntlet` writes it, show the readable rows and say that some are missing."""
    document = reader.sources.read_gauntlet()
    table = {} if document is None else document
    listed = table.get("rows")
    rows = [row for row in listed if type(row) is dict] if type(listed) is list else []
    sound = (
        type(listed) is list
        and len(rows) == len(listed) <= _ROWS_MAX
        and all(_is_sound(table, name) for name in ("windows", "seconds"))
        and all(_is_sound(row, name) for row in rows[:_ROWS_MAX] for name in _FIGURES)
    )
    return GauntletDocument(
        title="Gauntlet",
        known=document is not None,
        trouble=None if document is None or sound else describe_trouble(_BROKEN),
        windows=_get_number(table, "windows"),
        seconds=_get_number(table, "seconds"),
        rows=[_describe_row(row) for row in rows[:_ROWS_MAX]],
        command=None if document is None else reader.sources.commands.gauntlet(document),
    )


def _get_number(row: Mapping[str, Any], name: str) -> float | None:
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not -_NUMBER_MAX <= value <= _NUMBER_MAX:
        return None  # NaN is in no range
    return value


def _is_sound(row: Mapping[str, Any], name: str) -> bool:
    return row.get(name) is None or _get_number(row, name) is not None


def _describe_row(row: Mapping[str, Any]) -> StrategyRow:
    reasons = row.get("reasons")
    return StrategyRow(
        attack=_get_name(row, "attack"),
        model=_get_name(row, "model"),
        legal=row.get("legal") is True,
        pays=row.get("pays") is True,
        differs=_get_number(row, "differs"),
        caught_given_differs=_get_number(row, "caught_given_differs"),
        detected_per_rollout=_get_number(row, "detected_per_rollout"),
        detected_per_group=_get_number(row, "detected_per_group"),
        detected_per_window=_get_number(row, "detected_per_window"),
        tokens_to_9999=_get_number(row, "tokens_to_9999"),
        income_per_compute=_get_number(row, "income_per_compute"),
        income_error=_get_number(row, "income_error"),
        reasons={
            reason[:_NAME]: count
            for reason, count in islice(reasons.items() if type(reasons) is dict else (), _REASONS)
            if type(count) is int and 0 <= count <= _NUMBER_MAX
        },
    )


def _get_name(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return value[:_NAME] if type(value) is str else ""
