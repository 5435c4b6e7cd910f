"""Checks the record in a bundle without a model: every file, every row, every settlement.

What the chain said (blocks, members, commitments, the checkpoint in force, weights that it showed)
is taken from the record: `assay audit` compares it with the chain's answers.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from assay.judge.bundle import NO_INPUTS, OTHER_PARAMETERS, Bundle
from assay.judge.checkpoint import CheckpointFault, CheckpointOutline, OpenTokenizer
from assay.judge.form import BY_MODEL as TESTS
from assay.judge.form import FORM, IDS, SAMPLES, TEXT, FormVerdict, form_to_json, judge_form
from assay.judge.pack import MissingPartError
from assay.judge.provable import BY_CHAIN, BY_MODEL, BY_SAMPLES, UNBOUND
from assay.judge.record_faults import (
    compute_scores,
    earns,
    find_idle_fault,
    find_last_faults,
    find_outcome_fault,
    find_root_fault,
    find_score_faults,
    find_weight_faults,
)
from assay.judge.seal import BundleError
from assay.protocol.context import Context, find_context_fault
from assay.protocol.encoding import EncodingError, Json
from assay.protocol.errors import OperatorError
from assay.protocol.reason import Reason
from assay.protocol.record import (
    NOTHING,
    MemberRow,
    Outcome,
    SettlementRecord,
    WindowRecord,
    make_record_context,
)
from assay.protocol.selection import select_committed
from assay.protocol.ss58 import encode_ss58
from assay.verification.settlement import scale_values

#: Called with the number of finished windows and of all windows.
Progress = Callable[[int, int], None]
_Records = dict[int, WindowRecord | None]
_ANEW = "it starts a chain of its own, and is not the first"
#: What no check here looks at.
NOT_CHECKED = (*TESTS, "what the chain said", "witnesses", "weights on chain")


@dataclass(slots=True)
class MemberCheck:
    """A row of the record, and what its file shows without a model.

    Attributes:
        stated: the record's reason; None: the validator had no verdict.
        found: None: the file is not in the bundle, or was not needed.
        difference: what is wrong with the row, or None.
        note: what cannot be shown either way, or None.
    """

    hotkey: bytes
    uid: int
    stated: Reason | None
    score: int
    found: FormVerdict | None = None
    difference: str | None = None
    note: str | None = None

    @property
    def address(self) -> str:
        """The hotkey in SS58."""
        return encode_ss58(self.hotkey)


@dataclass(slots=True)
class WindowCheck:
    """A window's record, checked.

    Attributes:
        has_inputs: whether its beacons were checked.
        note: why there are no rows to check, or None.
        missing: what could not be checked, and why.
    """

    window: int
    outcome: Outcome | None = None
    has_inputs: bool = False
    note: str | None = None
    members: list[MemberCheck] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


@dataclass(slots=True)
class SettlementCheck:
    """A settlement's record, checked. `record`: None where it cannot be read."""

    epoch: int
    record: SettlementRecord | None = None
    differences: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def scores(self) -> dict[str, int]:
        """Address → score."""
        rows = () if self.record is None else self.record.scores
        return {encode_ss58(row.hotkey): row.score for row in rows}

    @property
    def weights(self) -> dict[int, int]:
        """Uid → weight, u16."""
        rows = () if self.record is None else self.record.weights
        return {row.uid: row.weight for row in rows}


@dataclass(frozen=True, slots=True)
class BundleReport:
    """What a check of a bundle has found. `no_text`: why some checkpoints' text was not read."""

    validator: str
    windows: tuple[WindowCheck, ...]
    settlements: tuple[SettlementCheck, ...]
    no_text: str | None

    @property
    def differences(self) -> list[str]:
        """All of them, one sentence each."""
        found = [f"window {w.window}: {text}" for w in self.windows for text in w.differences]
        found += [
            f"window {w.window}: {m.address}: {m.difference}"
            for w in self.windows
            for m in w.members
            if m.difference is not None
        ]
        return found + [f"epoch {s.epoch}: {t}" for s in self.settlements for t in s.differences]

    @property
    def missing(self) -> list[str]:
        """What could not be checked, though it is of the kind that is checked."""
        found = [] if self.no_text is None else [f"no text was read: {self.no_text}"]
        found += [f"window {w.window}: {text}" for w in self.windows for text in w.missing]
        return found + [f"epoch {s.epoch}: {text}" for s in self.settlements for text in s.missing]


