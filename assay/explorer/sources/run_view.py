"""Reads the folder of a demo, a validator or a trainer for the explorer's pages.

Nothing raises: invalid files count as missing.
"""

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assay.artifacts.records.run_folder import BROKEN, DOCUMENT_BYTES, JsonFile, RunFolder
from assay.artifacts.status.demo import DemoStatus
from assay.artifacts.status.program import ProgramStatus
from assay.artifacts.status.validator import PostStatus, ValidatorStatus, is_validator
from assay.environments.levels import Success
from assay.explorer.documents.settlements import EntryFields
from assay.explorer.documents.training import AccuracyPoint
from assay.explorer.ports import EntryStatus, Live, ShownWeights, Training, TrainingStep
from assay.network.files import is_locked
from assay.protocol.errors import Trouble, TroubleKind

#: Age of a status after which the program's lock is checked: it is written at least every 10 s.
_STALE_S = 13.0
#: Most steps, points and posts that are read.
_ROWS_MAX = 4_096
#: Settlements after an epoch's whose blocks may show its weights.
_LOOKS = 3
_DIGEST = re.compile("[0-9a-f]{64}")


class RunView(RunFolder):
    """The folder of a demo, or of a validator, as pages show it."""

    def __init__(self, root: Path, validator: bytes) -> None:
        super().__init__(root)
        self._validator = validator.hex()
        self._facts: tuple[tuple[int, int], dict[int, dict[int, int]]] | None = None

    def read_live(self) -> Live | None:
        document: DemoStatus | None = self.status.read()  # or a program's without a demo's fields
        if document is None:
            return None
        try:
            windows = document["windows"] if is_validator(document) else []
            trouble = _read_trouble(document)
            if document.get("stage") == "done":
                moving, program = False, "the run has ended"
            else:
                name = "demo" if "stage" in document else str(document["program"])
                moving, end = self._describe_end(document, name)
                stage = f": {document['stage']}" if moving and "stage" in document else ""
                program = f"the {name}{stage}{end}"
            return Live(int(document["head"]), moving, program, trouble, windows)
        except BROKEN:
            return None

    def _describe_end(self, document: ProgramStatus, name: str) -> tuple[bool, str]:
        """Whether a program runs, and a remark if it has stopped or is late."""
        if document["state"] != "running":
            return False, " has stopped"
        last = f"{datetime.fromtimestamp(document['at'], UTC):%Y-%m-%d %H:%M:%S} UTC"
        if time.time() - document["at"] < _STALE_S:
            return True, ""
        match is_locked(self.root / f".assay-{name}"):
            case True:  # a step may take minutes, and so may its beginning
                return True, f", at work and last heard of at {last}"
            case False:
                return False, f" ended without a word: it was last heard of at {last}"
            case _:
                return False, f" was last heard of at {last}"

    def makes_blocks(self) -> bool:
        """Whether the program is a demo, which runs a chain whose blocks wait for its work."""
        document = self.status.read()
        return isinstance(document, dict) and "stage" in document

    def is_alive(self) -> bool:
        """Whether a program runs in the folder, or is about to."""
        live = self.read_live()
        return self.is_held() if live is None else live.moving

    def read_shown(self, epoch: int, wanted: Mapping[int, int]) -> ShownWeights | None:
        blocks = self._read_weights()
        looks = sorted(n for n in blocks if n > epoch)[:_LOOKS]
        for number in looks:
            if blocks[number] == dict(wanted):
                return ShownWeights(number, blocks[number])
        return ShownWeights(looks[0], blocks[looks[0]]) if looks else None

    def _read_weights(self) -> dict[int, dict[int, int]]:
        """Block → uid → weight, which is the only part of the file that stays in memory."""
        path = self.root / "bundle" / "facts.json"
        try:
            stat = path.stat()
            mark = stat.st_mtime_ns, stat.st_size
            if self._facts is None or self._facts[0] != mark:
                with path.open("rb") as opened:
                    answers = json.loads(opened.read(DOCUMENT_BYTES))["answers"]["weights"]
                self._facts = (
                    mark,
                    {
                        int(block): {
                            int(u): int(w) for u, w in rows.get(self._validator, {}).items()
                        }
                        for block, rows in answers.items()
                        if isinstance(rows, dict)
                    },
                )
        except (OSError, *BROKEN, RecursionError):
            return {}
        return self._facts[1]

    def list_posts(self) -> list[EntryStatus] | None:
        def read(status: ValidatorStatus) -> list[EntryStatus]:
            return [_read_post(row) for row in status["posts"][:_ROWS_MAX]]

        return self.status.pick(read, None)

    def read_held_out(self) -> list[AccuracyPoint]:
        document = self.summary.read()
        try:
            accuracy, steps = document["accuracy"], document["steps"]
            ends = ((0, "before"), (len(steps), "after"))
            return [
                AccuracyPoint(
                    number=number,
                    value=float(accuracy[when]),
                    low=float(accuracy[f"{when}_interval95"][0]),
                    high=float(accuracy[f"{when}_interval95"][1]),
                    problems=int(accuracy["problems"]),
                )
                for number, when in ends
            ]
        except BROKEN:
            return []


