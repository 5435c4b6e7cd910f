"""The gauntlet's last table."""

from collections.abc import Mapping
from itertools import islice
from typing import Any, get_type_hints

from assay.explorer.documents.training import GauntletDocument, StrategyRow
from assay.explorer.page_reader import PageReader
from assay.explorer.views.common import (
    FIGURE_MAX,
    TEXT_MAX,
    Query,
    describe_trouble,
    read_number,
    read_text,
)
from assay.protocol.errors import Trouble, TroubleKind

#: Most rows, and reasons of a row.
_ROWS_MAX, _REASONS = 512, 32
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
        windows=read_number(table, "windows"),
        seconds=read_number(table, "seconds"),
        rows=[_describe_row(row) for row in rows[:_ROWS_MAX]],
        command=None if document is None else reader.sources.commands.gauntlet(document),
    )


def _is_sound(row: Mapping[str, Any], name: str) -> bool:
    return row.get(name) is None or read_number(row, name) is not None


def _describe_row(row: Mapping[str, Any]) -> StrategyRow:
    reasons = row.get("reasons")
    return StrategyRow(
        attack=read_text(row, "attack"),
        model=read_text(row, "model"),
        legal=row.get("legal") is True,
        pays=row.get("pays") is True,
        differs=read_number(row, "differs"),
        caught_given_differs=read_number(row, "caught_given_differs"),
        detected_per_rollout=read_number(row, "detected_per_rollout"),
        detected_per_group=read_number(row, "detected_per_group"),
        detected_per_window=read_number(row, "detected_per_window"),
        tokens_to_9999=read_number(row, "tokens_to_9999"),
        income_per_compute=read_number(row, "income_per_compute"),
        income_error=read_number(row, "income_error"),
        reasons={
            reason[:TEXT_MAX]: count
            for reason, count in islice(reasons.items() if type(reasons) is dict else (), _REASONS)
            if type(count) is int and 0 <= count <= FIGURE_MAX
        },
    )