def check_bundle(
    bundle: Bundle,
    open_tokenizer: OpenTokenizer | None = None,
    progress: Progress = lambda *_: None,
) -> BundleReport:
    """Check every window and settlement that the bundle has.

    Args:
        open_tokenizer: see `open_outline`.

    Raises:
        OperatorError: a file of the bundle cannot be read.
    """
    records: _Records = {}
    windows, lacks = [], set[str]()
    every = bundle.about.windows.all
    for done, window in enumerate(every):
        progress(done, len(every))
        check = WindowCheck(window)
        record = _read_window(bundle, window, records, check.differences)
        if record is not None:
            _check_link(bundle, record, records, check)
            _check_window(bundle, record, check, open_tokenizer, lacks)
        elif not check.differences:
            check.missing.append("the bundle has no record of it")
        windows.append(check)
    progress(len(every), len(every))
    settlements = _check_settlements(bundle, records)
    settled = {covered.window for s in settlements if s.record for covered in s.record.windows}
    for check in windows:
        if records[check.window] is not None and check.window not in settled:
            check.missing.append("no settlement that the bundle has covers it")
    no_text = "; ".join(sorted(lacks)) or None
    return BundleReport(bundle.validator, tuple(windows), tuple(settlements), no_text)


def _read_window(
    bundle: Bundle, window: int, records: _Records, differences: list[str]
) -> WindowRecord | None:
    """A window's record, read once; None: there is none, or it is told among the differences."""
    if window not in records:
        records[window] = None
        try:
            records[window] = bundle.read_window(window)
        except EncodingError as error:
            differences.append(str(error))
    return records[window]


def _check_link(
    bundle: Bundle, record: WindowRecord, records: _Records, check: WindowCheck
) -> None:
    told: list[str] = []
    number = record.window - 1
    before = _read_window(bundle, number, records, told) if record.window else None
    check.differences += [f"window {number}, before it: {text}" for text in told]
    if before is not None and before.digest != record.previous:
        check.differences.append(f"it follows another record than the one of window {number}")


def _check_window(
    bundle: Bundle,
    record: WindowRecord,
    check: WindowCheck,
    open_tokenizer: OpenTokenizer | None,
    lacks: set[str],
) -> None:
    check.outcome = record.outcome
    check.differences += filter(None, [find_outcome_fault(record)])
    parameters = bundle.history.get(record.window)
    context = make_record_context(record, parameters)
    if context is None:
        check.note = NO_INPUTS
        return
    if record.parameters != parameters.digest:
        check.differences.append(OTHER_PARAMETERS)
        return
    fault = find_context_fault(context)
    if fault is not None:
        check.differences.append(fault)
        return
    check.has_inputs = True
    if context.audit is None:
        check.note = NO_INPUTS
        return
    if context.checkpoint == NOTHING and record.outcome is Outcome.COUNTED:
        check.differences.append("the window counts, although no checkpoint was in force")
        return
    if record.outcome is Outcome.VOID or context.checkpoint == NOTHING:
        check.missing.append("it is void: whether its checkpoint is unusable is not looked at")
        return
    try:
        outline = bundle.open_outline(context.checkpoint, open_tokenizer)
    except CheckpointFault as error:
        check.missing.append(str(error))
        return
    if outline.no_text is not None:
        lacks.add(outline.no_text)
    for row in record.members:
        member = MemberCheck(row.hotkey, row.uid, row.reason, row.score)
        check.members.append(member)
        _check_row(bundle, context, outline, row, member, check)


def _check_row(
    bundle: Bundle,
    context: Context,
    outline: CheckpointOutline,
    row: MemberRow,
    member: MemberCheck,
    check: WindowCheck,
) -> None:
    member.difference = _find_score_fault(context, row)
    audited = _get_audited(row)
    if audited in (None, Reason.INTERNAL):
        member.note = "the validator has no verdict, or its judge failed: nobody can prove it"
        return
    try:
        read = bundle.open_submission(context.window, row.hotkey) if row.committed else _read_none
        by_samples = audited is Reason.ACCEPTED  # else nobody has read them
        member.found = judge_form(read, context, row.hotkey, outline, samples=by_samples)
    except (MissingPartError, BundleError) as error:
        if row.reason is Reason.NOT_REVEALED:
            member.note = "the file was not shown"
        else:
            check.missing.append(f"{member.address}: {error}")
    except (OperatorError, ValueError) as error:  # an environment that does not run here
        check.missing.append(f"{member.address}: its file cannot be judged here: {error}")
    else:
        if member.found.unbound and row.reason not in UNBOUND:
            check.missing.append(f"{member.address}: its file is not shown: {member.found.detail}")
        elif audited is Reason.ACCEPTED and context.sample is None:
            member.difference = f"it is {row.reason}, and no beacon said what was sampled"
        else:
            difference, member.note = _compare(row, audited, member.found)
            member.difference = difference or member.difference


