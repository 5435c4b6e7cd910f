"""What `assay audit`, `assay audit export` and `assay audit round` print."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar

from assay.audit.acts import ExportedBundle
from assay.audit.auditor import Progress
from assay.audit.findings import (
    ABSTAINED,
    ABSTAINED_EARLY,
    NO_INPUTS,
    NO_RECORD,
    UNANNOUNCED,
    Aspect,
    AuditReport,
    Findings,
)
from assay.audit.provenance.round_audit import RoundAudit
from assay.cli.console import open_console
from assay.cli.exits import COULD_NOT_RUN, FINDING, OK
from assay.protocol.ss58 import encode_ss58

#: Ends of notes that a development network always gets.
_NORMAL = (ABSTAINED, ABSTAINED_EARLY, NO_INPUTS, NO_RECORD, UNANNOUNCED)


@contextmanager
def show_progress(quiet: bool) -> Iterator[Progress]:
    """A bar on a terminal, from the first window that is bundle."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda done, due: None
        return
    columns = (TextColumn("windows"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = ProgressBar(*columns, console=console, transient=True)
    task = bar.add_task("", start=False)

    def show(done: int, due: int) -> None:
        bar.start()
        bar.start_task(task)
        bar.update(task, completed=done, total=due)

    try:
        yield show
    finally:
        bar.stop()


def show_report(report: AuditReport, as_json: bool) -> int:
    """Show what an audit found. Returns the exit code."""
    if as_json:
        print(json.dumps(describe_report(report)))
    else:
        _print_report(report)
    return get_code(report)


def show_exported(bundle: ExportedBundle, as_json: bool) -> int:
    """Show what an audit found, and where its bundle is. Returns the exit code."""
    needed = [digest.hex() for digest in bundle.needed]
    if as_json:
        file = bundle.file and {
            "path": str(bundle.file.path),
            "sha256": bundle.file.sha256,
            "bytes": bundle.file.size,
        }
        fields = {"folder": str(bundle.out), "needs": needed, "file": file}
        print(json.dumps(describe_report(bundle.report) | {"bundle": fields}))
        return get_code(bundle.report)
    _print_report(bundle.report)
    local = " --allow-local-beacon" if bundle.report.is_local else ""
    console = open_console()
    console.print(f"{bundle.out} is complete: `assay audit --offline {bundle.out}{local}`")
    if needed:
        listed = ", ".join(digest[:16] + "…" for digest in needed)
        console.print(f"With --model it needs the tensors of checkpoint {listed}.")
    if bundle.file is not None:
        console.print(f"{bundle.file.path} has all of it in {bundle.file.size:,} bytes.")
    return get_code(bundle.report)


def get_code(report: AuditReport) -> int:
    """The exit code of an audit."""
    if report.differs or report.has_course_faults:
        return FINDING
    return OK if report.matched else COULD_NOT_RUN


def describe_report(report: AuditReport) -> dict[str, Any]:
    """The report as JSON. `weights_match` and `ledger_match` are null if they were not checked."""
    weights = (Aspect.SETTLED, Aspect.WEIGHTS, Aspect.CHAIN)
    return {
        "validator": encode_ss58(report.validator),
        "matched": report.matched,
        "model": report.has_model,
        "windows": [part.to_json("window") for part in report.windows],
        "settlements": [part.to_json("epoch") for part in report.settlements],
        "weights_match": report.get_state(*weights),
        "ledger_match": report.get_state(Aspect.LEDGER),
    }


def _print_report(report: AuditReport) -> None:
    """The result first, then each part, then what a reader should know besides."""
    console = open_console()
    result, style = _name_result(report)
    console.print(result, style=style)
    console.print(f"validator {encode_ss58(report.validator)}")
    remarks: dict[str, list[str]] = {}  # note → the parts that it is about
    for title, part in _list_parts(report):
        _print_state(console, title, part)
        for note in part.notes:
            remarks.setdefault(note, []).append(title)
    further = [*_find_remarks(report)]
    if remarks or further:
        console.print("Remarks")
    for note, titles in remarks.items():
        normal = " (normal for a demo)" if report.is_local and note.endswith(_NORMAL) else ""
        console.print(f"  {_join(titles)}: {note}{normal}", style="dim", markup=False)
    for sentence in further:
        console.print(f"  {sentence}", style="yellow", markup=False)


def _list_parts(report: AuditReport) -> list[tuple[str, Findings]]:
    return [
        *((f"window {part.number}", part) for part in report.windows),
        *((f"settlement at block {part.number}", part) for part in report.settlements),
    ]


def _name_result(report: AuditReport) -> tuple[str, str]:
    """One line, and its style."""
    parts = _list_parts(report)
    if report.differs:
        named = ", ".join(title for title, part in parts if part.differences)
        return f"This record contradicts public data: {named}.", "bold red"
    if report.has_course_faults:
        named = ", ".join(title for title, part in parts if part.course_faults)
        return f"The trainer's checkpoints are not what public data say: {named}.", "bold red"
    if report.matched:
        return "Everything matches public data.", "bold green"
    named = ", ".join(title for title, part in parts if part.unknown)
    return f"Nothing differs, but not everything could be checked: {named}.", "yellow"


def _find_remarks(report: AuditReport) -> Iterator[str]:
    """What the result does not cover."""
    if report.has_course_faults:
        yield "The trainer's fault voids no window, and is no fault of this record."
    parts = [part for _, part in _list_parts(report)]
    if claims := sum(part.claims for part in parts):
        need = "1 verdict needs" if claims == 1 else f"{claims} verdicts need"
        yield f"{need} the model: --model FOLDER runs its forward passes again."
    if words := sum(part.words for part in report.windows):
        yield (
            f"{words} refusals are the validator's word, which nobody can check: compare with "
            "other validators' records."
        )


def _join(titles: Sequence[str]) -> str:
    """Titles of parts as one: window 1, 2, 3."""
    return ", ".join([titles[0], *(title.removeprefix("window ") for title in titles[1:])])


def print_findings(console: Console, title: str, findings: Findings) -> None:
    """Print what was checked, what differs, what could not be checked, and the notes."""
    _print_state(console, title, findings)
    for note in findings.notes:
        console.print(f"  {note}", style="dim", markup=False)


def _print_state(console: Console, title: str, findings: Findings) -> None:
    state, style = "matches", "green"
    if findings.differences:
        state, style = "DIFFERS", "bold red"
    elif findings.unknown:
        state, style = "not checked in full", "yellow"
    console.print(f"{title}  ", end="")
    console.print(state, style=style, end="")
    console.print(f"  {', '.join(check.value for check in findings.checked)}", style="dim")
    for check, sentence in findings.differences:
        console.print(f"  {check.value}: {sentence}", style="red", markup=False)
    for check, sentence in findings.unknown:
        console.print(f"  {check.value} not checked: {sentence}", style="yellow", markup=False)
    for fault in findings.course_faults:
        console.print(f"  the trainer's course: {fault}", style="red", markup=False)


def show_round(audit: RoundAudit, as_json: bool, quiet: bool, indent: int | None) -> None:
    """Show a round that was derived again; `indent`: of the JSON document."""
    if as_json:
        print(json.dumps(audit.to_json(), indent=indent), flush=True)
    elif not quiet:
        _print(audit)


def _print(audit: RoundAudit) -> None:
    head = "EQUAL" if audit.fault is None else "DIFFERENT"
    why = "the round makes it" if audit.fault is None else audit.fault
    print(f"{head}  checkpoint {audit.end} ({audit.checkpoint[:16]}…): {why}")
    for child in audit.children:
        print(f"  {child.hotkey}  {child.found}: {child.detail}")
    words = {True: "equal", False: "DIFFERENT", None: "unknown"}
    for step in audit.steps:
        print(f"  {step.hotkey}  window {step.window}, {words[step.equal]}: {step.detail}")
    for success in audit.successes:
        print(f"  {success.hotkey}  eval accuracy, {words[success.equal]}: {success.detail}")
