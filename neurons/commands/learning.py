"""`assay train verify-step` and `assay export`."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from assay.network.store import open_store
from assay.neurons.checkpoints import CheckpointFolder
from assay.neurons.learning.exporting import ExportError, export_steps
from assay.neurons.learning.reexecution import reexecute
from assay.neurons.learning.step_store import fetch_step
from assay.neurons.learning.steps import StepError, read_step
from assay.protocol.encoding import EncodingError, read_hex
from assay.protocol.hashing import DIGEST_BYTES


def verify_step(path: Path, models: Path | None, as_json: bool, quiet: bool) -> bool:
    """Does a step again and prints what came of it; whether it is equal.

    Raises:
        OperatorError: it could not be done.
    """
    step = read_step(path)
    folder = models if models is not None else path.absolute().parent.parent / "models"
    finding = reexecute(step, CheckpointFolder(folder), _ignore if quiet else _say)
    if as_json:
        value = {"number": step.record.number, "digest": step.record.digest.hex()}
        print(json.dumps(value | asdict(finding), indent=1))
    elif not quiet:
        print(f"{'EQUAL' if finding.equal else 'DIFFERENT'}  {finding.detail}")
        for remark in finding.remarks:
            print(f"  {remark}")
    return finding.equal


def fetch_record(stores: Sequence[str], checkpoint: str, folder: Path) -> Path:
    """The record of the step that made a checkpoint, with what it needs, from stores.

    Raises:
        OperatorError: it cannot be had.
    """
    try:
        digest = read_hex(checkpoint)
    except EncodingError:
        digest = b""
    if len(digest) != DIGEST_BYTES:
        raise StepError(f"{checkpoint[:80]} is no checkpoint's digest: 64 hex digits, with --store")
    return fetch_step([open_store(store) for store in stores], digest, folder)


def run_export(folder: Path, out: Path, windows: str | None, as_json: bool, quiet: bool) -> None:
    """Writes the data set and prints what is in it.

    Raises:
        OperatorError: it could not be done.
    """
    first, last = _parse_windows(windows)
    summary = export_steps(folder, out, range(first, last + 1), _ignore if quiet else _say)
    if as_json:
        print(json.dumps(asdict(summary) | {"out": str(out)}, indent=1))
    else:
        print(
            f"{summary.rollouts:,} rollouts of {summary.groups:,} groups from {summary.steps:,} "
            f"steps are in {out}"
        )


def _parse_windows(text: str | None) -> tuple[int, int]:
    if text is None:
        return 0, 2**63 - 2
    first, dots, last = text.partition("..")
    if not (dots and first.isdecimal() and last.isdecimal() and int(first) <= int(last) < 2**63):
        raise ExportError(f"--windows {text} is not A..B, as in 100..120")
    return int(first), int(last)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _ignore(line: str) -> None:
    """--quiet."""
