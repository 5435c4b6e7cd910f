"""Several validators of the subnet beside each other, by the output of `assay audit compare`."""

from collections.abc import Mapping
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from assay.explorer.documents.shared import OtherRecords
from assay.explorer.documents.validators import (
    ComparedSettlementRow,
    ComparedWindowRow,
    ComparisonReport,
    ListedSeat,
    ListedVerdict,
    ValidatorsDocument,
)
from assay.explorer.page_reader import PageReader
from assay.explorer.views.common import ROWS_MAX, Query, describe_trouble, name_hotkey
from assay.protocol.errors import Trouble, TroubleKind

_COMPARISON = TypeAdapter(ComparisonReport)
_BROKEN = Trouble(
    TroubleKind.COMPARISON,
    "the comparison of validators is not as `assay audit compare --json` prints it",
)
#: Rows of each list of the document that are taken.
_LIST_MAX = 256


def view_validators(reader: PageReader, query: Query) -> ValidatorsDocument:
    """Show which validators judge, which copy, and where verdicts or weights differ."""
    document = reader.sources.read_comparison()
    report = _read(document)
    verdicts = [
        ListedVerdict(window=one["window"], name=name_hotkey(reader, row["hotkey"]), **row)
        for one in (report["judged"] if report else ())
        for row in one["differing"]
    ]
    seats = [
        ListedSeat(epoch=one["epoch"], name=_name(reader, row["hotkey"]), **row)
        for one in (report["settled"] if report else ())
        for row in one["differing"]
    ]
    windows = None if report is None else cast(tuple[int, int], tuple(report["windows"]))
    return ValidatorsDocument(
        title="Validators",
        known=document is not None,
        trouble=None if document is None or report else describe_trouble(_BROKEN),
        comparison=report,
        verdicts=verdicts[:ROWS_MAX],
        seats=seats[:ROWS_MAX],
        verdict_count=len(verdicts),
        seat_count=len(seats),
        command=reader.sources.commands.compare_validators(windows),
    )


def count_window(reader: PageReader, window: int) -> OtherRecords | None:
    """How many validators' records of a window were compared with this one, and how many verdicts
    differ. None: it was not compared."""
    report = _read_own(reader)
    for row in report["judged"] if report else ():
        if row["window"] == window:
            return _count(row, len(row["outcomes"]))
    return None


def count_settlement(reader: PageReader, epoch: int) -> OtherRecords | None:
    """The same of a settlement's scores and weights."""
    report = _read_own(reader)
    for row in report["settled"] if report else ():
        if row["epoch"] == epoch:
            return _count(row, len(row["totals"]))
    return None


def _count(row: ComparedWindowRow | ComparedSettlementRow, records: int) -> OtherRecords:
    return OtherRecords(validators=records, differing=len(row["differing"]))


def _read_own(reader: PageReader) -> ComparisonReport | None:
    """The comparison, if this record's validator is in it."""
    report = _read(reader.sources.read_comparison())
    if report and any(row["validator"] == reader.address for row in report["validators"]):
        return report
    return None


def _read(document: Mapping[str, Any] | None) -> ComparisonReport | None:
    """The part of a comparison that can be shown. None if it is missing or invalid."""
    try:
        return _cut(_COMPARISON.validate_python(document)) if document else None
    except ValidationError:
        return None


def _name(reader: PageReader, address: str | None) -> str | None:
    return None if address is None else name_hotkey(reader, address)


def _cut(report: ComparisonReport) -> ComparisonReport:
    """The newest of each list, so that a page stays a page."""
    return {
        **report,
        "validators": report["validators"][:_LIST_MAX],
        "shared_witnesses": report["shared_witnesses"][:_LIST_MAX],
        "judged": report["judged"][-_LIST_MAX:],
        "settled": report["settled"][-_LIST_MAX:],
    }
