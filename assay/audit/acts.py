"""Audits a validator's record, keeps what it read in a bundle, or compares validators.

report = audit_record(load_settings(), AuditRequest(validator, "5..12"))
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from assay.audit.auditor import Progress, audit
from assay.audit.bundle import list_needed, open_bundle
from assay.audit.bundle_export import export_bundle
from assay.audit.bundle_file import BundleFile, pack_bundle
from assay.audit.comparison import ValidatorComparison, compare
from assay.audit.findings import AuditReport
from assay.audit.opening import (
    AuditedRecord,
    AuditRequest,
    choose_windows,
    list_announced,
    open_network,
    open_published,
    open_record,
)
from assay.audit.ports import Public
from assay.judge.about import read_about
from assay.judge.seal import ABOUT_FILE, SUMS_FILE
from assay.settings.loading import ConfigError, parse_hotkey
from assay.settings.sections import Settings


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What is exported, and where to."""

    record: AuditRequest
    out: Path
    base: Path | None = None  # a checkpoint that is kept whole
    as_file: bool = False  # also write it as one file

    @property
    def is_whole(self) -> bool:
        """Whether the bundle is complete already, and is only packed."""
        return self.as_file and (self.out / SUMS_FILE).is_file()


@dataclass(frozen=True, slots=True)
class ExportedBundle:
    """A bundle that is complete."""

    out: Path
    report: AuditReport
    needed: tuple[bytes, ...]  # checkpoints of which an audit with a model needs the tensors
    file: BundleFile | None  # all of it in one file, if that was requested


def audit_record(
    settings: Settings, request: AuditRequest, progress: Progress = lambda done, due: None
) -> AuditReport:
    """Audit a record. Raises OperatorError: it cannot be read."""
    with open_record(settings, request) as opened:
        return audit(opened.public, opened.validator, opened.windows, progress)


def export_record(
    settings: Settings, request: ExportRequest, progress: Progress = lambda done, due: None
) -> ExportedBundle:
    """Audit without a model and leave a bundle. Raises OperatorError: the record cannot be read,
    or the bundle not be written."""
    out = request.out
    with _open_exported(settings, request) as (reached, is_whole):
        if is_whole:
            report = audit(reached.public, reached.validator, reached.windows, progress)
        else:
            report = export_bundle(
                reached.public,
                reached.validator,
                reached.windows,
                out,
                reached.scratch,
                reached.mirrors,
                progress,
                request.base,
            )
        file = pack_bundle(out, out.absolute().parent) if request.as_file else None
    return ExportedBundle(out, report, tuple(list_needed(out)), file)


@contextmanager
def _open_exported(
    settings: Settings, request: ExportRequest
) -> Iterator[tuple[AuditedRecord, bool]]:
    """The source of an export, and whether its bundle is whole already and only packed."""
    out, record, is_whole = request.out, request.record, request.is_whole
    if record.windows is None and (out / ABOUT_FILE).is_file():  # begun: the newest may differ now
        begun = read_about(out).windows.all
        record = replace(record, windows=f"{begun[0]}..{begun[-1]}")
    source = out if is_whole else record.bundle
    if source is None:
        with open_network(settings, record) as reached:
            yield reached, False
        return
    with TemporaryDirectory(prefix="assay-") as scratch:
        opened = open_bundle(source, Path(scratch))
        windows = choose_windows(record.windows, opened)
        if is_whole and windows != opened.about.windows.all:
            raise ConfigError(
                f"{source} has other windows: cut {record.windows} out with --offline {source} "
                "and another --out"
            )
        mirrors, kept = (lambda: [opened.store]), Path(scratch, "kept")
        yield AuditedRecord(opened.public, opened.validator, windows, kept, mirrors), is_whole


def compare_validators(
    settings: Settings, request: AuditRequest, named: Sequence[str] = ()
) -> ValidatorComparison:
    """Compare validators of a subnet.

    Args:
        named: SS58; none: all that announce a record or have set weights.

    Raises:
        OperatorError: nothing can be compared.
    """
    hotkeys = [parse_hotkey(text, "--validator") for text in named]
    with open_network(settings, request, hotkeys) as reached:
        chain, head = reached.chain, reached.chain.get_head()
        announced = list_announced(chain)
        if not hotkeys:
            weighing = (hotkey for hotkey, row in chain.get_weights(head).items() if row)
            hotkeys = sorted({*announced, *weighing})
        publics: dict[bytes, Public | None] = {}
        for hotkey in hotkeys:
            slot, publics[hotkey] = announced.get(hotkey), None
            if slot is not None:
                records = open_published(reached.stores, None, slot, hotkey)
                publics[hotkey] = replace(reached.public, records=records)
        try:
            return compare(publics, reached.windows)
        except ValueError as error:
            raise ConfigError(str(error)) from None
