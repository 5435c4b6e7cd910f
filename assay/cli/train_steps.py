"""`assay train verify-step`, with the lookup of miners' commitments."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from assay.artifacts.checkpoints.folder import CheckpointFolder, DownloadSettings
from assay.artifacts.steps.examples import keep_examples
from assay.artifacts.steps.folder import Step, StepError, read_step
from assay.artifacts.steps.store import fetch_step
from assay.audit.bundle import open_bundle
from assay.audit.findings import Findings
from assay.audit.ports import Public
from assay.audit.provenance.comparing import check_provenance
from assay.audit.provenance.reexecution import StepComparison, read_fitting, reexecute
from assay.audit.provenance.step_submissions import SubmissionsBeside
from assay.cli.audit import AuditRequest, open_network, print_findings, require_beacon
from assay.cli.console import open_console
from assay.cli.exits import COULD_NOT_RUN, FINDING, OK
from assay.network.store.opening import open_store
from assay.protocol.encoding import EncodingError, read_hex
from assay.protocol.errors import OperatorError
from assay.protocol.hashing import DIGEST_BYTES
from assay.settings.loading import ConfigError, make_cards_repeat
from assay.settings.sections import Settings


@dataclass(frozen=True, slots=True)
class ProvenanceRequest:
    """The request on the command line."""

    place: Path | Settings  # a bundle, or settings: the network that they name
    request: AuditRequest  # whose record, and its place
    files: Sequence[str] = ()  # further stores with miners' files


@contextmanager
def open_provenance(provenance: ProvenanceRequest, window: int) -> Iterator[tuple[Public, bytes]]:
    """The public data of a window, and the hotkey of the validator whose record is read."""
    with ExitStack() as stack:
        if isinstance(provenance.place, Path):
            public, validator = _open_bundle(provenance.place, provenance.request, window, stack)
        else:
            request = replace(provenance.request, windows=str(window))
            reached = stack.enter_context(open_network(provenance.place, request))
            public, validator = reached.public, reached.validator
        if provenance.files:
            stores = [open_store(locator) for locator in provenance.files]
            public = replace(public, submissions=SubmissionsBeside(public.submissions, stores))
        yield public, validator


def _open_bundle(
    folder: Path, request: AuditRequest, window: int, stack: ExitStack
) -> tuple[Public, bytes]:
    scratch = Path(stack.enter_context(TemporaryDirectory(prefix="assay-")))
    opened = open_bundle(folder, scratch)
    require_beacon(opened.public.parameters, request.allow_local_beacon)
    held = opened.about.windows.all
    if window not in held:
        raise ConfigError(
            f"the step is of window {window}, and {folder} has windows {held[0]} to {held[-1]}"
        )
    return opened.public, opened.validator


def run_verify_step(
    record: str,
    models: Path | None,
    places: Sequence[str],
    folder: Path,
    provenance: ProvenanceRequest | None,
    examples: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Repeat a step and print the result. Return the exit code.

    Args:
        record: a file; with `places`, a checkpoint's digest.
        models: folder of checkpoints; None: beside the record's.
        places: stores that the step is fetched from, into `folder`.
        provenance: None: commitments are not checked.
        examples: a file that is kept beside the record; None: it is there, if one is needed.
    """
    path = fetch_record(places, record, folder) if places else Path(record)
    step = read_step(path)
    if examples is not None:
        keep_examples(path.parent, examples)
    models = models if models is not None else path.absolute().parent.parent / "models"
    findings = None
    if provenance is not None:
        taken, stores = read_fitting(step), [open_store(place) for place in places]
        fetching = DownloadSettings(lambda: stores) if stores else None
        with open_provenance(provenance, step.record.window) as (public, validator):
            checkpoints = CheckpointFolder(models, fetching)
            findings = check_provenance(step, taken, public, validator, checkpoints)
    if findings is not None and not as_json and not quiet:
        print_findings(open_console(), f"groups of window {step.record.window}", findings)
    if findings is not None and findings.differences:
        sentence = f"{findings.differences[0][1]}: the step was not repeated"
        finding = StepComparison(False, None, sentence, ())
    else:
        try:
            make_cards_repeat()
            say = ignore_line if quiet else print_line
            is_derived = findings is not None and findings.matched
            finding = reexecute(step, CheckpointFolder(models), say, is_derived)
        except OperatorError as error:
            if as_json and findings is not None:  # findings on the groups are useful alone
                _print_document(step, {"equal": None, "detail": str(error)}, findings)
            raise
    if as_json:
        _print_document(step, asdict(finding), findings)
    elif not quiet:
        _print_finding(finding, findings is not None)
    if not finding.equal:
        return FINDING
    is_whole = not finding.uncounted and (findings is None or findings.matched)
    return OK if is_whole else COULD_NOT_RUN


def _print_document(step: Step, finding: dict[str, Any], findings: Findings | None) -> None:
    head = {"number": step.record.number, "digest": step.record.digest.hex()}
    groups = {"groups": None if findings is None else findings.to_json("window")}
    print(json.dumps(head | finding | groups, indent=1))


def _print_finding(finding: StepComparison, has_provenance: bool) -> None:
    print(f"{'EQUAL' if finding.equal else 'DIFFERENT'}  {finding.detail}")
    for remark in finding.remarks:
        print(f"  {remark}")
    if not has_provenance:
        print(
            "  not checked: whether miners had committed to these groups (name a bundle with "
            "--offline, or a network)"
        )


def fetch_record(stores: Sequence[str], checkpoint: str, folder: Path) -> Path:
    """The record of the step that made a checkpoint, fetched from stores with its inputs."""
    try:
        digest = read_hex(checkpoint)
    except EncodingError:
        digest = b""
    if len(digest) != DIGEST_BYTES:
        raise StepError(
            f"{checkpoint[:80]} is not a checkpoint's digest: 64 hex digits, with --store"
        )
    return fetch_step([open_store(store) for store in stores], digest, folder)


def print_line(line: str) -> None:
    print(line, file=sys.stderr)


def ignore_line(line: str) -> None:
    """Print nothing, for --quiet."""