def _read_trouble(document: ProgramStatus) -> Trouble | None:
    if not document.get("trouble"):
        return None
    stated = document.get("trouble_kind")
    kind = next((kind for kind in TroubleKind if kind == stated), TroubleKind.OTHER)
    return Trouble(kind, str(document["trouble"]))


def _read_post(row: PostStatus) -> EntryStatus:
    return EntryStatus(
        int(row["epoch"]),
        str(row["state"]),
        row["transaction"] and str(row["transaction"]),
        row["block"],
        Trouble(TroubleKind.LEDGER, str(row["trouble"])) if row["trouble"] else None,
        _read_entry(row["entry"]),
    )


def _read_entry(entry: Mapping[str, Any]) -> EntryFields | None:
    audit_round = entry.get("audit_round")
    if type(audit_round) is not int:
        return None
    return EntryFields(
        score_root=str(entry.get("score_root", "")),
        record_digest=str(entry.get("record_digest", "")),
        checkpoint=str(entry.get("checkpoint", "")),
        audit_round=audit_round,
        weights_digest=str(entry.get("weights_digest", "")),
    )


class TrainerOutput:
    """The folder of a trainer, or the demo's, which is one as well. read_held_out: points for a
    folder without any of its own."""

    def __init__(
        self, root: Path, read_held_out: Callable[[], Sequence[AccuracyPoint]] = list
    ) -> None:
        self.root = root
        self._read_held_out = read_held_out
        self._points = JsonFile(root / "progress.json")
        self._steps: dict[str, TrainingStep] = {}

    def read(self) -> Training | None:
        """Steps and points. None: there are neither."""
        steps, points = self._read_steps(), self._read_points() or self._read_held_out()
        return Training(steps, points) if steps or points else None

    def get_newest_step(self) -> Path | None:
        paths = self._list_steps()
        return paths[-1] if paths else None

    def _list_steps(self) -> list[Path]:
        return sorted((self.root / "steps").glob("step-*.json"))[-_ROWS_MAX:]

    def _read_steps(self) -> list[TrainingStep]:
        known = {}
        for path in self._list_steps():  # a step's record never changes
            step = self._steps.get(path.name) or JsonFile(path).pick(_read_step, None)
            if step is not None:
                known[path.name] = step
        self._steps = known
        return list(known.values())

    def _read_points(self) -> list[AccuracyPoint]:
        return self._points.pick(
            lambda points: [_describe_point(row) for row in (points or [])[-_ROWS_MAX:]], []
        )


def _read_step(document: Any) -> TrainingStep:
    """Raises one of `BROKEN`: it is not a step."""
    record = document["record"]
    step = TrainingStep(
        int(record["number"]),
        int(record["window"]),
        int(record["groups"]),
        record["parent"],
        document["child"],
        document["digest"],
    )
    if not all(_DIGEST.fullmatch(digest) for digest in (step.parent, step.child, step.record)):
        raise ValueError("a digest in it is not one")
    return step


def _describe_point(row: Mapping[str, Any]) -> AccuracyPoint:
    problems = int(row["problems"])
    share = Success(int(row["correct"]), problems) if problems else None
    point = AccuracyPoint(
        number=int(row["number"]),
        reward=float(row["reward"]),
        value=None if share is None else round(share.value, 4),
        low=None if share is None else round(share.interval[0], 4),
        high=None if share is None else round(share.interval[1], 4),
        problems=problems,
    )
    if row.get("levels"):  # else they are not those of its lesson
        point["levels"] = [int(level) for level in row["levels"]]
    return point
