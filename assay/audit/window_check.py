"""Checks one window's record: derives again its inputs, then each row's verdict, values and score.

The root on chain binds a file's bytes, part by part. Nobody can prove a claim afterwards about
bytes that the root does not bind (missing, broken or another's): neither the validator nor the
miner.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from assay.artifacts.checkpoints.folder import find_checkpoint_fault
from assay.artifacts.submissions.judge import (
    UnjudgedError,
    examine_file,
    find_sample_fault,
    judge_and_carry,
    note_unjudged,
)
from assay.artifacts.submissions.judging_threads import judge_beside
from assay.artifacts.submissions.reading import SubmissionReader, read_submission
from assay.audit.derived_context import derive_context
from assay.audit.findings import ABSTAINED, ABSTAINED_EARLY, NO_INPUTS, Aspect, Findings
from assay.audit.gate_check import CourseChecks
from assay.audit.ports import Public, Submissions
from assay.audit.window_parameters import check_parameters, choose_parameters
from assay.environments.steering import find_parent_fault
from assay.inference.checkpoint import Checkpoint, Outline
from assay.inference.folder import CheckpointError, UnusableCheckpointError
from assay.judge.pack import MissingPartError
from assay.judge.provable import BY_CHAIN, BY_MODEL, BY_SAMPLES, UNBOUND
from assay.judge.record_faults import find_outcome_fault
from assay.network.store.base import StoreError
from assay.protocol.context import Committed, Context
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.reason import Reason
from assay.protocol.record import NOTHING, MemberRow, Outcome, WindowRecord
from assay.protocol.selection import AuditedGroup, select_committed
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import Phase, compute_block
from assay.verification import Accepted, Examined, Ledger, Refused, Seat, Verdict, plan_samples
from assay.verification.settlement import scale_values

#: Seat → its ledger in one settlement so far; None if it is not known.
Ledgers = dict[Seat, Ledger]
#: Most difference between two machines' witnesses.
_WITNESS_STEP = 1


def check_window(
    public: Public,
    validator: bytes,
    record: WindowRecord,
    ledgers: Ledgers | None,
    findings: Findings,
    courses: CourseChecks,
) -> bool:
    """Check a record's content.

    Args:
        ledgers: of the settlement of the window, up to the window; None if they are not known.
            Updated to their state after it.
        courses: of the audit.

    Returns:
        Whether forward passes were run, so that `ledgers` are right.

    Raises:
        ChainError: the chain cannot be read.
    """
    if record.validator != validator:
        findings.differ(
            Aspect.RECORD,
            f"the record is {encode_ss58(record.validator)}'s, who did not publish it here",
        )
    if record.software == "":
        findings.notes.append("the record does not say what software judged")
    then = choose_parameters(public, record.window, findings)
    if then is None:
        return False
    public = then
    number = compute_block(public.parameters.timing, record.window, Phase.COMMIT)
    if record.challenge is None:  # its parameters may be later ones: nothing uses them
        findings.notes.append(NO_INPUTS)
    else:
        by_then = check_parameters(public, record.parameters, record.window, number, findings)
        if by_then is None:
            return False
        public = by_then
    context = derive_context(public, record, findings)
    _check_outcome(record, findings)
    if context is None or record.audit is None:
        findings.notes.append(ABSTAINED_EARLY)
        return public.models is not None  # the validator judged nobody, and no ledger has changed
    return _check_rows(public, record, context, ledgers, findings, courses)


def _check_outcome(record: WindowRecord, findings: Findings) -> None:
    """Check whether the record may count by its own contents."""
    findings.look(Aspect.VERDICTS)
    fault = find_outcome_fault(record)
    if fault is not None:
        findings.differ(Aspect.VERDICTS, fault)
    elif record.outcome is Outcome.ABSTAINED:
        findings.notes.append(ABSTAINED)


def _check_rows(
    public: Public,
    record: WindowRecord,
    context: Context,
    ledgers: Ledgers | None,
    findings: Findings,
    courses: CourseChecks,
) -> bool:
    outline = _open_outline(public, record, context, findings)
    if outline is None:
        return False
    checkpoint = _open_model(public, context, findings)
    void = find_checkpoint_fault(outline, public.parameters)
    if (void is not None) is not (record.outcome is Outcome.VOID):
        _check_void(record, void, checkpoint, findings)
    _note_lie(public, outline, findings)
    if void is None:
        courses.check(public, record.window, outline, findings)
    if void is not None or record.outcome is Outcome.VOID:
        return False
    inputs = _RowInputs(
        context, outline, public.submissions, checkpoint, record.validator, ledgers is not None
    )
    carried = ledgers if ledgers is not None else {}
    rows = [row for row in record.members if row.hotkey in context.members]  # others were reported
    members = [context.members[row.hotkey] for row in rows]
    seats = {
        row.hotkey: Seat(member.uid, member.registered_at)
        for row, member in zip(rows, members, strict=True)
    }

    unjudged: list[bytes] = []

    def check(row: MemberRow) -> tuple[Ledger, Findings]:
        """The ledger of a row's seat afterwards, and what was found. A file that cannot be judged
        here keeps nobody from the others."""
        part, name = Findings(findings.number), encode_ss58(row.hotkey)
        ledger = carried.get(seats[row.hotkey], Ledger())
        try:
            return _RowCheck(inputs, row, part).check(ledger), part
        except UnjudgedError as error:
            part.miss(Aspect.VERDICTS, f"{name}: its file cannot be judged here: {error}")
            unjudged.append(row.hotkey)
            return ledger, part

    # a ledger takes one row after the other: no parallel checks if two rows claim one seat
    parallel = public.parallel if len({*seats.values()}) == len(rows) else 1
    for judgment in judge_beside(rows, check, parallel):
        ledger, part = judgment.get()
        carried[seats[judgment.job.hotkey]] = ledger
        findings.add(part)
    return checkpoint is not None and not unjudged


def _note_lie(public: Public, outline: Outline, findings: Findings) -> None:
    """Note what a checkpoint's manifest wrongly says of its parent, if a store has the parent. It
    is the trainer's lie, not the validator's."""
    if outline.manifest.step == ZERO_DIGEST:
        return
    try:
        parent = public.outlines.get(outline.manifest.parent)
    except CheckpointError:
        return
    if fault := find_parent_fault(outline.manifest, parent.manifest):
        findings.notes.append(f"the trainer lies about the checkpoint in force: {fault}")


def _open_outline(
    public: Public, record: WindowRecord, context: Context, findings: Findings
) -> Outline | None:
    """The checkpoint's outline, or None if no rows can be checked."""
    if context.checkpoint == NOTHING:  # the slot names no checkpoint: void for all
        if record.outcome is Outcome.COUNTED:
            findings.differ(
                Aspect.CHECKPOINT, "the window counts, although no checkpoint was in force"
            )
        return None
    try:
        return public.outlines.get(context.checkpoint)
    except UnusableCheckpointError as error:
        if record.outcome is Outcome.COUNTED:
            findings.differ(
                Aspect.CHECKPOINT, f"the window counts, and its checkpoint is unusable: {error}"
            )
    except CheckpointError as error:
        findings.miss(Aspect.VALUES, f"the checkpoint in force cannot be fetched: {error}")
    return None


