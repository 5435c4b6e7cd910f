"""`assay export`: consumed groups as a data set, or sent to a server with Atropos' protocol."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from assay.artifacts.submissions.table import write_tables
from assay.audit.provenance.step_export import ExportError, export_steps
from assay.audit.provenance.step_push import PushSummary, push_steps
from assay.cli.exits import FINDING, OK
from assay.cli.train_steps import ignore_line, print_line
from assay.network.atropos import UnknownDeliveryError
from assay.settings.sections import Settings


def run_export_steps(
    settings: Settings,
    out: Path | None,
    push: str | None,
    files: Sequence[Path] | None,
    windows: str | None,
    columns: str,
    wait: float,
    resend: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Write the data set, or send the groups, and print its content. Return the exit code."""
    say = ignore_line if quiet else print_line
    folder = settings.trainer.dir
    if push is not None:
        try:
            push_summary = push_steps(folder, push, _parse_windows(windows), wait, resend, say)
        except UnknownDeliveryError as error:
            print(f"assay: {error}", file=sys.stderr)
            return FINDING
        _print_push(push_summary, push, as_json)
        return FINDING if push_summary.unknown else OK
    assert out is not None
    if files:
        _export_files(files, out, as_json)
        return OK
    summary = export_steps(folder, out, _parse_windows(windows), say, columns)
    if as_json:
        print(json.dumps(asdict(summary) | {"out": str(out)}, indent=1))
    else:
        print(
            f"{summary.rollouts:,} rollouts of {summary.groups:,} groups from {summary.steps:,} "
            f"steps are in {out}"
        )
    return OK


def _print_push(summary: PushSummary, url: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(summary) | {"url": url}, indent=1))
    else:
        unknown = len(summary.unknown)
        print(
            f"sent {summary.sent:,} of {summary.groups:,} groups of {summary.steps:,} steps, "
            f"{summary.rollouts:,} rollouts; {summary.already:,} were sent before, {unknown:,} "
            f"have an unknown outcome, {summary.too_long:,} are too long for the server's trainer; "
            f"{summary.own:,} of the trainer's own are not sent"
        )


def _export_files(files: Sequence[Path], out: Path, as_json: bool) -> None:
    tables = write_tables(files, out)
    rollouts = sum(table.rollouts for table in tables)
    if as_json:
        written = [table.to_json() for table in tables]
        print(json.dumps({"out": str(out), "rollouts": rollouts, "files": written}, indent=1))
    else:
        print(f"{rollouts:,} rollouts of {len(tables):,} files are in {out}")


def _parse_windows(text: str | None) -> range:
    if text is None:
        return range(2**63 - 1)
    first, dots, last = text.partition("..")
    if not (dots and first.isdecimal() and last.isdecimal() and int(first) <= int(last) < 2**63):
        raise ExportError(f"--windows {text} is not A..B, as in 100..120")
    return range(int(first), int(last) + 1)
