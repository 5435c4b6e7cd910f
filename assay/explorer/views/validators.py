"""Several validators of the subnet beside each other, as `assay audit compare` found them."""

from collections.abc import Callable, Mapping
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from assay.explorer.documents.validators import ComparisonReport
from assay.explorer.page_reader import PageReader
from assay.explorer.views.common import ROWS_MAX, Query, View, describe_trouble, name_hotkey

_COMPARISON = TypeAdapter(ComparisonReport)
_BROKEN = "the comparison of validators is not as `assay audit compare --json` prints it"
#: Rows of each list of the document that are taken.
_LIST_MAX = 256


def view_validators(reader: PageReader, query: Query) -> View:
    """Show which validators judge, which copy, and where verdicts or weights differ."""
    document = reader.sources.read_comparison()
    found = _read(document)
    verdicts = [
        {"window": one["window"], "name": name_hotkey(reader, row["hotkey"]), **row}
        for one in (found["judged"] if found else ())
        for row in one["differing"]
    ]
    seats = [
        {"epoch": one["epoch"], "name": _name(reader, row["hotkey"]), **row}
        for one in (found["settled"] if found else ())
        for row in one["differing"]
    ]
    windows = None if found is None else cast(tuple[int, int], tuple(found["windows"]))
    return {
        "title": "Validators",
        "known": document is not None,
        "trouble": None if document is None or found else describe_trouble(_BROKEN),
        "comparison": found,
        "verdicts": verdicts[:ROWS_MAX],
        "seats": seats[:ROWS_MAX],
        "verdict_count": len(verdicts),
        "seat_count": len(seats),
        "command": reader.sources.commands.compare_validators(windows),
    }


def count_window(reader: PageReader, window: int) -> View | None:
    """How many validators' records of a window were compared with this one, and how many verdicts
    differ; None: it was not compared."""
    judged = _find(reader, lambda found: [w for w in found["judged"] if w["window"] == window])
    return judged and _count(judged, judged["outcomes"])


def count_settlement(reader: PageReader, epoch: int) -> View | None:
    """The same of a settlement's scores and weights."""
    settled = _find(reader, lambda found: [s for s in found["settled"] if s["epoch"] == epoch])
    return settled and _count(settled, settled["totals"])


def _find(reader: PageReader, pick: Callable[[ComparisonReport], list[Any]]) -> Any:
    found = _read(reader.sources.read_comparison())
    own = found and any(v["validator"] == reader.address for v in found["validators"])
    return next(iter(pick(found)), None) if found and own else None


def _count(one: Any, records: list[Any]) -> View:
    return {"validators": len(records), "differing": len(one["differing"])}


def _read(document: Mapping[str, Any] | None) -> ComparisonReport | None:
    """The part of a comparison that can be shown. None if it is missing or invalid."""
    try:
        return _cut(_COMPARISON.validate_python(document)) if document else None
    except ValidationError:
        return None


def _name(reader: PageReader, address: str | None) -> str | None:
    return None if address is None else name_hotkey(reader, address)


def _cut(found: ComparisonReport) -> ComparisonReport:
    """The newest of each list, so that a page stays a page."""
    return {
        **found,
        "validators": found["validators"][:_LIST_MAX],
        "shared_witnesses": found["shared_witnesses"][:_LIST_MAX],
        "judged": found["judged"][-_LIST_MAX:],
        "settled": found["settled"][-_LIST_MAX:],
    }