def _open_model(public: Public, context: Context, findings: Findings) -> Checkpoint | None:
    if public.models is None:
        return None
    try:
        checkpoint = public.models.get(context.checkpoint, context.parameters)
    except CheckpointError as error:
        findings.miss(
            Aspect.VERDICTS, f"the model of the checkpoint in force cannot be run: {error}"
        )
        return None
    if checkpoint is None:
        findings.miss(
            Aspect.VERDICTS,
            f"no --model holds checkpoint {context.checkpoint.hex()[:16]}…, which was in force",
        )
    return checkpoint


def _check_void(
    record: WindowRecord, void: str | None, checkpoint: Checkpoint | None, findings: Findings
) -> None:
    if void is not None:
        if record.outcome is Outcome.COUNTED:
            findings.differ(
                Aspect.CHECKPOINT, f"the window counts, and its checkpoint is unusable: {void}"
            )
    elif checkpoint is not None:
        findings.differ(
            Aspect.CHECKPOINT, "the record says that the checkpoint is unusable, and it can be used"
        )
    else:
        findings.claims += 1  # tensors that make no model void a window, too


# --- rows


@dataclass(frozen=True, slots=True)
class _RowInputs:
    """The inputs for checking all rows of a window."""

    context: Context
    outline: Outline
    submissions: Submissions
    checkpoint: Checkpoint | None  # None: no forward pass is run
    validator: bytes  # hotkey of the record's author, for its witness
    has_ledgers: bool  # every earlier window of the settlement was run, too


