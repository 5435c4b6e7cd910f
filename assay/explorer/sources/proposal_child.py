"""The child that reads what steps say of proposals, one more at each request: see
`assay.audit.provenance.proposals`, whose listing `assay train proposals` shows, too."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from assay.artifacts.steps.file import open_step_parser
from assay.artifacts.steps.folder import Step
from assay.audit.provenance.proposals import (
    PoolRow,
    StepFindings,
    StepPlace,
    list_line,
    list_published_line,
    make_pool_history,
    open_place,
    read_step_findings,
)
from assay.environments.pieces.growth import PoolFigures
from assay.explorer.documents.proposals import (
    FUNCTION_SHOWN,
    PROPOSALS_SHOWN,
    SOLVERS_SHOWN,
    VALUE_SHOWN,
    PoolSummary,
    ProposalRow,
    ProposalStep,
)
from assay.explorer.ports import ProposalsReading
from assay.explorer.sources.progress import note_progress
from assay.network.store.folder import open_folder
from assay.protocol.errors import OperatorError
from assay.protocol.ss58 import encode_ss58

#: Seconds for scoring one step's groups: less than the parent waits for an answer.
_STEP_S = 60.0


def answer(request: bytes) -> bytes:
    """The newest proposals as JSON, with what each step says; or what the operator should know of
    why there are none."""
    order = json.loads(request)
    document: dict[str, Any] = {"reading": None, "found": {}, "unread": [], "message": None}
    try:
        with TemporaryDirectory(dir=order["scratch"]) as models:
            document |= _read(order, Path(models))
    except (OperatorError, OSError, ValueError) as error:
        document["message"] = str(error)
    return json.dumps(document).encode()


def _read(order: dict[str, Any], models: Path) -> dict[str, Any]:
    """
    Args:
        models: an empty folder, for checkpoints of published steps.
    """
    line, place = _list_line(order, models)
    if not line:
        return {}
    names = {step.record.digest.hex(): step for step in line}
    found = {
        name: StepFindings.from_json(document)
        for name, document in order["found"].items()
        if name in names
    }
    unread, message = [name for name in order["unread"] if name in names], None
    wanted = next((name for name in names if name not in found and name not in unread), None)
    if wanted is not None:
        note_progress(order["progress"], len(found) + len(unread), len(names), "steps")
        try:
            with open_step_parser() as parser:
                found[wanted] = read_step_findings(names[wanted], parser, place, _STEP_S)
        except (OperatorError, OSError, ValueError) as error:
            unread.append(wanted)
            message = str(error)
    read = [found[name] for name in names if name in found]
    history = make_pool_history(line[0], place, read)
    added = Counter(row.number for row in history.rows)
    reading = ProposalsReading(
        checkpoint=history.number,
        sentence=str(history.figures.to_json()["sentence"]),
        pool=_describe_pool(history.figures),
        rows=[_describe_row(row) for row in history.rows[:PROPOSALS_SHOWN]],
        steps=[_describe_step(one, added[one.number]) for one in read],
        waiting=len(line) - len(found) - len(unread),
        unread=[step.record.number for name, step in names.items() if name in unread],
    )
    return {
        "reading": asdict(reading),
        "found": {name: one.to_json() for name, one in found.items()},
        "unread": unread,
        "message": message,
    }


def _list_line(order: dict[str, Any], models: Path) -> tuple[Sequence[Step], StepPlace]:
    folder, most = Path(order["folder"]), order["most"]
    line = list_line(folder, most)
    if line:
        return line, open_place(folder)
    folders = [Path(store) for store in order["stores"]]
    digests = [bytes.fromhex(step) for step in order["published"]]
    stores = [open_folder(store) for store in folders]
    return list_published_line(folders, digests, most), StepPlace(models, stores, stores)


def _describe_pool(figures: PoolFigures) -> PoolSummary:
    return PoolSummary(
        proposals=figures.proposals,
        shapes=figures.shapes,
        largest=figures.largest,
        size=figures.size,
        inputs=figures.inputs,
    )


def _describe_step(one: StepFindings, added: int) -> ProposalStep:
    counts = [count for tries in one.tries.values() for count in tries.values()]
    return ProposalStep(
        checkpoint=one.number,
        window=one.window,
        proposed=one.proposed,
        valid=one.valid,
        added=added,
        tries=sum(tries for tries, _ in counts),
        solves=sum(solves for _, solves in counts),
        pool=_describe_pool(one.figures),
    )


def _describe_row(row: PoolRow) -> ProposalRow:
    piece = row.piece
    return ProposalRow(
        digest=piece.digest.hex(),
        function=piece.function[:FUNCTION_SHOWN],
        length=len(piece.function),
        given=piece.inputs[0][:VALUE_SHOWN],
        output=piece.outputs[0][:VALUE_SHOWN],
        inputs=len(piece.inputs),
        size=piece.size,
        checkpoint=row.number,
        window=row.window,
        author=None if row.hotkey is None else encode_ss58(row.hotkey),
        name=None,
        group=row.index,
        rollout=row.rollout,
        tries=row.tries,
        solves=row.solves,
        solved=row.solves / row.tries if row.tries else None,
        solvers=[encode_ss58(hotkey) for hotkey in row.solvers[:SOLVERS_SHOWN]],
        solver_count=len(row.solvers),
    )
