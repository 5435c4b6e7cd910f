"""An audit: a validator's windows and settlements over a range, with the findings of each."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from assay.artifacts.records.reader import (
    RecordFault,
    RecordReader,
    decode_settlement,
    decode_window,
    follow_links,
    open_reader,
)
from assay.audit.findings import NO_RECORD, UNANNOUNCED, Aspect, AuditReport, Findings
from assay.audit.gate_check import CourseChecks
from assay.audit.ports import Public
from assay.audit.settlement_check import check_settlement
from assay.audit.window_check import Ledgers, check_window
from assay.network.chain.errors import ForgottenError
from assay.network.store.base import StoreError
from assay.protocol.amendment import UnknownParametersError
from assay.protocol.beacon import QUICKNET
from assay.protocol.commitment import Tag, parse_commitment
from assay.protocol.record import (
    NOTHING,
    SettlementRecord,
    WindowRecord,
    make_settlement_record_name,
    make_window_record_name,
)
from assay.protocol.window import Phase, compute_block
from assay.session.window_reader import find_settlement

#: Called with the number of finished windows and of all windows.
Progress = Callable[[int, int], None]
_R = TypeVar("_R", WindowRecord, SettlementRecord)


@dataclass(slots=True)
class _Published:
    """A validator's records, read once, by number; None for a missing or unreadable one."""

    public: Public
    reader: RecordReader
    windows: dict[int, WindowRecord | None] = field(default_factory=dict)
    settlements: dict[int, SettlementRecord | None] = field(default_factory=dict)

    def get_window(self, window: int, findings: Findings | None) -> WindowRecord | None:
        """A window's record. Faults of its bytes are added to `findings`."""
        if window not in self.windows or findings is not None:
            name = make_window_record_name(self.reader.address, window)
            read = partial(decode_window, name, window)
            self.windows[window] = self._read(name, read, findings, lambda: self._excuse(window))
        return self.windows[window]

    def get_settlement(self, epoch: int, findings: Findings | None) -> SettlementRecord | None:
        """The record of the settlement at an epoch block. Faults of its bytes are added to
        `findings`."""
        if epoch not in self.settlements or findings is not None:
            name = make_settlement_record_name(self.reader.address, epoch)
            read = partial(decode_settlement, name, epoch)
            self.settlements[epoch] = self._read(name, read, findings, lambda: None)
        return self.settlements[epoch]

    def _excuse(self, window: int) -> str | None:
        """The reason why a window has no record yet; None if it should have one."""
        chain = self.public.chain
        try:
            parameters = self.public.history.get(window)
        except UnknownParametersError as error:
            return f"its validator uses parameters that cannot be read here: {error}"
        head, end = chain.get_head(), compute_block(parameters.timing, window, Phase.VERDICT_END)
        if head < end:
            return (
                f"window {window} is still open until block {end}, and the chain is at block "
                f"{head}: no verdict of it is final"
            )
        with suppress(ForgottenError):
            epoch = find_settlement(chain, parameters, window)
            if head < epoch:
                return (
                    f"window {window} is settled at epoch block {epoch}, and the chain is at block "
                    f"{head}: no record of it is due"
                )
        return None

    def _read(
        self,
        name: str,
        decode: Callable[[bytes], _R | RecordFault],
        findings: Findings | None,
        excuse: Callable[[], str | None],
    ) -> _R | None:
        findings = Findings(0) if findings is None else findings
        try:
            data = self.reader.objects.get(name, self.reader.limit)
        except StoreError as error:
            findings.miss(Aspect.RECORD, str(error))
            return None
        if data is None:
            findings.miss(Aspect.RECORD, excuse() or f"the validator has published no {name}")
            return None
        findings.look(Aspect.RECORD)
        self._compare_copies(name, data, findings)
        record = decode(data)
        if isinstance(record, RecordFault):
            findings.differ(Aspect.RECORD, record.sentence)
            return None
        return record

    def _compare_copies(self, name: str, data: bytes, findings: Findings) -> None:
        for whose, copies in self.public.copies.items():
            other = copies.get(name, self.reader.limit)
            if other is None:
                continue
            findings.look(Aspect.COPIES)
            if other != data:
                findings.differ(
                    Aspect.COPIES,
                    f"{whose} has got another {name}: the validator shows different records to "
                    "different readers, or one of them was changed since; its own is the one that "
                    "the digest announced on chain leads to",
                )