@dataclass(frozen=True)
class _RowCheck:
    """A member's row, checked against the file that it committed to."""

    inputs: _RowInputs
    row: MemberRow
    findings: Findings

    @cached_property
    def name(self) -> str:
        return encode_ss58(self.row.hotkey)

    @property
    def committed(self) -> Committed | None:
        return self.inputs.context.commitments.get(self.row.hotkey)

    @property
    def audited(self) -> Reason | None:
        """The record's audit finding, whatever the samples showed."""
        by_samples = self.row.reason in BY_SAMPLES and self.row.witness
        return Reason.ACCEPTED if by_samples else self.row.reason

    @property
    def has_worlds(self) -> bool:
        """Whether a rollout may be found to end wrong after a forward pass."""
        return self.inputs.context.parameters.work.turns > 1

    @cached_property
    def chosen(self) -> tuple[AuditedGroup, ...]:
        """The groups of its commitment that the audit looks at."""
        groups = 0 if self.committed is None else self.committed.groups
        return select_committed(self.inputs.context, self.row.hotkey, groups)

    def differ(self, check: Aspect, sentence: str) -> None:
        self.findings.differ(check, f"{self.name}: {sentence}")

    def note(self, sentence: str) -> None:
        self.findings.notes.append(f"{self.name}: {sentence}")

    def miss_file(self, sentence: str) -> None:
        self.findings.look(Aspect.FILES)
        if self.row.reason is not Reason.NOT_REVEALED:
            self.findings.miss(Aspect.FILES, f"{self.name}: {sentence}")

    def check(self, ledger: Ledger) -> Ledger:
        """Check the row. Return the ledger of its seat afterwards, as `judge` does."""
        row, inputs = self.row, self.inputs
        if row.reason is None or row.reason is Reason.INTERNAL:
            if row.reason is None:
                self.note("there is no verdict")
            else:
                word = "the validator's judge failed on it, which nobody can prove"
                self.findings.take_word(f"{self.name}: {word}")
        if self.audited in (None, Reason.INTERNAL):
            self.check_score()
            return ledger
        try:
            reader = inputs.submissions.open(inputs.context, row.hotkey)
            with note_unjudged(self.name, MissingPartError, OSError):
                examined = examine_file(reader, row.hotkey, inputs.context, inputs.outline)
                if isinstance(examined, Refused):
                    self.check_refusal(examined)
                else:
                    ledger = self.check_whole(examined, ledger)
                    self.check_samples(reader)
        except StoreError as error:
            self.miss_file(f"the file cannot be read from its store: {error}")
        except MissingPartError as error:  # as if the record named a beacon that was not due
            self.miss_file(str(error))
        self.check_score()
        self.check_witness_length()
        return ledger

    def check_refusal(self, verdict: Refused) -> None:
        """Check a refusal of the file, or of its lack, without a model."""
        reason, stated = verdict.reason, self.row.reason
        self.findings.look(Aspect.VERDICTS)
        if stated is reason and (not verdict.fault.unbound or stated in UNBOUND):
            return  # else the record's own word is all that there is of a fault in the bytes
        if not verdict.committed_groups or stated in BY_CHAIN:  # the chain alone decides
            self.differ_from(verdict)
        elif not verdict.fault.unbound:  # the file's content decides
            if stated in UNBOUND:
                self.note(
                    f"the record says {stated}; what is served now is {reason}, and nobody can "
                    "prove what was served then"
                )
            else:
                self.differ_from(verdict)
        elif stated in UNBOUND:
            self.note(f"the record says {stated}, what is served now is {reason}")
        else:
            self.miss_file(f"the committed file is not served: {verdict.detail}")

    def differ_from(self, verdict: Verdict) -> None:
        sentence = (
            f"the record says {self.row.reason}, and it is {verdict.reason}: {verdict.detail}"
        )
        self.differ(Aspect.VERDICTS, sentence)

    def check_whole(self, examined: Examined, ledger: Ledger) -> Ledger:
        """Check that the audited parts are there and whole: only a model or a world could refuse
        them."""
        audited, inputs = self.audited, self.inputs
        self.findings.look(Aspect.FILES)
        by_world = audited is Reason.WRONG_TERMINATION and examined.find_ending_fault() is not None
        if audited is not Reason.ACCEPTED and audited not in BY_MODEL and not by_world:
            self.doubt_refusal()
            return ledger
        verdict = None
        if inputs.checkpoint is not None:
            judged = judge_and_carry(
                examined, inputs.checkpoint, ledger, validator=inputs.validator
            )
            verdict, ledger = judged.verdict, judged.ledger
            self.check_verdict(verdict)
        else:
            self.findings.claims += 1
        if self.row.reason is Reason.ACCEPTED:
            if not isinstance(verdict, Accepted):
                verdict = examined.presume()
            if isinstance(verdict, Accepted):
                self.check_values(verdict)
            elif inputs.checkpoint is None:
                self.differ_from(verdict)
        return ledger

    def doubt_refusal(self) -> None:
        """Report that the record refuses a file that has no fault as it is served now."""
        stated = self.row.reason
        if stated in UNBOUND:
            self.findings.take_word(
                f"{self.name}: the record says {stated}; the file that is served now is whole, and "
                "nobody can prove what was served then"
            )
        else:
            self.differ(
                Aspect.VERDICTS,
                f"the record says {stated}, and the committed file has no such fault",
            )

    def check_samples(self, reader: SubmissionReader) -> None:
        """Check the samples of a file in which the record's audit has found no fault."""
        stated, context, committed = self.row.reason, self.inputs.context, self.committed
        if self.audited is not Reason.ACCEPTED or stated in (None, Reason.INTERNAL):
            return
        if context.sample is None or committed is None:
            self.differ(Aspect.VERDICTS, f"it is {stated}, and no beacon said what was sampled")
            return
        samples = read_submission(plan_samples(context, self.row.hotkey), reader)
        fault = find_sample_fault(samples)
        if fault is not None:
            verdict = Refused(
                window=context.window,
                hotkey=self.row.hotkey,
                committed_groups=committed.groups,
                fault=fault,
            )
            self.check_refusal(verdict)
        elif stated is not Reason.ACCEPTED:
            self.doubt_refusal()

    def check_verdict(self, verdict: Verdict) -> None:
        """Compare the forward pass's verdict with the record."""
        by_ledger = Reason.LEDGER_MISMATCH in (self.audited, verdict.reason)
        if by_ledger and not self.inputs.has_ledgers:
            self.findings.miss(
                Aspect.VERDICTS,
                f"{self.name}: the ledger of its seat begins with the settlement's first window, "
                f"which was not checked",
            )
        elif self.audited is verdict.reason:
            self.findings.look(Aspect.VERDICTS)
        else:
            self.differ_from(verdict)
        self.findings.look(Aspect.WITNESS)
        fault = _find_witness_fault(self.row.witness, verdict.witness)
        if fault is None:
            self.findings.witnessed += 1
        else:
            self.findings.unwitnessed += 1
            self.differ(Aspect.WITNESS, fault)

    def check_values(self, verdict: Accepted) -> None:
        self.findings.look(Aspect.VALUES)
        stated_values, values = list(self.row.values), [group.value for group in verdict.groups]
        if stated_values == values:
            return
        valued = [group.index for group in verdict.groups]
        if len(stated_values) != len(values):
            listed = ", ".join(map(str, valued))
            fault = f"groups {listed} are valued, and the record has {len(stated_values)} values"
        else:
            place = next(i for i, value in enumerate(values) if stated_values[i] != value)
            fault = (
                f"group {valued[place]} is worth {values[place]}, and the "
                f"record says {stated_values[place]}"
            )
        self.differ(Aspect.VALUES, fault)

    def check_witness_length(self) -> None:
        """Check for 2 bytes for each audited rollout, since they are measured together."""
        row = self.row
        if self.audited not in BY_MODEL | {Reason.ACCEPTED}:
            by_world = self.audited is Reason.WRONG_TERMINATION and self.has_worlds
            if row.witness and not by_world:
                self.differ(
                    Aspect.WITNESS, f"{row.reason} needs no forward pass, and has a witness"
                )
            return
        rollouts = sum(group.rollouts for group in self.chosen)
        if len(row.witness) != 2 * rollouts:
            self.differ(
                Aspect.WITNESS,
                f"{rollouts} rollouts are audited, each with 2 bytes of witness, and the record "
                f"has {len(row.witness)} in all: not all were looked at",
            )

    def check_score(self) -> None:
        """Check that the score follows from the row's own values, which were compared before."""
        row = self.row
        self.findings.look(Aspect.SCORES)
        if row.reason is not Reason.ACCEPTED:
            if row.score or row.values:
                why = row.reason or "no verdict"
                self.differ(Aspect.SCORES, f"scored {row.score} in spite of {why}")
            return
        groups = 0 if self.committed is None else self.committed.groups
        valued = sum(group.valued for group in self.chosen)
        if len(row.values) != valued or not valued:
            self.differ(
                Aspect.SCORES,
                f"{valued} of its {groups} groups are valued, and the record has "
                f"{len(row.values)} values",
            )
            return
        score = scale_values(groups, row.values)
        if row.score != score:
            self.differ(Aspect.SCORES, f"its values make a score of {score}, not {row.score}")


def _find_witness_fault(stated: bytes, derived: bytes) -> str | None:
    if len(stated) != len(derived):
        return (
            f"the forward passes leave {len(derived)} bytes of witness, and the record has "
            f"{len(stated)}"
        )
    one, other = (np.frombuffer(data, np.int8).astype(np.int16) for data in (stated, derived))
    apart = np.abs(one - other)
    if not len(apart) or int(apart.max()) <= _WITNESS_STEP:
        return None
    wrong = int((apart > _WITNESS_STEP).sum())
    return (
        f"{wrong} of {len(apart)} bytes of the witness are not what this validator's own forward "
        "pass gives: it did not run one, or copied another's"
    )