def _read_none(part: object) -> bytes:
    raise BundleError("nothing is read of a file that nobody has committed to")


def _get_audited(row: MemberRow) -> Reason | None:
    """The record's audit finding, whatever the samples showed."""
    return Reason.ACCEPTED if row.reason in BY_SAMPLES and row.witness else row.reason


def _compare(
    row: MemberRow, audited: Reason | None, found: FormVerdict
) -> tuple[str | None, str | None]:
    """The difference of a row from what its file shows, and what cannot be shown."""
    stated = row.reason
    if found.reason is not None:
        wrong = f"the record says {stated}, and it is {found.word}: {found.detail}"
        if stated is found.reason:
            return None, None
        by_chain = found.reason in BY_CHAIN or stated in BY_CHAIN
        if by_chain or stated not in UNBOUND:
            return wrong, None
        return None, f"what was shown then cannot be proven: {wrong}"
    if stated is Reason.ACCEPTED:
        return _find_value_fault(row, found), None
    if audited in BY_MODEL:
        return None, "the model decides"
    if stated in UNBOUND:
        return None, "the file that is shown now is whole; what was shown then cannot be proven"
    if stated is Reason.WRONG_TERMINATION and found.values is None:
        return None, "a world's reply may decide, and no text was read"
    return f"the record says {stated}, and the committed file has no such fault", None


def _find_value_fault(row: MemberRow, found: FormVerdict) -> str | None:
    if found.values is None:
        return None
    values = [group.value for group in found.values]
    if values == [*row.values]:
        return None
    return f"its groups are worth {values}, and the record says {[*row.values]}"


def _find_score_fault(context: Context, row: MemberRow) -> str | None:
    """Why a score does not follow from the row's own values; None: it does."""
    if row.reason is not Reason.ACCEPTED:
        return f"scored {row.score} in spite of {row.reason}" if row.score or row.values else None
    groups = row.committed.groups if row.committed is not None else 0
    valued = sum(one.valued for one in select_committed(context, row.hotkey, groups))
    if len(row.values) != valued or not valued:
        return f"{valued} of its groups are valued, and the record has {len(row.values)} values"
    score = scale_values(groups, row.values)
    return None if score == row.score else f"its values make a score of {score}, not {row.score}"


# --- settlements


def _check_settlements(bundle: Bundle, records: _Records) -> list[SettlementCheck]:
    """Those that cover an audited window, and those with which something is wrong."""
    checks: list[SettlementCheck] = []
    audited = bundle.about.windows.all
    before: SettlementCheck | None = None
    for epoch in bundle.list_epochs():
        check = SettlementCheck(epoch)
        try:
            check.record = bundle.read_settlement(epoch)
        except EncodingError as error:
            check.differences.append(str(error))
        covers = False
        if check.record is not None:
            _check_order(check.record, before, check)
            covers = any(covered.window in audited for covered in check.record.windows)
            if covers:
                _check_settlement(bundle, check.record, records, check)
                _check_idle(check.record, before, check)
        if covers or check.differences:
            checks.append(check)
        before = check
    return checks


def _check_order(
    record: SettlementRecord, before: SettlementCheck | None, check: SettlementCheck
) -> None:
    """Check that it follows the settlement before it, and passes over none."""
    is_first = record.previous == NOTHING
    if is_first is not (record.previous_epoch == 0) or record.previous_epoch >= record.epoch:
        check.differences.append(f"its link leads to no epoch before it: {record.previous_epoch}")
    elif before is None:
        return  # what the link leads to is older than the bundle
    elif is_first:
        check.differences.append(f"{_ANEW}: epoch {before.epoch} was settled before")
    elif record.previous_epoch < before.epoch:
        check.differences.append(
            f"it follows epoch {record.previous_epoch}, and passes over the settlement of epoch "
            f"{before.epoch}"
        )
    elif record.previous_epoch > before.epoch:
        check.missing.append(
            f"the settlement of epoch {record.previous_epoch}, which it follows, is not here"
        )
    elif before.record is not None and before.record.digest != record.previous:
        check.differences.append("it follows another record than the one before it")


