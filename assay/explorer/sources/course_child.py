"""The child that reads a course's windows and judges them: see `assay.training.watch`."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from assay.audit.provenance.course import read_course, read_published_course
from assay.explorer.documents.training import RuleRow, StaleRow, WatchedRow
from assay.explorer.ports import CourseReading
from assay.explorer.sources.progress import note_progress
from assay.protocol.errors import OperatorError
from assay.training.watch import (
    NEWEST,
    WINDOWS_FILE,
    WatchedWindow,
    get_entropy,
    judge_course,
    list_figures,
    measure_rules,
)


def answer(request: bytes) -> bytes:
    """A course as JSON, or what the operator should know of why there is none."""
    order = json.loads(request)
    folder = Path(order["folder"])

    def tell(done: int, of: int) -> None:
        note_progress(order["progress"], done, of, "steps")

    is_own = (folder / WINDOWS_FILE).is_file()
    try:
        if is_own or any((folder / "steps").glob("step-*.json")):
            windows = read_course(folder, tell)
        else:
            digests = [bytes.fromhex(step) for step in order["steps"]]
            stores = [Path(store) for store in order["stores"]]
            windows = read_published_course(stores, digests, tell)
    except (OperatorError, OSError) as error:
        return json.dumps({"course": None, "message": str(error)}).encode()
    document: dict[str, Any] = {"course": None, "message": None}
    if windows:
        document["course"] = asdict(_describe(is_own, windows))
    return json.dumps(document).encode()


def _describe(is_own: bool, windows: list[WatchedWindow]) -> CourseReading:
    verdict = judge_course(windows)
    held = [finding.rule for finding in verdict.findings]
    rules = [
        RuleRow(
            rule=rule.name,
            state=rule.state.value,
            figure=rule.figure,
            value=value,
            threshold=rule.threshold,
            highest=rule.highest,
            windows=rule.windows,
            newest=NEWEST,
            holds=rule in held,
            help=rule.help,
        )
        for rule, value in measure_rules(windows)
    ]
    return CourseReading(
        is_own, verdict.state.value, str(verdict), rules, [_describe_window(w) for w in windows]
    )


def _describe_window(window: WatchedWindow) -> WatchedRow:
    groups = window.groups
    return WatchedRow(
        window=window.window,
        checkpoint=window.checkpoint,
        failed=window.fault is not None,
        groups=None if groups is None else groups.groups,
        teaching=None if groups is None else groups.teaching,
        reward=None if groups is None else groups.reward,
        entropy=get_entropy(window),
        distinct=None if groups is None else groups.distinct,
        size=None if groups is None else groups.size,
        length=None if groups is None else groups.length_mean,
        at_limit=None if groups is None else groups.at_limit,
        ratio_p01=None if window.stats is None else window.stats.ratio_p01,
        stale_ages=[] if window.stats is None else cast(list[StaleRow], window.stats.stale_ages),
        figures=_read_figures(window),
    )


def _read_figures(window: WatchedWindow) -> dict[str, float]:
    """Those that are numbers: a trainer's file may have anything there."""
    stats = window.stats and replace(window.stats, stale_ages=[])  # they have rows of their own
    try:
        return list_figures(replace(window, stats=stats))
    except (TypeError, ValueError):
        return {}
