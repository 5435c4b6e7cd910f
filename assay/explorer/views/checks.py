"""What the explorer has checked of the record, and how to audit it."""

from assay.explorer.documents.checks import CheckRow, ChecksDocument
from assay.explorer.page_reader import PageReader
from assay.explorer.views.common import Query, describe_audit
from assay.explorer.views.settlements import show_weights

#: Newest windows that the audit covers, where a command reaches as many.
_WINDOWS = 12


def view_checks(reader: PageReader, query: Query) -> ChecksDocument:
    """Count what was checked, and name the command that derives the newest windows again."""
    windows = reader.ask_one(
        "SELECT count(*) AS n, coalesce(sum(link = 'ok'), 0) AS linked, "
        "coalesce(sum(beacons != 'none'), 0) AS lit, "
        "coalesce(sum(beacons = 'verified'), 0) AS verified FROM windows"
    )
    settlements = reader.ask_one(
        "SELECT count(*) AS n, coalesce(sum(sound), 0) AS sound, max(epoch) AS newest "
        "FROM settlements"
    )
    checks = [
        CheckRow(
            name="Beacons",
            what="windows",
            checked=windows["lit"],
            sound=windows["verified"],
            how="the rounds follow from the blocks’ times, and the chain’s pinned key signed them",
        ),
        CheckRow(
            name="Links",
            what="windows",
            checked=windows["n"],
            sound=windows["linked"],
            how="a window’s record is the one that its settlement names by digest",
        ),
        CheckRow(
            name="Roots",
            what="settlements",
            checked=settlements["n"],
            sound=settlements["sound"],
            how="its score root and its weights’ digest are those of its scores and weights",
        ),
    ]
    if settlements["newest"] is not None:
        weights = show_weights(reader, settlements["newest"], 0)
        if weights["derived"] is not None:
            checks.append(
                CheckRow(
                    name="Weights",
                    what="settlements",
                    checked=1,
                    sound=int(weights["derived"] and weights["scores_derived"] is not False),
                    how="the newest one’s scores and weights, derived again from its windows’ rows",
                )
            )
    rows = reader.ask("SELECT window FROM windows ORDER BY window DESC LIMIT ?", _WINDOWS)
    first, last = (rows[-1]["window"], rows[0]["window"]) if rows else (None, None)
    return ChecksDocument(title="Check", checks=checks, **describe_audit(reader, first, last))
