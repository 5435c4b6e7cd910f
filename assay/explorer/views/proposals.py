"""Proposals: what a network that writes its own problems has proposed, who solved it, how hard it
was."""

from collections.abc import Sequence

from assay.explorer.documents.curves import Curve, CurvePoint
from assay.explorer.documents.proposals import ProposalRow, ProposalsDocument, ProposalStep
from assay.explorer.documents.windows import ReadingLack
from assay.explorer.page_reader import PageReader
from assay.explorer.ports import ProposalsReading
from assay.explorer.views.common import Query, divide, list_step_digests, make_paging, name_hotkey
from assay.explorer.views.curves import make_curve
from assay.protocol.parameters import has_proposals

#: Proposals on a page.
_ROWS = 25
_NONE = ReadingLack(
    why="the problems of this network are not its own: its environment has no part `propose`",
    passing=False,
)


def proposes(reader: PageReader) -> bool:
    """Whether the network writes its own problems, by the parameters of its newest window."""
    newest = reader.ask_one("SELECT max(window) AS window FROM windows")["window"]
    return has_proposals(reader.subject.get_parameters(newest or 0).environment)


def view_proposals(reader: PageReader, query: Query) -> ProposalsDocument:
    """The newest proposals, and the pool that they are in. `checkpoint` asks for those that one
    checkpoint's step added."""
    is_own = proposes(reader)
    found = (
        reader.sources.read_proposals(list_step_digests(reader), query.wait_s) if is_own else _NONE
    )
    only = query.get_number("checkpoint")
    document = ProposalsDocument(
        title="Proposals",
        lack=None,
        proposes=is_own,
        checkpoint=None,
        only=only,
        sentence=None,
        pool=None,
        listed=0,
        waiting=0,
        unread=[],
        rows=[],
        paging=make_paging(query, 0, _ROWS),
        steps=[],
        curves=[],
        command=reader.sources.commands.proposals() if is_own else None,
    )
    if not isinstance(found, ProposalsReading):
        return {**document, "lack": found}
    rows = [row for row in found.rows if only is None or row["checkpoint"] == only]
    paging = make_paging(query, len(rows), _ROWS)
    if only is not None:
        paging["kept"]["checkpoint"] = only
    return {
        **document,
        "checkpoint": found.checkpoint,
        "sentence": found.sentence,
        "pool": found.pool,
        "listed": len(found.rows),
        "waiting": found.waiting,
        "unread": list(found.unread),
        "rows": [_name(reader, row) for row in rows[paging["offset"] :][: paging["size"]]],
        "paging": paging,
        "steps": list(found.steps),
        "curves": _list_curves(found.steps),
    }


def _name(reader: PageReader, row: ProposalRow) -> ProposalRow:
    author = row["author"]
    return row if author is None else {**row, "name": name_hotkey(reader, author)}


def _list_curves(steps: Sequence[ProposalStep]) -> list[Curve]:
    """The curves that have a point."""
    sizes = list[CurvePoint]()
    diversity, valid, solved = list[CurvePoint](), list[CurvePoint](), list[CurvePoint]()
    for step in reversed(steps):
        pool, x = step["pool"], step["checkpoint"]
        sizes.append(CurvePoint(x=x, y=pool["proposals"]))
        for points, part, whole in (
            (diversity, pool["shapes"], pool["proposals"]),
            (valid, step["valid"], step["proposed"]),
            (solved, step["solves"], step["tries"]),
        ):
            share = divide(part, whole)
            if share is not None:
                points.append(CurvePoint(x=x, y=share))
    curves = [
        make_curve("proposals", "Proposals in the pool", "checkpoint", sizes, None),
        make_curve("shapes", "Shapes for each proposal, 1: none alike", "checkpoint", diversity, 1),
        make_curve("valid", "Share of valid proposals", "checkpoint", valid, 1),
        make_curve("solved", "Share of right answers", "checkpoint", solved, 1),
    ]
    return [curve for curve in curves if curve["series"]]