def _check_idle(
    record: SettlementRecord, before: SettlementCheck | None, check: SettlementCheck
) -> None:
    """Check its count of settlements in which nobody earned by the settlement before it."""
    known = None if before is None else before.record
    if record.previous == NOTHING or earns(record):
        count = 0
    elif known is None or known.digest != record.previous:
        check.missing.append(
            f"the settlement of epoch {record.previous_epoch}, from which it counts how often "
            "nobody earned, is not here"
        )
        return
    else:
        count = known.idle
    check.differences += filter(None, [find_idle_fault(record, count)])


def _check_settlement(
    bundle: Bundle, record: SettlementRecord, records: _Records, check: SettlementCheck
) -> None:
    covered = [one.window for one in record.windows]
    due = bundle.history.compute_settled(record.previous_epoch, record.epoch)
    # whoever began or was away in between may have left out the first ones
    first = due.stop - len(covered)
    if first < due.start or covered != [*range(first, due.stop)]:
        check.differences.append(
            f"windows {due.start} to {due.stop - 1} end between epochs {record.previous_epoch} and "
            f"{record.epoch}, and it settles {', '.join(map(str, covered))}"
        )
    for number, window in sorted(records.items()):
        if window is not None and number in due and number < covered[0]:
            check.differences.append(f"window {number} has a record, and is not settled")
    if record.parameters != bundle.history.get(covered[-1]).digest:
        check.differences.append(OTHER_PARAMETERS)
    counted = _list_counted(bundle, record, records, check)
    if counted is not None:
        check.differences += find_last_faults(record, counted[-1] if counted else None)
        check.differences += find_score_faults(record, compute_scores(counted))
    check.differences += filter(None, [find_root_fault(record)])
    check.differences += find_weight_faults(record, bundle.history)


def _list_counted(
    bundle: Bundle, record: SettlementRecord, records: _Records, check: SettlementCheck
) -> list[WindowRecord] | None:
    """The windows that it counts; None: the bundle has not all of them. Those outside of its range
    are taken as recorded."""
    counted, lacks = [], False
    for covered in record.windows:
        number, told = covered.window, list[str]()
        window = _read_window(bundle, number, records, told)
        check.differences += [f"window {number}, which it covers: {text}" for text in told]
        counts = covered.outcome is Outcome.COUNTED
        if window is None:
            if counts:
                check.missing.append(f"window {number}, which it counts, is not here")
            lacks |= counts
            continue
        if (window.digest, window.outcome) != (covered.record, covered.outcome):
            check.differences.append(f"it was settled from another record of {number}")
        begins = record.previous == NOTHING and covered is record.windows[0]
        if begins and window.previous != NOTHING:
            check.differences.append(f"{_ANEW}: window {number} follows another record")
        if counts:
            counted.append(window)
    return None if lacks else counted


# --- the report


def list_checked(report: BundleReport) -> tuple[list[str], list[str]]:
    """What was checked, except where `missing` says otherwise, and what was not at all."""
    members = [member for window in report.windows for member in window.members]
    done = {"seals", *(kind for m in members if m.found for kind in m.found.checked)}
    if any(window.has_inputs for window in report.windows):
        done.add("beacons")
    if members:
        done.add("scores")
    if any(settlement.record for settlement in report.settlements):
        done |= {"settlements", "weights"}
    if report.no_text is not None:
        done -= {*TEXT}
    every = ("seals", "beacons", *FORM, *IDS, *SAMPLES, "scores", "settlements", "weights", *TEXT)
    left = [kind for kind in every if kind not in done]
    return [kind for kind in every if kind in done], [*left, *NOT_CHECKED]


def report_to_json(report: BundleReport) -> dict[str, Json]:
    """JSON for people and scripts."""
    checked, not_checked = list_checked(report)
    return {
        "validator": report.validator,
        "matched": not report.differences and not report.missing,
        "differences": [*report.differences],
        "missing": [*report.missing],
        "windows": [_window_to_json(window) for window in report.windows],
        "settlements": [
            {
                "epoch": s.epoch,
                "scores": s.scores,
                "weights": {str(u): w for u, w in s.weights.items()},
            }
            for s in report.settlements
            if s.record is not None
        ],
        "checked": [*checked],
        "not_checked": [*not_checked],
        "no_text": report.no_text,
    }


def _window_to_json(window: WindowCheck) -> dict[str, Json]:
    members = [
        {
            "hotkey": member.address,
            "uid": member.uid,
            "stated": None if member.stated is None else member.stated.value,
            "found": None if member.found is None else form_to_json(member.found),
            "score": member.score,
            "difference": member.difference,
            "note": member.note,
        }
        for member in window.members
    ]
    outcome = None if window.outcome is None else window.outcome.value
    return {"window": window.window, "outcome": outcome, "note": window.note, "members": members}
