"""Checks the record in a bundle without a model: every file, every row, every settlement.

What the chain said (blocks, members, commitments, the checkpoint in force, weights that it showed)
is taken from the record: `assay audit` compares it with the chain's answers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from assay.judge.bundle import Bundle
from assay.judge.checkpoint import CheckpointFault, CheckpointOutline, OpenTokenizer
from assay.judge.form import BY_MODEL as TESTS
from assay.judge.form import FORM, IDS, SAMPLES, TEXT, FormVerdict, form_to_json, judge_form
from assay.judge.pack import MissingPartError
from assay.judge.provable import BY_CHAIN, BY_MODEL, BY_SAMPLES, UNBOUND
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
from assay.protocol.score_tree import compute_weights_digest, make_score_tree
from assay.protocol.selection import select_committed
from assay.protocol.ss58 import encode_ss58
from assay.verification import Result, Seat, compute_settlement, compute_weights
from assay.verification.settlement import scale_values

#: Called with the number of finished windows and of all windows.
Progress = Callable[[int, int], None]
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
    """A window's record, checked. `missing`: what could not be checked, and why."""

    window: int
    outcome: Outcome | None = None
    members: list[MemberCheck] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


@dataclass(slots=True)
class SettlementCheck:
    """A settlement's record, checked."""

    epoch: int
    scores: dict[str, int] = field(default_factory=dict)  # address → score
    weights: dict[int, int] = field(default_factory=dict)  # uid → u16
    differences: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


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
        found = [f"window {w.window}: {text}" for w in self.windows for text in w.missing]
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
    records: dict[int, WindowRecord] = {}
    windows, lacks = [], set[str]()
    every = bundle.about.windows.all
    for done, window in enumerate(every):
        progress(done, len(every))
        check = WindowCheck(window)
        record = _read_window(bundle, window, check)
        if record is not None:
            records[window] = record
            _check_window(bundle, record, check, open_tokenizer, lacks)
        windows.append(check)
    progress(len(every), len(every))
    settlements = _check_settlements(bundle, records)
    no_text = "; ".join(sorted(lacks)) or None
    return BundleReport(bundle.validator, tuple(windows), tuple(settlements), no_text)


def _read_window(bundle: Bundle, window: int, check: WindowCheck) -> WindowRecord | None:
    try:
        record = bundle.read_window(window)
    except EncodingError as error:
        check.differences.append(f"its record is none: {error}")
        return None
    if record is None:
        check.missing.append("the bundle has no record of it")
    elif (record.window, record.validator) != (window, bundle.about.validator):
        check.differences.append("under its name lies another window's or validator's record")
        return None
    return record


def _check_window(
    bundle: Bundle,
    record: WindowRecord,
    check: WindowCheck,
    open_tokenizer: OpenTokenizer | None,
    lacks: set[str],
) -> None:
    check.outcome = record.outcome
    parameters = bundle.history.get(record.window)
    context = make_record_context(record, parameters)
    if context is None:
        return
    if record.parameters != parameters.digest:
        check.differences.append("it was not judged by the parameters that hold for it")
        return
    fault = find_context_fault(context)
    if fault is not None:
        check.differences.append(fault)
    if fault is not None or context.audit is None:
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


def _check_settlements(
    bundle: Bundle, records: Mapping[int, WindowRecord]
) -> Sequence[SettlementCheck]:
    checks: list[SettlementCheck] = []
    before: SettlementRecord | None = None
    try:
        for record in bundle.read_settlements():
            if any(covered.window in records for covered in record.windows):
                checks.append(_check_settlement(bundle, record, records, before))
            before = record
    except EncodingError as error:
        checks.append(SettlementCheck(0, differences=[f"a settlement's record is none: {error}"]))
    return checks


def _check_settlement(
    bundle: Bundle,
    record: SettlementRecord,
    records: Mapping[int, WindowRecord],
    before: SettlementRecord | None,
) -> SettlementCheck:
    check = SettlementCheck(
        record.epoch,
        {encode_ss58(score.hotkey): score.score for score in record.scores},
        {weight.uid: weight.weight for weight in record.weights},
    )
    if record.validator != bundle.about.validator:
        check.differences.append("it is another validator's")
    follows = before is not None and before.epoch == record.previous_epoch
    if before is not None and follows and before.digest != record.previous:
        check.differences.append("it follows another record than the one before it")
    known = _list_counted(bundle, record, records, check)
    if known is not None:
        _check_scores(record, known, check)
    _check_weights(bundle, record, check)
    return check


def _list_counted(
    bundle: Bundle,
    record: SettlementRecord,
    records: Mapping[int, WindowRecord],
    check: SettlementCheck,
) -> list[WindowRecord] | None:
    """The windows that it counts; None: the bundle has not all of them. Those outside of its range
    are taken as recorded."""
    counted = []
    for covered in record.windows:
        window = records.get(covered.window) or bundle.read_window(covered.window)
        if window is None:
            if covered.outcome is Outcome.COUNTED:
                check.missing.append(f"window {covered.window}, which it counts, is not here")
                return None
            continue
        if (window.digest, window.outcome) != (covered.record, covered.outcome):
            check.differences.append(f"it was settled from another record of {covered.window}")
        if covered.outcome is Outcome.COUNTED:
            counted.append(window)
    return counted


def compute_scores(counted: Iterable[WindowRecord]) -> dict[Seat, int]:
    """The score of each seat in a settlement, by the records of its windows that count."""
    return compute_settlement(
        Result(window.window, Seat(row.uid, row.registered_at), row.reason, row.score)
        for window in counted
        for row in window.members
        if row.reason is not None
    )


def _check_scores(
    record: SettlementRecord, counted: Sequence[WindowRecord], check: SettlementCheck
) -> None:
    """Check the score of each seat that is listed. Who still held which seat, the chain knows."""
    scores = compute_scores(counted)
    for score in record.scores:
        right = scores.get(Seat(score.uid, score.registered_at))
        if right != score.score:
            check.differences.append(
                f"uid {score.uid} comes to {right} by its windows, and the record says "
                f"{score.score}"
            )


def _check_weights(bundle: Bundle, record: SettlementRecord, check: SettlementCheck) -> None:
    counted = [covered.window for covered in record.windows if covered.outcome is Outcome.COUNTED]
    right: Mapping[int, int] = {}
    if counted:
        identity = bundle.history.get(max(counted)).identity
        by_uid = {score.uid: score.score for score in record.scores}
        right = compute_weights(by_uid, identity.owner_uid, identity.burn_share)
    if dict(right) != check.weights:
        check.differences.append(f"its weights should be {dict(right)}, and are {check.weights}")
    if record.weights_digest != compute_weights_digest(list(check.weights.items())):
        check.differences.append("its weights have another digest than it says")
    scores = [(score.hotkey, score.score) for score in record.scores]
    if record.score_root != (make_score_tree(scores).root if scores else NOTHING):
        check.differences.append("its scores have another root than it says")


# --- the report


def list_checked(report: BundleReport) -> tuple[list[str], list[str]]:
    """What was checked, and what was not."""
    checked = ["seals", "beacons", *FORM, *IDS, *SAMPLES, "scores", "settlements", "weights"]
    if report.no_text is None:
        return [*checked, *TEXT], [*NOT_CHECKED]
    return checked, [*TEXT, *NOT_CHECKED]


def report_to_json(report: BundleReport) -> dict[str, Json]:
    """JSON for people and scripts."""
    checked, not_checked = list_checked(report)
    return {
        "validator": report.validator,
        "matched": not report.differences,
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
    return {"window": window.window, "outcome": outcome, "members": members}