def audit(
    public: Public, validator: bytes, windows: range, progress: Progress = lambda *_: None
) -> AuditReport:
    """Derive again a validator's claims about windows, and about the settlements that count them.

    Args:
        validator: its hotkey.

    Raises:
        ChainError, StoreError, WorkerError: the audit could not be done.
    """
    published = _Published(public, open_reader(public.records, validator, public.history))
    epochs, forgotten = _find_epochs(published, windows)
    ledgers: dict[int, Ledgers | None] = {}
    found_windows, courses = [], CourseChecks()
    for done, window in enumerate(windows):
        progress(done, len(windows))
        findings = Findings(window)
        record = published.get_window(window, findings)
        if record is not None:
            _check_window_link(published, record, findings)
            epoch = epochs.get(window)
            known = ledgers.get(epoch) if epoch is not None else None
            if epoch is not None and epoch not in ledgers:
                known = {} if _is_first(published, window, epoch) else None
            ran = check_window(public, validator, record, known, findings, courses)
            if epoch is not None:
                ledgers[epoch] = known if ran else None
        elif window in epochs:
            ledgers[epochs[window]] = None
        found_windows.append(findings)
        if window not in epochs and forgotten:
            findings.miss(
                Aspect.SETTLED,
                "the nodes have forgotten which epoch settled it, and no published settlement "
                "leads to it: it needs an archive endpoint",
            )
        elif window not in epochs:
            findings.notes.append("its settlement has not come yet, or is unknown")
    found_settlements = [
        _check_settlement(published, epoch, windows) for epoch in sorted({*epochs.values()})
    ]
    if found_settlements:
        _check_announced(published, found_settlements[-1])
    progress(len(windows), len(windows))
    return AuditReport(
        validator,
        tuple(found_windows),
        tuple(found_settlements),
        public.models is not None,
        public.parameters.beacon != QUICKNET,
        {epoch: read for epoch, read in published.settlements.items() if read is not None},
        {window: read for window, read in published.windows.items() if read is not None},
    )


def _find_epochs(published: _Published, windows: Sequence[int]) -> tuple[dict[int, int], bool]:
    """Window → the epoch block that settles it, if that epoch is over. The source is the chain or,
    if the chain has forgotten it, the validator's published settlements. And whether it has."""
    public, epochs = published.public, dict[int, int]()
    head = public.chain.get_head()
    try:
        for window in _list_known(public, windows):
            epoch = find_settlement(public.chain, public.history.get(window), window)
            if epoch <= head and public.chain.is_epoch(epoch):
                epochs[window] = epoch
    except ForgottenError:
        for record in _iterate_settlements(published, windows[0]):
            epochs |= {c.window: record.epoch for c in record.windows if c.window in windows}
        return epochs, True
    return epochs, False


def _list_known(public: Public, windows: Sequence[int]) -> Sequence[int]:
    """The windows whose parameters can be read here."""
    end = public.history.end
    return windows if end is None else [window for window in windows if window < end]


def _iterate_settlements(published: _Published, first: int) -> Iterator[SettlementRecord]:
    """Published settlements from the newest back to the one that holds a window."""
    try:
        latest = published.reader.read_latest()
    except StoreError:
        return
    if isinstance(latest, RecordFault):
        return
    for record in follow_links(lambda epoch: published.get_settlement(epoch, None), latest.epoch):
        yield record
        if any(c.window <= first for c in record.windows):
            return


def _is_first(published: _Published, window: int, epoch: int) -> bool:
    settlement = published.get_settlement(epoch, None)
    return settlement is not None and [c.window for c in settlement.windows[:1]] == [window]


def _check_window_link(published: _Published, record: WindowRecord, findings: Findings) -> None:
    """Check that a record names the one before it."""
    window, probe = record.window, Findings(record.window)
    before = published.get_window(window - 1, probe) if window else None
    _check_link(record.previous, before, probe, f"window {window - 1}", findings)


