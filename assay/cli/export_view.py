"""What `assay export` prints."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from assay.artifacts.submissions.table import WrittenTable
from assay.audit.provenance.step_export import Summary
from assay.audit.provenance.step_push import PushSummary


def show_export(summary: Summary, out: Path, as_json: bool) -> None:
    """Show what a data set of steps has."""
    if as_json:
        print(json.dumps(asdict(summary) | {"out": str(out)}, indent=1))
    else:
        print(
            f"{summary.rollouts:,} rollouts of {summary.groups:,} groups from {summary.steps:,} "
            f"steps are in {out}"
        )


def show_push(summary: PushSummary, url: str, as_json: bool) -> None:
    """Show what a server was sent."""
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


def show_tables(tables: Sequence[WrittenTable], out: Path, as_json: bool) -> None:
    """Show what a data set of miners' files has."""
    rollouts = sum(table.rollouts for table in tables)
    if as_json:
        written = [table.to_json() for table in tables]
        print(json.dumps({"out": str(out), "rollouts": rollouts, "files": written}, indent=1))
    else:
        print(f"{rollouts:,} rollouts of {len(tables):,} files are in {out}")