def _check_link(
    linked: bytes,
    before: WindowRecord | SettlementRecord | None,
    probe: Findings,
    name: str,
    findings: Findings,
) -> None:
    """Check that a record follows the one before it. `probe` has the findings of reading the
    latter."""
    if before is None:
        if probe.differences:
            findings.differ(Aspect.LINK, f"of {name}, before it: {probe.differences[0][1]}")
        elif linked != NOTHING:
            findings.notes.append("the record before it is missing: its link leads nowhere")
        return
    findings.look(Aspect.LINK)
    if linked == before.digest:
        return
    follows = "starts a chain of its own" if linked == NOTHING else "follows another record"
    findings.differ(Aspect.LINK, f"it {follows} than the one published of {name}")


def _check_settlement(published: _Published, epoch: int, windows: range) -> Findings:
    findings = Findings(epoch)
    record = published.get_settlement(epoch, findings)
    if record is None:
        return findings
    covered = {
        c.window: window
        for c in record.windows
        if (window := published.get_window(c.window, None)) is not None
    }
    outside = [window for window in covered if window not in windows]
    if outside:
        findings.notes.append(
            f"outside of the range, taken as recorded: {len(outside)} of its {len(covered)} windows"
        )
    _check_settlement_link(published, record, findings)
    left_out = check_settlement(
        published.public,
        published.reader.validator,
        record,
        covered,
        lambda other: published.get_settlement(other, None),
        findings,
    )
    silent = []
    for number in left_out:  # a record shows that it had begun, and had to settle it
        if published.get_window(number, None) is None:
            silent.append(number)
        else:
            findings.differ(
                Aspect.WINDOWS, f"window {number} of its epoch has a record, and is not settled"
            )
    if silent:
        findings.notes.append(f"windows {silent[0]} to {silent[-1]} {NO_RECORD}")
    return findings


def _check_settlement_link(
    published: _Published, record: SettlementRecord, findings: Findings
) -> None:
    """Check that a settlement names the one before it, and that the first one begins with the first
    window."""
    if record.previous != NOTHING:
        probe = Findings(record.epoch)
        before = published.get_settlement(record.previous_epoch, probe)
        _check_link(record.previous, before, probe, f"epoch {record.previous_epoch}", findings)
        for epoch, known in sorted(published.settlements.items()):
            if known is not None and record.previous_epoch < epoch < record.epoch:
                findings.differ(
                    Aspect.LINK,
                    f"it follows epoch {record.previous_epoch}, and passes over the settlement "
                    f"published of epoch {epoch}",
                )
        return
    first = published.windows.get(record.windows[0].window) if record.windows else None
    earlier = [e for e, known in published.settlements.items() if known and e < record.epoch]
    if record.previous_epoch or earlier or (first is not None and first.previous != NOTHING):
        findings.differ(Aspect.LINK, "it starts a chain of its own, and is not the first")


def _check_announced(published: _Published, findings: Findings) -> None:
    """Check the digest on chain, which binds all records before it, so that a reader who is shown
    other records notices."""
    chain = published.public.chain
    slot = parse_commitment(
        chain.get_commitments(chain.get_head()).get(published.reader.validator, b"")
    )
    if slot is None or slot.tag is not Tag.RECORD:
        findings.notes.append(UNANNOUNCED)
        return
    if slot.number < findings.number:
        findings.notes.append(
            f"only what it published up to epoch {slot.number} is bound by the chain"
        )
    digest, epoch = slot.digest, slot.number
    for record in follow_links(lambda at: published.get_settlement(at, None), epoch, digest):
        findings.look(Aspect.ANNOUNCED)
        if record.epoch <= findings.number:
            return
        digest, epoch = record.previous, record.previous_epoch
        if digest != NOTHING and epoch < findings.number:
            findings.differ(
                Aspect.ANNOUNCED,
                f"the announced settlements lead from epoch {record.epoch} past it to epoch "
                f"{epoch}: the chain does not bind it",
            )
            return
    announced = published.get_settlement(epoch, None)
    if announced is None:
        findings.miss(
            Aspect.ANNOUNCED,
            f"the settlement of epoch {epoch} is announced, or linked "
            "to from the announced one, and not published",
        )
    elif announced.digest != digest:
        findings.look(Aspect.ANNOUNCED)
        findings.differ(
            Aspect.ANNOUNCED,
            f"the chain binds the validator to another record of epoch {epoch} than the one "
            "that is published: it was rewritten, or readers are shown different ones",
        )
